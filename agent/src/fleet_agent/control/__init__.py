"""Sessions that are started, followed, answered and stopped on this host. What changes the host is here only.

wire.py        THE contract: requests, replies, session events
parse/         what tools print -> session events                        (pure)
verbs.py       one request -> its replies
store.py       the directory of runs: what was started, what it printed, how it ended
supervisor.py  the detached process beside each exec and app-server run
exec.py        `codex exec --json`, `claude -p`: one process to its end
appserver/     Codex's JSON-RPC server: the host's daemon, or one of our own
tmux.py        the tool's own TUI in a detached tmux session
"""
