"""Streams: one connection and one agent to each host, kept for as long as they are wanted.

A task for each host: connect, read frames, record what they say; when that fails, wait for the delay of its
kind of error and begin again. One sweep over all of them, not a timer for each frame, tells who fell silent.
"""

import asyncio
import math
import random
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from fleet import backoff, model
from fleet.collector import first_reading, host_error, reading
from fleet.config import HostSpec
from fleet.errors import ErrorKind, HostFailure, Phase
from fleet.launch import stream_arguments
from fleet.model import Event, Fleet, HostFailed, HostRead, HostSlow, HostState, Reading
from fleet.transport import Transport
from fleet.transport.agent import AgentChannel
from fleet.transport.deadlines import Deadlines
from fleet.transport.inbox import Inbox
from fleet_agent.wire import Frame, Heartbeat, Refresh, Snapshot

if TYPE_CHECKING:
    from fleet.transport.control import ControlChannel

PUBLISH_AFTER_S = 0.07  # what arrives together becomes visible together: readers see it within 0.1 s
LOGINS_AT_ONCE = 32  # half of what a one-shot reading takes: open streams must be served meanwhile
STARTS_PER_S = 150  # of connections: 500 hosts that come back at once then delay no frame by more than 5 ms
SWEEP_S = 0.5
STEADY_S = 60.0  # a stream that lasted so long begins with the shortest delay when it fails
# Of silence, in intervals and seconds beside them. An agent sends a frame each interval; a busy one is late.
SLOW_AFTER = (1.5, 1.0)
DEAD_AFTER = (3.0, 5.0)
# Of what breaks no rule by itself, and costs a processor without end. An agent sends a frame each 0.2 s at the
# most, and one more for each time that it is asked.
FLOOD_FRAMES_A_SWEEP = 200
FLOOD_STDERR_BYTES_A_SWEEP = 256 << 10

_REFRESH = msgspec.json.encode(Refresh()) + b"\n"


class Streams:
    """The hosts that are followed. `fleet` is their newest state, a frozen version of it.

    `interval_s` is asked of every agent, instead of each host's own. `observe` is told of each new version: the
    fleet before and after, and the hosts that may be different.
    """

    def __init__(
        self,
        interval_s: float | None = None,
        observe: Callable[[Fleet, Fleet, set[str]], None] = lambda *_: None,
    ) -> None:
        self.fleet: Fleet = model.empty(())
        self._interval_s = interval_s
        self._observe = observe
        self._inbox = Inbox(self._publish_soon)
        self._transport = Transport(LOGINS_AT_ONCE, self._inbox)
        self._pace = Pace(STARTS_PER_S)
        self._streams: dict[str, _Stream] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._events: list[Event] = []
        self._published = asyncio.Event()
        self._publishing: asyncio.TimerHandle | None = None
        self._sweeping: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "Streams":
        self._sweeping = asyncio.create_task(self._sweep())
        await self._transport.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        assert self._sweeping is not None
        ending = {*self._tasks, self._sweeping}
        for task in ending:
            task.cancel()
        await asyncio.wait(ending)
        await self._transport.__aexit__()
        self._inbox.close()

    def set_hosts(self, specs: Sequence[HostSpec]) -> None:
        """Follow these hosts and no others. A host whose settings did not change keeps its stream."""
        wanted = {spec.name: spec for spec in specs}
        kept = {name for name, stream in self._streams.items() if wanted.get(name) == stream.spec}
        self._publish()
        for name in self._streams.keys() - kept:
            self._streams.pop(name).task.cancel()
        self._become(model.choose(self.fleet, wanted, kept), (self.fleet.hosts.keys() | wanted.keys()) - kept)
        for name, spec in wanted.items():
            if name not in kept:
                self._streams[name] = self._start(spec)

    async def changed(self, version: int) -> Fleet:
        """The fleet, once it is newer than `version`."""
        while self.fleet.version <= version:
            await self._published.wait()
        return self.fleet

    def is_open(self, name: str) -> bool:
        """Whether there is a connection to this host now."""
        stream = self._streams.get(name)
        return stream is not None and stream.channel is not None

    def retry(self, name: str) -> bool:
        """Try a host that failed again now, whatever its delay. Whether there is such a host that waits."""
        stream = self._streams.get(name)
        return stream is not None and stream.retry()

    async def refresh(self, names: Iterable[str], timeout_s: float) -> set[str]:
        """Ask these hosts' agents for a reading now, over their open streams. Returns those that gave one."""
        with self._inbox.hurried():  # which also reads what is here: no answer to a question not yet asked
            asked = {name: answer for name in names if (answer := self._ask(name))}
            if asked:
                await asyncio.wait(asked.values(), timeout=timeout_s)
        self._publish()
        for answer in asked.values():
            answer.cancel()
        return {name for name, answer in asked.items() if not answer.cancelled()}

    @asynccontextmanager
    async def control(self, spec: HostSpec) -> AsyncIterator["ControlChannel"]:
        """A host's control agent, over the connection that is open to it; where none is, `HostFailure` at once.

        Whether the host may be controlled is not asked here.
        """
        stream = self._streams.get(spec.name)
        reading_from = stream.channel if stream else None
        if reading_from is None:
            raise _unconnected(self.fleet.hosts.get(spec.name))
        with self._inbox.hurried():
            async with reading_from.control() as channel:
                yield channel

    def stop_asking(self) -> None:
        """Let every `refresh` return now, with the answers that have come."""
        for stream in self._streams.values():
            stream.stop_asking()

    def _ask(self, name: str) -> "asyncio.Future[None] | None":
        stream = self._streams.get(name)
        return stream.ask() if stream else None

    def _start(self, spec: HostSpec) -> "_Stream":
        stream = _Stream(spec, self._interval_s or spec.interval_s, self._transport, self._pace, self._record)
        self._tasks.add(stream.task)
        stream.task.add_done_callback(self._tasks.discard)
        return stream

    def _record(self, stream: "_Stream", event: Event) -> None:
        if self._streams.get(stream.spec.name) is not stream:
            return  # of a host that is followed no more, or with other settings
        self._events.append(event)
        self._publish_soon()

    def _publish_soon(self) -> None:
        if self._publishing is None:
            self._publishing = asyncio.get_running_loop().call_later(PUBLISH_AFTER_S, self._publish)

    def _publish(self) -> None:
        is_busy = self._inbox.read() > 1
        if self._publishing is not None:
            self._publishing.cancel()
            self._publishing = None
        if self._events:
            events, self._events = self._events, []
            self._become(model.apply(self.fleet, *events), {event.host for event in events})
        if is_busy:  # then something will have come by the next time, too
            self._publish_soon()
        else:
            self._inbox.watch()

    def _become(self, after: Fleet, names: set[str]) -> None:
        before, self.fleet = self.fleet, after
        self._observe(before, after, names)
        published, self._published = self._published, asyncio.Event()
        published.set()

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            now_s = time.monotonic()
            for stream in self._streams.values():
                stream.sweep(now_s)


