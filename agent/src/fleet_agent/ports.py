"""Which TCP ports the sessions' processes listen on, asked now and then."""

import time
from collections.abc import Callable, Iterable, Mapping

import msgspec

from fleet_agent import native, procfs

REFRESH_S = 10.0  # a server begins to listen some time after it was started
FULL_S = 60.0
_READINGS = 2  # of the table after each change: a socket may be made some time before it listens

PortsOf = Mapping[int, tuple[int, ...]]


class _Held(msgspec.Struct, frozen=True):
    """The sockets of one process."""

    born: float
    glance: procfs.Glance
    sockets: frozenset[int]


class Ports:
    """The ports of some processes, from reading to reading. `clock` is monotonic.

    To list the sockets that listen takes the kernel 10 ms where it has room for many connections: it looks
    through all of it. So this is done when these processes hold other sockets than before, and else every
    `FULL_S`; and the files of a process are listed when their number is another than before, if it listens, and
    else every `FULL_S`: it may have closed one and opened another.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._due_s = self._full_s = clock()
        self._held: dict[int, _Held] = {}
        self._sockets: frozenset[int] = frozenset()  # all that they hold
        self._listening: Mapping[int, int] = {}
        self._readings = 0  # still to come
        self._ports: PortsOf = {}

    def of(self, born: Mapping[int, float]) -> PortsOf:
        """Pid -> the ports it listens on; those without any are left out. `born`: pid -> when it began."""
        now_s = self._clock()
        due = now_s >= self._due_s
        full = due and now_s >= self._full_s
        if due:
            self._due_s = now_s + REFRESH_S
        if full:
            self._full_s = now_s + FULL_S
        held = {pid: self._look(pid, at, due, full) for pid, at in born.items()}
        if due or held != self._held:
            self._held = held
            self._ports = self._read(full) if procfs.AVAILABLE else _asked(born)
        return self._ports

    def _look(self, pid: int, born: float, due: bool, full: bool) -> _Held:
        known = self._held.get(pid)
        known = known if known and known.born == born else None
        if known and not due:
            return known
        glance = native.glance(pid)
        if known and known.glance == glance and all(glance) and not full and pid not in self._ports:
            return known
        return _Held(born, glance, frozenset(procfs.socket_inodes(pid)))

    def _read(self, full: bool) -> PortsOf:
        before, self._sockets = self._sockets, frozenset().union(*(h.sockets for h in self._held.values()))
        if self._sockets != before:
            self._readings = _READINGS
        if self._sockets and (self._readings > 0 or full):
            self._readings -= 1
            self._listening = procfs.listening_sockets()
        found = {pid: held.sockets & self._listening.keys() for pid, held in self._held.items()}
        return {pid: tuple(sorted({self._listening[i] for i in some})) for pid, some in found.items() if some}


def _asked(pids: Iterable[int]) -> PortsOf:
    from fleet_agent import portable

    return portable.listening_ports(pids)
