"""Glances at the same processes from tick to tick, at half the price.

A descriptor of a process's directory of open files stays that process's, whoever gets its pid later; to ask it
anew spares the kernel the way through /proc. It must say when the process is gone, which it does since Linux
6.2, as it counts the files since then (fs/proc/fd.c, `proc_fd_getattr`).
"""

import os
from collections.abc import Set

from fleet_agent import native, procfs

MAX_HELD = 200  # descriptors; an agent may have 1,024 of them as a rule


class Glances:
    """Glances at processes that are looked at again and again. See `procfs.glance`."""

    def __init__(self) -> None:
        self._fds: dict[int, int] = {}

    def at(self, pid: int) -> procfs.Glance:
        """As `native.glance`."""
        fd = self._fds.get(pid)
        if fd is not None:
            try:
                status = os.fstat(fd)
            except OSError:
                self._close(pid)  # it is gone, and its pid may be another's by now
            else:
                return status.st_ino, status.st_size
        elif procfs.COUNTS_FILES and len(self._fds) < MAX_HELD:
            self._open(pid)
        return native.glance(pid)

    def keep(self, pids: Set[int]) -> None:
        """Forget all others."""
        for pid in self._fds.keys() - pids:
            self._close(pid)

    def __del__(self) -> None:
        self.keep(frozenset())

    def _open(self, pid: int) -> None:
        try:
            self._fds[pid] = os.open(f"/proc/{pid}/fd", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            return  # it may not be looked at, or is gone

    def _close(self, pid: int) -> None:
        os.close(self._fds.pop(pid))