class Pace:
    """Spreads starts: so many a second, a tenth of a second's worth of them at once."""

    def __init__(self, per_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._step_s = 1 / per_s
        self._burst_s = 0.1
        self._clock = clock
        self._next_s = 0.0

    def delay_s(self) -> float:
        """How long the next one has to wait; it then counts as started."""
        now_s = self._clock()
        self._next_s = max(self._next_s, now_s - self._burst_s) + self._step_s
        return max(0.0, self._next_s - now_s)


class _Stream:
    """One host's stream, and all that come after it."""

    def __init__(
        self,
        spec: HostSpec,
        interval_s: float,
        transport: Transport,
        pace: Pace,
        record: Callable[["_Stream", Event], None],
    ) -> None:
        self.spec = spec
        self._interval_s = interval_s
        self._transport = transport
        self._pace = pace
        self._record = record
        self._channel: AgentChannel | None = None  # while frames are read from it
        self._latest: Reading
        self._began_s = 0.0  # when the first frame of this stream came
        self._frame_s = 0.0  # when the last one came
        self._frames = 0  # since the last sweep
        self._stderr_bytes = 0  # of the channel, at the last sweep
        self._slow = False
        self._failures = 0
        self._asking: list[asyncio.Future[None]] = []
        self._waiting: asyncio.Event | None = None  # for the next attempt; set to begin it now
        self.task = asyncio.create_task(self._run(), name=f"stream {spec.name}")

    @property
    def channel(self) -> AgentChannel | None:
        """The open channel, if there is one."""
        return self._channel

    def retry(self) -> bool:
        """Begin the next attempt now. Whether there is one to begin."""
        if self._waiting is None:
            return False
        self._waiting.set()
        return True

    def ask(self) -> "asyncio.Future[None] | None":
        """Ask for a snapshot: done when it is recorded, cancelled if it will not come. None: no open stream."""
        if self._channel is None:
            return None
        try:
            self._channel.send(_REFRESH)
        except (OSError, RuntimeError):  # of asyncssh, of uvloop: it has just ended, and will say so soon
            return None
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._asking.append(answer)
        return answer

    def stop_asking(self) -> None:
        """No snapshot will come for those who asked."""
        for answer in self._asking:
            answer.cancel()
        self._asking.clear()

    def sweep(self, now_s: float) -> None:
        """Note silence: first the host is slow, then its stream is given up. A flood ends it at once."""
        if self._channel is None:
            return
        if self._is_flooding(self._channel):
            message = f"{self._frames} frames and {self._channel.stderr_bytes >> 10} KiB of stderr came at once"
            hint = "that host's agent is broken, or another program writes to its output: see `agent_command`"
            self._channel.give_up(HostFailure(ErrorKind.BAD_OUTPUT, Phase.IDLE, message, hint))
        self._frames, self._stderr_bytes = 0, self._channel.stderr_bytes
        silent_s = now_s - self._frame_s
        if silent_s >= (dead_s := self._limit_s(DEAD_AFTER)):
            message = f"no frame came within {dead_s:g} s"
            hint = "the machine or the network may be down; fleet connects again"
            self._channel.give_up(HostFailure(ErrorKind.TIMEOUT, Phase.IDLE, message, hint))
        elif silent_s >= self._limit_s(SLOW_AFTER) and not self._slow:
            self._slow = True
            self._record(self, HostSlow(self.spec.name, time.time()))

    def _is_flooding(self, channel: AgentChannel) -> bool:
        stderr_bytes = channel.stderr_bytes - self._stderr_bytes
        return self._frames > FLOOD_FRAMES_A_SWEEP or stderr_bytes > FLOOD_STDERR_BYTES_A_SWEEP

    def _limit_s(self, after: tuple[float, float]) -> float:
        return after[0] * self._interval_s + after[1]

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._pace.delay_s())
            try:
                await self._follow()
            except Exception as exc:
                await self._wait_after(exc)

    async def _wait_after(self, exc: Exception) -> None:
        lasted_s = (
            self._frame_s - self._began_s
        )  # one good frame does not make a host that comes and goes a good one
        self._failures = 1 if lasted_s >= STEADY_S else self._failures + 1
        self._began_s = self._frame_s
        error = host_error(self.spec, exc)
        wait_s = backoff.delay_s(error.kind, self._failures, random.random())  # noqa: S311 - not a secret
        now = time.time()
        self._record(self, HostFailed(self.spec.name, error, now, None if math.isinf(wait_s) else now + wait_s))
        self._waiting = asyncio.Event()
        try:
            async with asyncio.timeout(None if math.isinf(wait_s) else wait_s):
                await self._waiting.wait()
        except TimeoutError:
            pass
        finally:
            self._waiting = None

    async def _follow(self) -> None:
        """One stream, until it fails."""
        deadlines, started_s = Deadlines(self.spec.timeouts), time.monotonic()
        arguments = stream_arguments(self.spec, self._interval_s)
        async with self._transport.agent(self.spec, arguments, deadlines) as channel:
            latest = await first_reading(channel, deadlines, started_s)
            self._channel, self._stderr_bytes = channel, channel.stderr_bytes
            try:
                self._good(latest)
                self._began_s = self._frame_s
                channel.listen(partial(self._frame, channel))
                await channel.end()
            finally:
                self._channel = None
                self.stop_asking()

    def _frame(self, channel: AgentChannel, frame: Frame) -> None:
        snapshot = frame if isinstance(frame, Snapshot) else _later(self._latest.snapshot, frame)
        self._good(reading(channel, snapshot, time.monotonic()))
        if snapshot is frame:
            self._answer()

    def _good(self, latest: Reading) -> None:
        self._latest = latest
        self._frame_s, self._slow = latest.arrived_mono_s, False
        self._frames += 1
        self._record(self, HostRead(self.spec.name, latest))

    def _answer(self) -> None:
        """Tell who asked. A snapshot that was on its way then counts too: it is younger than a round trip."""
        for answer in self._asking:
            if not answer.done():
                answer.set_result(None)
        self._asking.clear()


def _unconnected(host: HostState | None) -> HostFailure:
    """Why nothing can be asked of a host now."""
    if host is not None and (error := host.error) is not None:
        return HostFailure(error.kind, error.phase, error.message, error.hint)
    message, hint = "there is no connection to it yet", "try again in a moment"
    return HostFailure(ErrorKind.DISCONNECTED, Phase.CONNECT, message, hint)


def _later(snapshot: Snapshot, heartbeat: object) -> Snapshot:
    """The snapshot that still holds at a heartbeat."""
    assert isinstance(heartbeat, Heartbeat)
    return msgspec.structs.replace(snapshot, seq=heartbeat.seq, now=heartbeat.now)
