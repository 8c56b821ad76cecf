"""The terminal pane that a process is in, by its environment, where that is still true.

tmux sets TMUX (socket,server pid,session) and TMUX_PANE in what it starts: tmux(1). kitty sets
KITTY_WINDOW_ID, KITTY_PID and, where it can be controlled, KITTY_LISTEN_ON: see the glossary of its
documentation. All that is started later inherits them, in whatever other terminal; so they count only if the
tmux server, or kitty, is one of the process's own parents. The nearest of them has the pane.
"""

import re
from collections.abc import Mapping

from fleet_agent import native
from fleet_agent.wire import Pane

VARIABLES = ("TMUX", "TMUX_PANE", "KITTY_WINDOW_ID", "KITTY_PID", "KITTY_LISTEN_ON")
MAX_PARENTS = 64

_TMUX = re.compile(r"(.+),(\d{1,10}),\d+")
_TMUX_PANE = re.compile(r"%\d{1,10}")
_NUMBER = re.compile(r"\d{1,10}")


def pane(pid: int, environ: Mapping[str, str]) -> Pane | None:
    """The pane of a process that has a terminal; None if it is in none."""
    claims = claimed(environ)
    parents = _parents(pid, claims) if claims else ()
    return next((claims[parent] for parent in parents if parent in claims), None)


def claimed(environ: Mapping[str, str]) -> dict[int, Pane]:
    """What an environment says: the pid of tmux's server, or of kitty -> the pane in it. Pure."""
    claims = {}
    kitty, window = environ.get("KITTY_PID", ""), environ.get("KITTY_WINDOW_ID", "")
    if _NUMBER.fullmatch(kitty) and _NUMBER.fullmatch(window):
        claims[int(kitty)] = Pane("kitty", window, environ.get("KITTY_LISTEN_ON") or None)
    tmux, pane_id = _TMUX.fullmatch(environ.get("TMUX", "")), environ.get("TMUX_PANE", "")
    if tmux and _TMUX_PANE.fullmatch(pane_id):
        claims[int(tmux[2])] = Pane("tmux", pane_id, tmux[1])
    return claims


def _parents(pid: int, wanted: Mapping[int, Pane]) -> list[int]:
    """The parents of a process, nearest first, as far as the first that is wanted."""
    found: list[int] = []
    for _ in range(MAX_PARENTS):
        stat = native.stat(pid)
        if stat is None or stat.ppid <= 1 or pid in wanted:
            break
        pid = stat.ppid
        found.append(pid)
    return found
