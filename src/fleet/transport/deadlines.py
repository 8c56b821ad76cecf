"""How long each phase of reading a host may take."""

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from fleet.config import Timeouts
from fleet.errors import ErrorKind, HostFailure, Phase

_HINTS = {
    Phase.CONFIG: "run `ssh -G HOST` by hand; a `Match exec` in ssh_config may hang",
    Phase.DNS: "see whether the name resolves (`getent hosts NAME`), or give the host an `address`",
    Phase.CONNECT: "see whether it is on and no firewall drops packets; timeouts.connect_s gives it longer",
    Phase.AUTH: "it may be overloaded, or something else listens there; timeouts.auth_s gives it longer",
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

    @asynccontextmanager
    async def phase(self, phase: Phase, missed: Callable[[], str]) -> AsyncIterator[None]:
        """Run a block within the phase's time, else `HostFailure` with `missed()`: what had not happened."""
        async with self.within(phase, getattr(self._timeouts, f"{phase}_s"), missed):
            yield

    @asynccontextmanager
    async def within(self, phase: Phase, limit_s: float, missed: Callable[[], str]) -> AsyncIterator[None]:
        """The same with a limit of the caller's; with `math.inf` only the total counts."""
        left_s = self._until - asyncio.get_running_loop().time()
        allowed_s = max(0, min(limit_s, left_s))
        timer = asyncio.timeout(None if math.isinf(allowed_s) else allowed_s)
        try:
            async with timer:
                yield
        except TimeoutError:
            if not timer.expired():
                raise  # the kernel's own ETIMEDOUT, an OSError
            message = f"{missed()} within {limit_s:g} s"
            hint = _HINTS[phase]
            if left_s < limit_s:
                message, hint = f"{missed()} before --timeout {self._total_s:g} had passed", "give it longer"
            raise HostFailure(ErrorKind.TIMEOUT, phase, message, hint) from None
