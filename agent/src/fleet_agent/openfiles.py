"""Which files a process holds open, from tick to tick.

A Codex has some fifty files open, and following each of those links at each tick would cost more than all the
rest. The kernel says cheaply how many there are (since Linux 6.2), and the few that matter are looked at again;
only if either has changed, or now and then, all are. What this can miss for `FULL_S` is a process that opens
as many files as it closes between two ticks, none of which it was known for. (Of Codex not even this, if the
new one is written to: that makes the agent look at all processes anew.)
"""

import os
import time
from collections.abc import Callable, Set

import msgspec

from fleet_agent import procfs

FULL_S = 300.0

Files = list[tuple[str, bool]]  # path and "open for writing"
Wanted = Callable[[str], object]
Telling = Callable[[Files], Files]


class _Known(msgspec.Struct):
    glance: procfs.Glance
    until_s: float
    files: Files
    paths: list[str]  # of those that are looked at again
    links: list[str]  # what /proc calls them


class OpenFiles:
    """The open files of some processes. `clock` is monotonic, in seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: dict[int, _Known] = {}

    def of(self, pid: int, glance: procfs.Glance, wanted: Wanted, telling: Telling = list) -> Files:
        """The `wanted` files of a process; the same list while nothing changes. Raises `OSError`.

        `glance` is of just before. `telling` says which of them it takes to see that all are as they were.
        """
        if not procfs.AVAILABLE:
            from fleet_agent import portable

            return portable.open_files(pid, wanted)
        known = self._known.get(pid)
        if known is None or not self._holds(known, glance):
            found = procfs.open_files(pid, wanted)
            files = [(file.path, file.writable) for file in found]
            paths = [path for path, _ in telling(files)]
            links = {file.path: file.link for file in found}
            known = _Known(glance, self._clock() + FULL_S, files, paths, [links[path] for path in paths])
            self._known[pid] = known
        return known.files

    def keep(self, pids: Set[int]) -> None:
        """Forget all others."""
        for pid in self._known.keys() - pids:
            del self._known[pid]

    def _holds(self, known: _Known, glance: procfs.Glance) -> bool:
        if known.glance != glance or not all(glance) or self._clock() >= known.until_s:
            return False
        try:
            return list(map(os.readlink, known.links)) == known.paths
        except OSError:
            return False  # one was closed
