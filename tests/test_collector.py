"""fleet.collector on this machine alone; over SSH it is in tests/e2e."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from fleet import backoff, collector
from fleet.config import HostSpec, Timeouts
from fleet.errors import ErrorKind, Phase
from fleet.model import Fleet, HostState, Link
from fleet_agent.wire import SCHEMA, Heartbeat, Hello, Session, Snapshot

LOCAL = HostSpec("local", timeouts=Timeouts(hello_s=20, snapshot_s=20))


def agent(path: Path, *lines: object, then: str = "") -> HostSpec:
    """This machine with an agent that prints these frames, whatever it is asked."""
    text = "".join(f"echo '{msgspec.json.encode(line).decode()}'\n" for line in lines)
    path.write_text(f"#!/bin/sh\n{text}{then}\n")
    path.chmod(0o755)
    return msgspec.structs.replace(LOCAL, agent_command=str(path))


def read(spec: HostSpec) -> HostState:
    return collector.run(collector.read_fleet([spec])).hosts["local"]


def follow(spec: HostSpec, until: int, interval_s: float = 0.5) -> list[HostState]:
    """The states of this machine while it is followed, up to this many."""
    states: list[HostState] = []

    async def scene() -> None:
        enough = asyncio.Event()

        def on_change(fleet: Fleet) -> None:
            states.append(fleet.hosts["local"])
            if len(states) >= until:
                enough.set()

        following = asyncio.create_task(collector.follow_fleet([spec], interval_s, on_change))
        await asyncio.wait_for(enough.wait(), 20)
        following.cancel()
        await asyncio.wait([following])

    asyncio.run(scene())
    return states


def test_this_machine_is_a_host_like_any_other() -> None:
    """The real agent as a subprocess: hello, one snapshot, up."""
    state = read(LOCAL)
    assert (state.link, state.error) == (Link.UP, None)
    assert state.reading is not None
    assert state.reading.hello.schema == SCHEMA
    assert abs(state.reading.skew_s) < 10
    assert state.reading.elapsed_s > 0


def test_an_agent_command_that_is_not_there() -> None:
    """It is agent_missing, and the hint says which setting."""
    error = read(msgspec.structs.replace(LOCAL, agent_command="/no/such/agent")).error
    assert error is not None
    assert (error.kind, error.phase) == (ErrorKind.AGENT_MISSING, Phase.HELLO)
    assert "/no/such/agent" in error.message


def test_an_agent_that_is_killed(tmp_path: Path) -> None:
    """Its signal is in the message."""
    error = read(agent(tmp_path / "agent", Hello(schema=SCHEMA), then="kill -KILL $$")).error
    assert error is not None
    assert error.kind is ErrorKind.AGENT_FAILED
    assert "signal 9" in error.message


def test_a_heartbeat_keeps_the_snapshot_and_moves_its_clock(tmp_path: Path) -> None:
    """Nothing but time has passed: the sessions stay, `now` goes on."""
    session = Session(tool="codex", id="x")
    spec = agent(
        tmp_path / "agent",
        Hello(schema=SCHEMA),
        Snapshot(1, 10.0, (session,)),
        Heartbeat(2, 12.0),
        then="exec sleep 9",
    )
    first, second = follow(spec, 2)
    assert first.reading is not None
    assert second.reading is not None
    assert (first.reading.snapshot.now, second.reading.snapshot.now) == (10.0, 12.0)
    assert second.reading.snapshot.sessions == (session,)


def test_a_stream_that_ends_is_stale_and_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last reading stays, marked, with when the next attempt is; a good frame clears the error."""
    delays: list[tuple[ErrorKind, int]] = []

    def delay_s(kind: ErrorKind, attempts: int, _random: float) -> float:
        delays.append((kind, attempts))
        return 0.01

    monkeypatch.setattr(backoff, "delay_s", delay_s)
    states = follow(agent(tmp_path / "agent", Hello(schema=SCHEMA), Snapshot(1, 10.0), then="exit 3"), 4)
    assert [s.link for s in states] == [Link.UP, Link.STALE, Link.UP, Link.STALE]
    assert states[1].reading is not None
    assert states[1].next_retry_at is not None
    assert (states[1].attempts, states[2].attempts) == (1, 0)
    assert delays[:2] == [(ErrorKind.AGENT_FAILED, 1), (ErrorKind.AGENT_FAILED, 1)]


def test_a_stream_that_falls_silent_is_a_timeout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three intervals without a frame, and it counts as dead; the agent is not left running."""
    monkeypatch.setattr(collector, "_IDLE_SLACK_S", 0.0)
    spec = agent(tmp_path / "agent", Hello(schema=SCHEMA), Snapshot(1, 10.0), then="exec sleep 9")
    silent = follow(spec, 2, interval_s=0.2)[1]
    assert silent.error is not None
    assert (silent.error.kind, silent.error.phase) == (ErrorKind.TIMEOUT, Phase.IDLE)
    assert silent.link is Link.STALE


def test_an_empty_selection_is_an_empty_fleet() -> None:
    """Nothing to read is no error."""
    nothing: Sequence[HostSpec] = []
    assert collector.run(collector.read_fleet(nothing)).hosts == {}


def test_the_result_of_a_run_is_never_worded() -> None:
    """What a run returns may be a whole fleet: nothing on the way makes text of it, which took longer than SSH."""
    worded = []

    class Big:
        def __repr__(self) -> str:
            worded.append(self)
            return "Big()"

    async def main() -> Big:
        return Big()

    collector.run(main())
    assert not worded
