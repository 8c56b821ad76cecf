"""Reads hosts: all at once, each by itself. One host's trouble is its own error, never another's delay."""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

import msgspec

from fleet import backoff, model
from fleet.config import HostSpec
from fleet.errors import ErrorKind, HostError, HostFailure, Phase
from fleet.launch import snapshot_arguments, stream_arguments
from fleet.model import Event, Fleet, HostFailed, HostRead, Reading
from fleet.transport import Transport
from fleet.transport.channel import AgentChannel
from fleet.transport.deadlines import Deadlines
from fleet_agent.wire import Heartbeat, Snapshot

log = logging.getLogger(__name__)

MISSED_INTERVALS = 3  # without a frame, and a stream counts as dead
_IDLE_SLACK_S = 5.0

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


async def follow_fleet(
    specs: Sequence[HostSpec], interval_s: float, on_change: Callable[[Fleet], None]
) -> None:
    """Keep a stream open to every host, and call `on_change` with each new state. Runs until cancelled.

    A host that fails is tried again after the delay of its kind of error (see `backoff`).
    """
    fleet = model.empty(spec.name for spec in specs)

    def record(event: Event) -> None:
        nonlocal fleet
        fleet = model.apply(fleet, event)
        on_change(fleet)

    async with Transport() as transport, asyncio.TaskGroup() as tasks:
        for spec in specs:
            tasks.create_task(_follow(spec, transport, interval_s, record))


async def _attempt(spec: HostSpec, transport: Transport, timeout_s: float | None) -> Event:
    """One reading, or why there is none."""
    try:
        return HostRead(spec.name, await _read(spec, transport, Deadlines(spec.timeouts, timeout_s)))
    except Exception as exc:
        return HostFailed(spec.name, _host_error(spec, exc), time.time())


async def _read(spec: HostSpec, transport: Transport, deadlines: Deadlines) -> Reading:
    started_s = time.monotonic()
    async with transport.agent(spec, snapshot_arguments(spec), deadlines) as channel:
        return await _first_reading(channel, deadlines, started_s)


async def _first_reading(channel: AgentChannel, deadlines: Deadlines, started_s: float) -> Reading:
    async with deadlines.phase(Phase.SNAPSHOT, lambda: "the agent said hello and sent no whole snapshot"):
        snapshot = await channel.snapshot()
    return _reading(channel, snapshot, started_s)


def _reading(channel: AgentChannel, snapshot: Snapshot, started_s: float) -> Reading:
    assert channel.stream.hello is not None
    now_s = time.monotonic()
    return Reading(channel.stream.hello, snapshot, time.time(), now_s, now_s - started_s, channel.stream.notes)


async def _follow(
    spec: HostSpec, transport: Transport, interval_s: float, record: Callable[[Event], None]
) -> None:
    """Streams of one host, one after another, for ever."""
    failures = 0

    def good(reading: Reading) -> None:
        nonlocal failures
        failures = 0
        record(HostRead(spec.name, reading))

    while True:
        try:
            await _stream(spec, transport, interval_s, good)
        except Exception as exc:
            failures += 1
            error = _host_error(spec, exc)
            wait_s = backoff.delay_s(error.kind, failures, random.random())  # noqa: S311 - not a secret
            now = time.time()
            record(HostFailed(spec.name, error, now, now + wait_s if wait_s < float("inf") else None))
            await asyncio.sleep(wait_s)


async def _stream(
    spec: HostSpec, transport: Transport, interval_s: float, good: Callable[[Reading], None]
) -> None:
    """One stream of one host, until it fails."""
    deadlines, started_s = Deadlines(spec.timeouts), time.monotonic()
    silent_s = MISSED_INTERVALS * interval_s + _IDLE_SLACK_S
    async with transport.agent(spec, stream_arguments(spec, interval_s), deadlines) as channel:
        reading = await _first_reading(channel, deadlines, started_s)
        while True:
            good(reading)
            async with deadlines.within(Phase.IDLE, silent_s, lambda: "no frame came"):
                frame = await channel.frame()
            started_s = time.monotonic()
            snapshot = frame if isinstance(frame, Snapshot) else _later(reading.snapshot, frame)
            reading = _reading(channel, snapshot, started_s)


def _later(snapshot: Snapshot, heartbeat: object) -> Snapshot:
    """The snapshot that still holds at a heartbeat."""
    assert isinstance(heartbeat, Heartbeat)
    return msgspec.structs.replace(snapshot, seq=heartbeat.seq, now=heartbeat.now)


def _host_error(spec: HostSpec, exc: Exception) -> HostError:
    if isinstance(exc, HostFailure):
        return exc.error
    log.error("host %s: a bug in fleet", spec.name, exc_info=exc)
    return HostError(
        ErrorKind.INTERNAL,
        Phase.CONFIG,
        f"{type(exc).__name__}: {exc}",
        "this is a bug in fleet; please report it with the traceback on stderr",
    )
