import asyncio
from collections.abc import Awaitable, Callable

import pytest

from fleet.config import Timeouts
from fleet.errors import HostFailure, Phase
from fleet.transport.deadlines import Deadlines
from fleet.transport.turns import Turn


def run(main: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(10):
            await main()

    asyncio.run(bounded())


def test_no_more_than_the_gate_allows_are_in_at_once() -> None:
    """So many logins at a time, however many hosts there are."""

    async def main() -> None:
        gate, inside, most = asyncio.Semaphore(3), 0, 0

        async def log_in() -> None:
            nonlocal inside, most
            async with Turn(gate, Deadlines(Timeouts())):
                inside += 1
                most = max(most, inside)
                await asyncio.sleep(0)
                inside -= 1

        await asyncio.gather(*(log_in() for _ in range(20)))
        assert most == 3
        assert not gate.locked()

    run(main)


def test_a_silent_host_lets_others_pass() -> None:
    """A host that says nothing holds its place for a moment only, and gives it back once."""

    async def main() -> None:
        gate = asyncio.Semaphore(1)
        async with Turn(gate, Deadlines(Timeouts())) as silent:
            silent.lapse_after(0.01)
            async with Turn(gate, Deadlines(Timeouts())):
                assert gate.locked()
            assert not gate.locked()
        await gate.acquire()
        assert gate.locked()

    run(main)


def test_a_host_that_speaks_keeps_its_place() -> None:
    """Whoever is logging in is counted until it is done."""

    async def main() -> None:
        gate = asyncio.Semaphore(1)
        async with Turn(gate, Deadlines(Timeouts())) as turn:
            turn.lapse_after(0.01)
            turn.keep()
            await asyncio.sleep(0.05)
            assert gate.locked()
        assert not gate.locked()

    run(main)


def test_only_the_total_bounds_the_waiting() -> None:
    """The queue is nobody's fault: `--timeout` ends it, and says so."""

    async def main() -> None:
        gate = asyncio.Semaphore(0)
        with pytest.raises(HostFailure) as failure:
            async with Turn(gate, Deadlines(Timeouts(), total_s=0.02)):
                pass
        assert failure.value.error.phase is Phase.AUTH
        assert "its turn to log in did not come before --timeout 0.02" in failure.value.error.message

    run(main)
