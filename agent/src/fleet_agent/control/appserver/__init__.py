"""Codex's app-server, driven: sessions of ours in it, and those that others started in the host's daemon.

protocol.py    one JSON-RPC message, in or out                             (pure)
replies.py     a decision or an answer -> the reply it is                  (pure)
deadlines.py   how long a turn may be silent                               (pure)
thread.py      messages -> what is known of one thread, and events         (pure)
connection.py  messages to and from a server: a WebSocket, or pipes
servers.py     where a server comes from
client.py      requests that are answered
attached.py    one thread over one connection: what a person does with it
driver.py      a session of ours, from its start to its end
foreign.py     sessions of others, in the host's daemon
"""
