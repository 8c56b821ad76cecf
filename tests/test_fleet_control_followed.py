"""fleet.control.followed: each event once and none lost, across connections that break."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import msgspec
import pytest

from fleet.config import HostSpec
from fleet.control import followed
from fleet.control.followed import Log, delay_s, may_recover
from fleet.control.selectors import Candidate
from fleet.errors import ErrorKind, HostError, HostFailure, Phase, RequestRefused
from fleet.transport.control import ControlChannel
from fleet_agent.control.events import ApprovalRequested, Message, Resolved
from fleet_agent.control.wire import Attach, Done, Logs, Refused, Reply, Run, Said, Stderr
from fleet_agent.wire import SCHEMA, Hello

RUN = Run("calm-otter", "codex", "exec", "running", 1.0, id="i1")
OURS = Candidate("h", "codex", "i1", "calm-otter", run=RUN)
FOREIGN = Candidate("h", "codex", "i2", pids=(7,))
SPEC = HostSpec("h", control=True)
LOST = HostFailure(ErrorKind.DISCONNECTED, Phase.IDLE, "the connection was lost", "")
DENIED = HostFailure(ErrorKind.AUTH, Phase.AUTH, "permission denied", "")


def said(seq: int) -> Said:
    return Said(Message(f"m{seq}"), 10.0 * seq, seq)


class Breaking:
    """A `Reach` whose connections, one after another, say these replies, or fail; what they were asked."""

    def __init__(self, *connections: Sequence[Reply] | HostFailure) -> None:
        self.asked: list[Logs] = []
        self._connections = list(connections)

    @asynccontextmanager
    async def control(self, _spec: HostSpec) -> AsyncIterator[ControlChannel]:
        replies = self._connections.pop(0)
        if isinstance(replies, HostFailure):
            raise replies
        channel = ControlChannel()
        channel.stdout(msgspec.json.encode(Hello(schema=SCHEMA, now=100.0 * len(self._connections))) + b"\n")
        await channel.hello()

        def answer(line: bytes) -> None:
            self.asked.append(msgspec.json.decode(line, type=Logs))
            for reply in replies:
                channel.stdout(msgspec.json.encode(reply) + b"\n")
            channel.ended(None, None)

        channel.send = answer
        yield channel


def heard(reach: Breaking, log: Log) -> tuple[list[Reply], list[str]]:
    """All that is followed; and what the person is told meanwhile."""
    told: list[str] = []

    async def scene() -> list[Reply]:
        return [reply async for reply in followed.follow(reach, SPEC, log, told.append)]

    return asyncio.run(scene()), told


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(followed, "FIRST_S", 0.001)


def test_a_run_goes_on_behind_its_last_number() -> None:
    """An agent that knows no `after_seq` says all again: what was seen is passed over."""
    reach = Breaking([said(1), said(2)], LOST, [said(1), said(2), said(3), Done()])
    replies, told = heard(reach, Log(OURS))
    assert replies == [said(1), said(2), said(3), Done()]
    assert [asked.after_seq for asked in reach.asked] == [0, 2]
    assert len(told) == 3
    assert told[0].startswith("h: disconnected (idle): the connection was lost; trying again in 0.0 s")
    assert told[2] == "h: connected again"


def test_a_moment_stays_what_it_was() -> None:
    """`--since 10m` is counted from the first connection, by the host's clock."""
    reach = Breaking([], [Done()])
    heard(reach, Log(OURS, since=lambda clock_at: clock_at - 60))
    assert [asked.since_at for asked in reach.asked] == [40.0, 40.0]


def test_what_has_no_number_is_told_to_whoever_listens() -> None:
    """And is new; but a request that is still open is told again to who listens anew, and was read."""
    asks, live = Said(ApprovalRequested("r1", "command"), 5.0), Said(Message("live"), 5.0)
    resolved = Said(Resolved("r1"), 6.0)
    reach = Breaking([asks, live], [asks, live, resolved, asks, Done()])
    replies, _ = heard(reach, Log(FOREIGN))
    assert replies == [asks, live, live, resolved, asks, Done()]


def test_standard_error_goes_on_by_its_bytes() -> None:
    """Where its last piece has ended."""
    reach = Breaking([Stderr("a", 1), Stderr("b", 2)], [Stderr("c", 3), Done()])
    replies, _ = heard(reach, Log(OURS, stderr=True))
    assert replies == [Stderr("a", 1), Stderr("b", 2), Stderr("c", 3), Done()]
    assert [asked.from_bytes for asked in reach.asked] == [0, 2]


@pytest.mark.parametrize(
    ("connections", "raised"),
    [
        ([DENIED], HostFailure),  # it never was reached
        ([LOST], HostFailure),
        ([[said(1)], DENIED], HostFailure),  # a login that is denied gets no better
        ([[said(1)], LOST, [Refused("unknown_session", "it was deleted")]], RequestRefused),
    ],
)
def test_what_cannot_get_better_ends_it(
    connections: list[list[Reply] | HostFailure], raised: type[Exception]
) -> None:
    """Nobody waits for a session that is gone, a login that is denied, a host that never answered."""
    with pytest.raises(raised):
        heard(Breaking(*connections), Log(OURS))


def test_an_attachment_goes_on_where_it_was() -> None:
    """From now on at first; then behind the last number, or where nothing was said, from when it began."""
    log = Log(OURS)
    assert log.attach(50.0) == Attach(target=OURS.target, by=log.attach(50.0).by)
    again = log.attach(70.0)
    assert (again.since_at, again.after_seq) == (50.0, 0)
    assert log.takes(said(4))
    assert not log.takes(said(4))
    again = log.attach(90.0)
    assert (again.since_at, again.after_seq) == (None, 4)


@pytest.mark.parametrize(
    ("kind", "phase", "recovers"),
    [
        (ErrorKind.UNREACHABLE, Phase.CONNECT, True),
        (ErrorKind.TIMEOUT, Phase.AUTH, True),
        (ErrorKind.DISCONNECTED, Phase.IDLE, True),
        (ErrorKind.AGENT_FAILED, Phase.IDLE, True),
        (ErrorKind.AGENT_FAILED, Phase.HELLO, False),  # too old, it says
        (ErrorKind.REFUSED, Phase.HELLO, False),  # the key may only observe
        (ErrorKind.HOST_KEY, Phase.AUTH, False),
    ],
)
def test_what_may_recover(kind: ErrorKind, phase: Phase, recovers: bool) -> None:
    """What comes and goes with a connection, not what a person has to mend."""
    assert may_recover(HostError(kind, phase, "m", "h")) is recovers


def test_delays_grow_and_are_bounded() -> None:
    """Somebody waits: half a second at first, at most fifteen and half of that."""
    assert [delay_s(n, 0.0) / followed.FIRST_S for n in (1, 2, 3)] == [1, 2, 4]
    assert delay_s(99, 1.0) <= followed.MOST_S * 1.5
