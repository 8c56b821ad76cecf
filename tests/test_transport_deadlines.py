"""fleet.transport.deadlines: each phase has its time."""

import asyncio
import math

import pytest

from fleet.config import Timeouts
from fleet.errors import ErrorKind, HostError, HostFailure, Phase
from fleet.transport.deadlines import Deadlines


async def miss(deadlines: Deadlines, phase: Phase) -> None:
    async with deadlines.phase(phase, lambda: "nothing came"):
        await asyncio.sleep(60)


def error_of(timeouts: Timeouts, total_s: float | None = None) -> HostError:
    async def scene() -> None:
        await miss(Deadlines(timeouts, total_s), Phase.CONNECT)

    with pytest.raises(HostFailure) as caught:
        asyncio.run(scene())
    return caught.value.error


def test_a_phase_that_takes_too_long_is_named() -> None:
    """The message says what had not happened and within how long, the hint which setting gives it longer."""
    error = error_of(Timeouts(connect_s=0.02))
    assert (error.kind, error.phase) == (ErrorKind.TIMEOUT, Phase.CONNECT)
    assert error.message == "nothing came within 0.02 s"
    assert "timeouts.connect_s" in error.hint


def test_the_total_comes_before_the_phases_own_time() -> None:
    """`--timeout` cuts every phase, and is named as the cause."""
    assert error_of(Timeouts(), 0.02).message == "nothing came before --timeout 0.02 had passed"


def test_a_total_that_has_passed_ends_the_next_phase_at_once() -> None:
    """No phase is begun on borrowed time."""
    assert error_of(Timeouts(), -1.0).kind is ErrorKind.TIMEOUT


def test_the_kernels_own_timeout_is_not_a_deadline() -> None:
    """ETIMEDOUT is a `TimeoutError` too; it passes through to be explained as what it is."""

    async def scene() -> None:
        async with Deadlines(Timeouts()).phase(Phase.CONNECT, lambda: "x"):
            raise TimeoutError(110, "Connection timed out")

    with pytest.raises(TimeoutError, match="Connection timed out"):
        asyncio.run(scene())


def test_what_is_in_time_is_left_alone() -> None:
    """No deadline, no trace; an infinite one only counts the total."""

    async def scene() -> str:
        async with Deadlines(Timeouts()).within(Phase.AUTH, math.inf, lambda: "x"):
            await asyncio.sleep(0)
        return "done"

    assert asyncio.run(scene()) == "done"
