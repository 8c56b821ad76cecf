"""Which files a process holds open, from tick to tick.

A Codex has some fifty files open, and following each of those links at each tick would cost more than all the
rest. The kernel says cheaply how many there are (since Linux 6.2), and the few that matter are looked at again;
only if either has changed, or now and then, all are. What this can miss for `FULL_S` is a process that opens
as many files as it closes between two ticks, none of which it was known for.
"""

import time
from collections.abc import Callable, Set

import msgspec

from fleet_agent import native, procfs

FULL_S = 60.0


class _Known(msgspec.Struct):
    born: float
    count: int  # of all that is open
    until_s: float
    files: list[procfs.OpenFile]


class OpenFiles:
    """The open files of some processes. `clock` is monotonic, in seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: dict[int, _Known] = {}

    def of(self, pid: int, born: float, wanted: Callable[[str], object]) -> list[tuple[str, bool]]:
        """Path and "open for writing" of the `wanted` files of (`pid`, `born`). Raises `OSError`."""
        if not procfs.AVAILABLE:
            return native.open_files(pid, wanted)
        known, count = self._known.get(pid), procfs.open_count(pid)
        if known is None or not self._holds(known, born, count):
            files = procfs.open_files(pid, wanted)
            known = self._known[pid] = _Known(born, count, self._clock() + FULL_S, files)
        return [(file.path, file.writable) for file in known.files]

    def keep(self, pids: Set[int]) -> None:
        """Forget all others."""
        for pid in self._known.keys() - pids:
            del self._known[pid]

    def _holds(self, known: _Known, born: float, count: int) -> bool:
        if known.born != born or known.count != count or not count or self._clock() >= known.until_s:
            return False
        return all(procfs.target(file.link) == file.path for file in known.files)
