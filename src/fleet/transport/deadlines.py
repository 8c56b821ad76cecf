"""How long each phase of reading a host may take."""

import asyncio
import math
from collections.abc import Callable
from types import TracebackType

from fleet.config import Timeouts
from fleet.errors import ErrorKind, HostFailure, Phase

_HINTS = {
    Phase.CONFIG: "run `ssh -G HOST` by hand; a `Match exec` in ssh_config may hang",
    Phase.DNS: "see whether the name resolves (`getent hosts NAME`), or give the host an `address`",
    Phase.CONNECT: "see whether it is on and no firewall drops packets; timeouts.connect_s gives it longer",
    Phase.AUTH: "it may be overloaded, or something else listens there; timeouts.auth_s gives it longer",
    Phase.INSTALL: "the link may be slow, or its disk busy; timeouts.install_s gives it longer",
    Phase.HELLO: "run `ssh HOST fleet-agent snapshot` by hand; timeouts.hello_s gives it longer",
    Phase.SNAPSHOT: "run `fleet-agent snapshot` there by hand; timeouts.snapshot_s gives it longer",
    Phase.IDLE: "the machine or the network may be down; fleet connects again",
}


class Deadlines:
    """The deadlines of one attempt: each phase's own, and `total_s` over all of them together."""

    def __init__(self, timeouts: Timeouts, total_s: float | None = None) -> None:
        self._timeouts = timeouts
        self._total_s = total_s
        self._until = math.inf if total_s is None else asyncio.get_running_loop().time() + total_s

    def phase(self, phase: Phase, missed: Callable[[], str]) -> "Deadline":
        """Runs a block within the phase's time, else `HostFailure` with `missed()`: what had not happened."""
        return self.within(phase, getattr(self._timeouts, f"{phase}_s"), missed)

    def within(self, phase: Phase, limit_s: float, missed: Callable[[], str]) -> "Deadline":
        """The same with a limit of the caller's; with `math.inf` only the total counts."""
        return Deadline(phase, limit_s, self._until, self._total_s, missed)


class Deadline:
    """`async with` of one phase. A class, not a generator: there are six for each host."""

    def __init__(
        self, phase: Phase, limit_s: float, until: float, total_s: float | None, missed: Callable[[], str]
    ) -> None:
        self._phase, self._limit_s, self._until = phase, limit_s, until
        self._total_s, self._missed = total_s, missed

    async def __aenter__(self) -> None:
        left_s = self._until - asyncio.get_running_loop().time()
        self._is_total = left_s < self._limit_s
        allowed_s = max(0, min(self._limit_s, left_s))
        self._timer = asyncio.timeout(None if math.isinf(allowed_s) else allowed_s)
        await self._timer.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._timer.__aexit__(kind, exc, trace)
        except TimeoutError:
            raise self._failure() from None

    def _failure(self) -> HostFailure:
        message, hint = f"{self._missed()} within {self._limit_s:g} s", _HINTS[self._phase]
        if self._is_total:
            message = f"{self._missed()} before --timeout {self._total_s:g} had passed"
            hint = "give it longer"
        return HostFailure(ErrorKind.TIMEOUT, self._phase, message, hint)
