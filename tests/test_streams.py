"""fleet.streams on this machine, with agents that are small scripts; over SSH it is in tests/e2e."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest

from fleet import backoff, streams
from fleet.config import HostSpec, Timeouts
from fleet.errors import ErrorKind, Phase
from fleet.model import HostState, Link
from fleet.streams import Pace, Streams
from fleet_agent.wire import SCHEMA, Heartbeat, Hello, Session, Snapshot

LOCAL = HostSpec("local", timeouts=Timeouts(hello_s=20, snapshot_s=20))
HELLO = Hello(schema=SCHEMA)
GAP = "sleep 0.2\n"  # longer than what is published together

# Answers each line on its stdin with a snapshot whose `now` counts up from 100; prints one at once.
ANSWERS = (
    'echo \'{hello}\'; n=100; while :; do echo \'{{"type":"snapshot","seq":1,"now":\'$n\'}}\'; '
    "read line || exit 0; n=$((n+1)); done"
)


def encoded(frame: object) -> str:
    return msgspec.json.encode(frame).decode()


def script(path: Path, body: str) -> HostSpec:
    """This machine with a shell script as its agent."""
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return msgspec.structs.replace(LOCAL, agent_command=str(path))


def agent(path: Path, *frames: object, then: str = "exec sleep 9") -> HostSpec:
    """One that prints these frames, whatever it is asked."""
    return script(path, GAP.join(f"echo '{encoded(frame)}'\n" for frame in frames) + GAP + then)


def run(scene: Callable[[Streams], Awaitable[None]], interval_s: float = 0.5) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(30), Streams(interval_s) as followed:
            await scene(followed)

    asyncio.run(bounded())


async def until(followed: Streams, holds: Callable[[HostState], bool], name: str = "local") -> HostState:
    """The state of a host once it is so."""
    while not holds(followed.fleet.hosts[name]):
        await followed.changed(followed.fleet.version)
    return followed.fleet.hosts[name]


def now_of(state: HostState) -> float:
    return state.reading.snapshot.now if state.reading else 0.0


def test_a_heartbeat_keeps_the_snapshot_and_moves_its_clock(tmp_path: Path) -> None:
    """Nothing but time has passed: the sessions stay, `now` goes on."""
    session = Session(tool="codex", id="x")
    spec = agent(tmp_path / "agent", HELLO, Snapshot(1, 10.0, (session,)), Heartbeat(2, 12.0))

    async def scene(followed: Streams) -> None:
        followed.set_hosts([spec])
        first = await until(followed, lambda s: s.link is Link.UP)
        later = await until(followed, lambda s: now_of(s) == 12.0)
        assert now_of(first) == 10.0
        assert later.reading is not None
        assert later.reading.snapshot.sessions == (session,)
        assert later.since_at == first.since_at

    run(scene)


def test_a_stream_that_ends_is_stale_and_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last reading stays, marked, with when the next attempt is; a good frame clears the error."""
    delays: list[tuple[ErrorKind, int]] = []

    def delay_s(kind: ErrorKind, attempts: int, _random: float) -> float:
        delays.append((kind, attempts))
        return 0.2

    monkeypatch.setattr(backoff, "delay_s", delay_s)

    async def scene(followed: Streams) -> None:
        followed.set_hosts([agent(tmp_path / "agent", HELLO, Snapshot(1, 10.0), then="exit 3")])
        for _ in range(2):
            up = await until(followed, lambda s: s.link is Link.UP)
            stale = await until(followed, lambda s: s.link is Link.STALE)
            assert (up.attempts, stale.attempts) == (0, 1)
            assert stale.reading == up.reading
            assert stale.next_retry_at is not None

    run(scene)
    assert delays[:2] == [(ErrorKind.AGENT_FAILED, 1), (ErrorKind.AGENT_FAILED, 2)]  # it comes and goes


def test_a_stream_that_lasted_begins_with_the_shortest_delay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a day without fault one lost connection is tried again at once."""
    attempts: list[int] = []

    def delay_s(_kind: ErrorKind, attempt: int, _random: float) -> float:
        attempts.append(attempt)
        return 0.1

    monkeypatch.setattr(streams, "STEADY_S", 0.1)
    monkeypatch.setattr(backoff, "delay_s", delay_s)

    async def scene(followed: Streams) -> None:
        spec = agent(tmp_path / "agent", HELLO, Snapshot(1, 10.0), Heartbeat(2, 11.0), then="exit 3")
        followed.set_hosts([spec])
        while len(attempts) < 2:
            await followed.changed(followed.fleet.version)

    run(scene)
    assert attempts == [1, 1]


def test_silence_is_slow_and_then_a_timeout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy host is slow before it is down; the last reading stays all the while."""
    monkeypatch.setattr(streams, "SWEEP_S", 0.05)
    monkeypatch.setattr(streams, "SLOW_AFTER", (1.0, 0.0))
    monkeypatch.setattr(streams, "DEAD_AFTER", (3.0, 0.0))

    async def scene(followed: Streams) -> None:
        followed.set_hosts([agent(tmp_path / "agent", HELLO, Snapshot(1, 10.0))])
        slow = await until(followed, lambda s: s.link is Link.SLOW)
        assert (slow.error, now_of(slow)) == (None, 10.0)
        stale = await until(followed, lambda s: s.link is Link.STALE)
        assert stale.error is not None
        assert (stale.error.kind, stale.error.phase) == (ErrorKind.TIMEOUT, Phase.IDLE)
        assert now_of(stale) == 10.0

    run(scene)


