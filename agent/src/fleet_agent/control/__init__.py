"""Sessions that are started, followed, answered and stopped on this host. What changes the host is here only.

wire.py        THE contract: requests and replies; events.py: what happens in a session
parse/         what tools print, and write down -> session events        (pure)
verbs.py       one request -> its replies: starting, watching, acting, ending; audit.py notes each change
targets.py     which session is meant: a run of ours, or one that fleet did not start (foreign.py)
recorded.py    what a tool itself has written down of a session; locate.py: where; following.py: as it grows
identity.py    which session of its tool the terminal of a run shows
store.py       the directory of runs: what was started, what it printed (rotation.py), how it ended
logind.py      whether systemd ends it when its user logs out
launch.py      how a run's supervisor comes to be: a detached process that outlives whoever asked
supervisor.py  what that process does beside each exec and app-server run; relay.py asks it
locks.py       one at a time: who answers Codex, who types into a pane
groups.py      all processes of a run, and how to end them and no others
commands.py    how each tool is started; programs.py: where it is, and which release
exec.py        `codex exec --json`, `claude -p`: one process to its end
appserver/     Codex's JSON-RPC server: the host's daemon, or one of our own
tmux.py        the tool's own TUI in a detached tmux session; tmux_runs.py: the verbs in terms of it
keys.py        what is typed there, seen to have had its effect
terminal.py    one pane: what it shows, which keys are pressed; screens.py: what that means   (pure)
"""
