"""The daemon: collector, journal and API in one process that runs for months.

run.py      composes them; signals, draining
lock.py     one daemon a runtime directory, private files
notify.py   what systemd is told
"""