def test_a_late_frame_ends_slowness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slow is no error: the next frame and the host is up."""
    monkeypatch.setattr(streams, "SWEEP_S", 0.05)
    monkeypatch.setattr(streams, "SLOW_AFTER", (0.5, 0.0))
    frames = (HELLO, Snapshot(1, 10.0), "", Heartbeat(2, 12.0))
    body = GAP.join("sleep 0.6\n" if f == "" else f"echo '{encoded(f)}'\n" for f in frames)

    async def scene(followed: Streams) -> None:
        followed.set_hosts([script(tmp_path / "agent", f"{body}exec sleep 9")])
        await until(followed, lambda s: s.link is Link.SLOW)
        up = await until(followed, lambda s: s.link is Link.UP)
        assert (up.error, now_of(up)) == (None, 12.0)

    run(scene)


def test_a_refresh_is_answered_over_the_open_stream(tmp_path: Path) -> None:
    """Asked for a fresh reading, each host gives one, visible at once; a host that is down gives none."""
    answers = script(tmp_path / "agent", ANSWERS.format(hello=encoded(HELLO)))
    dead = msgspec.structs.replace(LOCAL, name="local", agent_command="/no/such/agent")

    async def scene(followed: Streams) -> None:
        followed.set_hosts([answers])
        await until(followed, lambda s: s.link is Link.UP)
        for n in (101.0, 102.0):
            assert await followed.refresh(["local", "nobody"], timeout_s=10) == {"local"}
            assert now_of(followed.fleet.hosts["local"]) == n
        followed.set_hosts([dead])
        await until(followed, lambda s: s.link is Link.DOWN)
        assert await followed.refresh(["local"], timeout_s=10) == set()

    run(scene, interval_s=60)


def test_a_host_that_does_not_answer_a_refresh_delays_it_no_longer_than_asked(tmp_path: Path) -> None:
    """The others' answers are not held up, and it is not among those that answered."""

    async def scene(followed: Streams) -> None:
        followed.set_hosts([agent(tmp_path / "agent", HELLO, Snapshot(1, 10.0))])
        await until(followed, lambda s: s.link is Link.UP)
        assert await followed.refresh(["local"], timeout_s=0.1) == set()

    run(scene, interval_s=60)


def test_a_failed_host_is_tried_again_when_told(tmp_path: Path) -> None:
    """Whatever its delay, `retry` begins the next attempt now; a host that is up has none to begin."""
    path = tmp_path / "agent"
    spec = msgspec.structs.replace(LOCAL, agent_command=str(path))

    async def scene(followed: Streams) -> None:
        followed.set_hosts([spec])
        down = await until(followed, lambda s: s.link is Link.DOWN)
        assert down.error is not None
        assert down.error.kind is ErrorKind.AGENT_MISSING  # which waits for five minutes
        agent(path, HELLO, Snapshot(1, 10.0))
        assert followed.retry("local")
        await until(followed, lambda s: s.link is Link.UP)
        assert not followed.retry("local")
        assert not followed.retry("nobody")

    run(scene)


def test_a_change_of_hosts_keeps_what_did_not_change(tmp_path: Path) -> None:
    """A host with the same settings keeps its stream and its reading; one with others begins anew."""
    starts = tmp_path / "starts"
    body = f"echo x >> {starts}\necho '{encoded(HELLO)}'\necho '{encoded(Snapshot(1, 10.0))}'\nexec sleep 9"
    spec = script(tmp_path / "agent", body)

    async def scene(followed: Streams) -> None:
        followed.set_hosts([spec])
        before = await until(followed, lambda s: s.link is Link.UP)
        followed.set_hosts([spec])
        assert followed.fleet.hosts["local"] is before
        followed.set_hosts([msgspec.structs.replace(spec, tags=("x",))])
        assert followed.fleet.hosts["local"].link is Link.PENDING
        await until(followed, lambda s: s.link is Link.UP)
        followed.set_hosts([])
        assert not followed.fleet.hosts

    run(scene)
    assert starts.read_text() == "x\nx\n"


def test_starts_are_paced() -> None:
    """500 hosts that come back at once are begun at so many a second, after a small burst."""
    now_s = 100.0
    pace = Pace(100, clock=lambda: now_s)
    delays = [pace.delay_s() for _ in range(50)]
    assert delays[:10] == pytest.approx([0.0] * 10, abs=0.011)
    assert delays[49] == pytest.approx(0.4, abs=0.02)
    now_s += 60
    assert pace.delay_s() == 0
