"""fleet.collector on this machine alone; over SSH it is in tests/e2e."""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from fleet import collector
from fleet.config import HostSpec, Timeouts
from fleet.errors import ErrorKind, Phase
from fleet.model import HostState, Link
from fleet_agent.wire import SCHEMA, Hello

LOCAL = HostSpec("local", timeouts=Timeouts(hello_s=20, snapshot_s=20))


def agent(path: Path, *lines: object, then: str = "") -> HostSpec:
    """This machine with an agent that prints these frames, whatever it is asked."""
    text = "".join(f"echo '{msgspec.json.encode(line).decode()}'\n" for line in lines)
    path.write_text(f"#!/bin/sh\n{text}{then}\n")
    path.chmod(0o755)
    return msgspec.structs.replace(LOCAL, agent_command=str(path))


def read(spec: HostSpec) -> HostState:
    return collector.run(collector.read_fleet([spec])).hosts["local"]


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


def test_an_empty_selection_is_an_empty_fleet() -> None:
    """Nothing to read is no error."""
    nothing: Sequence[HostSpec] = []
    assert collector.run(collector.read_fleet(nothing)).hosts == {}


def test_the_result_of_a_run_is_never_worded() -> None:
    """What a run returns may be a whole fleet: nothing on the way words it, which took longer than SSH."""
    worded = []

    class Big:
        def __repr__(self) -> str:
            worded.append(self)
            return "Big()"

    async def main() -> Big:
        return Big()

    collector.run(main())
    assert not worded
