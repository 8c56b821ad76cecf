"""Reads hosts once: all at once, each by itself. One's trouble is its own error, never another's delay."""

import asyncio
import logging
import time
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from fleet import model
from fleet.config import HostSpec
from fleet.errors import ErrorKind, HostError, HostFailure, Phase
from fleet.launch import snapshot_arguments
from fleet.model import Event, Fleet, HostFailed, HostRead, Reading
from fleet.transport import Transport
from fleet.transport.agent import AgentChannel
from fleet.transport.deadlines import Deadlines
from fleet_agent.wire import Snapshot

log = logging.getLogger(__name__)

T = TypeVar("T")


def run(main: Coroutine[Any, Any, T]) -> T:
    """`asyncio.run`, on uvloop where it can be had."""
    results: list[T] = []

    async def keep_result() -> None:
        # Not the task's own result: at its end asyncio.Runner has the signal module word an error message about
        # a handler that refers to the task, and so the `repr` of a whole fleet, twice (0.7 ms for each host).
        results.append(await main)

    try:
        import uvloop
    except ImportError:
        asyncio.run(keep_result())
    else:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(keep_result())
    return results[0]


async def read_fleet(specs: Sequence[HostSpec], timeout_s: float | None = None) -> Fleet:
    """One reading of every host, at the same time, each within its deadlines (and `timeout_s` in all).

    Never raises for a host: what went wrong with one is in its `HostState`.
    """
    async with Transport() as transport:
        events = await asyncio.gather(*(_attempt(spec, transport, timeout_s) for spec in specs))
    return model.apply(model.empty(spec.name for spec in specs), *events)


async def _attempt(spec: HostSpec, transport: Transport, timeout_s: float | None) -> Event:
    """One reading, or why there is none."""
    try:
        return HostRead(spec.name, await _read(spec, transport, Deadlines(spec.timeouts, timeout_s)))
    except Exception as exc:
        return HostFailed(spec.name, host_error(spec, exc), time.time())


async def _read(spec: HostSpec, transport: Transport, deadlines: Deadlines) -> Reading:
    started_s = time.monotonic()
    async with transport.agent(spec, snapshot_arguments(spec), deadlines) as channel:
        return await first_reading(channel, deadlines, started_s)


async def first_reading(channel: AgentChannel, deadlines: Deadlines, started_s: float) -> Reading:
    """The first whole snapshot of an agent, begun at `started_s` (monotonic). Raises `HostFailure`."""
    async with deadlines.phase(Phase.SNAPSHOT, lambda: "the agent said hello and sent no whole snapshot"):
        snapshot = await channel.snapshot()
    return reading(channel, snapshot, started_s)


def reading(channel: AgentChannel, snapshot: Snapshot, started_s: float) -> Reading:
    """A snapshot that has just arrived; its reading began at `started_s` (monotonic)."""
    assert channel.stream.hello is not None
    now_s = time.monotonic()
    return Reading(channel.stream.hello, snapshot, time.time(), now_s, now_s - started_s, channel.stream.notes)


def host_error(spec: HostSpec, exc: Exception) -> HostError:
    """What went wrong with a host, in words for its user. Anything but a `HostFailure` is a bug of ours."""
    if isinstance(exc, HostFailure):
        return exc.error
    log.error("host %s: a bug in fleet", spec.name, exc_info=exc)
    return HostError(
        ErrorKind.INTERNAL,
        Phase.CONFIG,
        f"{type(exc).__name__}: {exc}",
        "this is a bug in fleet; please report it with the traceback on stderr",
    )
