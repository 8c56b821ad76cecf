"""The command line: one small file a command, each parse -> call -> print -> exit code. Only here is printed.

Modules here import nothing heavy at their top but typer; commands import what they need when they run, so that
`fleet --help` costs little more than Python and typer.
"""
