"""Which TCP ports the sessions' processes listen on, asked now and then."""

import time
from collections.abc import Callable, Set

from fleet_agent import native

REFRESH_S = 10.0  # a server begins to listen some time after it was started


class Ports:
    """The ports of some processes, from reading to reading. `clock` is monotonic.

    Whose socket is whose costs a look at all that a process holds open: this is done for new processes, and for
    all only when the host listens on something else than before.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._due_s = clock()
        self._pids: frozenset[int] = frozenset()
        self._sockets: dict[int, int] | None = None
        self._ports: dict[int, tuple[int, ...]] = {}

    def of(self, pids: Set[int]) -> dict[int, tuple[int, ...]]:
        """Pid -> the ports it listens on; those without any are left out."""
        if pids and (pids != self._pids or self._clock() >= self._due_s):
            self._due_s = self._clock() + REFRESH_S
            sockets = native.listening_sockets()
            same = self._pids & pids if sockets is not None and sockets == self._sockets else frozenset[int]()
            kept = {pid: ports for pid, ports in self._ports.items() if pid in same}
            self._ports = kept | native.listening_ports(pids - same, sockets)
            self._pids, self._sockets = frozenset(pids), sockets
        elif not pids:
            self._pids, self._ports = frozenset(), {}
        return self._ports
