"""Turns: so many logins at a time, and no turn is held by a host that says nothing."""

import asyncio
import math
from types import TracebackType

from fleet.errors import Phase
from fleet.transport.deadlines import Deadlines


class Turn:
    """`async with` of one place in `gate`. Waiting for it is in no phase's time: only `--timeout` bounds it."""

    def __init__(
        self, gate: asyncio.Semaphore, deadlines: Deadlines, phase: Phase = Phase.AUTH, to: str = "log in"
    ) -> None:
        self._gate = gate
        self._deadlines = deadlines
        self._phase, self._to = phase, to
        self._holds = False
        self._lapse: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> "Turn":
        async with self._deadlines.within(
            self._phase, math.inf, lambda: f"its turn to {self._to} did not come"
        ):
            await self._gate.acquire()
        self._holds = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.keep()
        self._give_back()

    def lapse_after(self, seconds: float) -> None:
        """Let another have the place then, unless `keep` comes first. Whoever lapses goes on without one."""
        self._lapse = asyncio.get_running_loop().call_later(seconds, self._give_back)

    def keep(self) -> None:
        """Keep the place to the end of the block."""
        if self._lapse is not None:
            self._lapse.cancel()

    def _give_back(self) -> None:
        if self._holds:
            self._holds = False
            self._gate.release()
