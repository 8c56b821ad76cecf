"""fleet.control.verbs: what is asked of which host, and what came of it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from fleet.config import HostSpec
from fleet.control import verbs
from fleet.control.direct import Direct
from fleet.control.verbs import Answered
from fleet.errors import ErrorKind, HostFailure, Phase, RequestRefused
from fleet.transport.control import ControlChannel
from fleet_agent.control.events import ApprovalRequested
from fleet_agent.control.wire import Done, List, Pending, Request, Run, Send, Start, Target
from fleet_agent.wire import SCHEMA, Hello
from serving import RUN, write_agent

HELLO = msgspec.json.encode(Hello(schema=SCHEMA, now=77.0)) + b"\n"
MAY, MAY_NOT, DEAD = HostSpec("may", control=True), HostSpec("not"), HostSpec("dead", control=True)


class Scripted:
    """A `Reach` of hosts that answer with what they are given; `dead` cannot be reached."""

    def __init__(self, *answer: bytes) -> None:
        self.asked: list[bytes] = []
        self._answer = answer

    @asynccontextmanager
    async def control(self, spec: HostSpec) -> AsyncIterator[ControlChannel]:
        if spec.name == "dead":
            raise HostFailure(ErrorKind.UNREACHABLE, Phase.CONNECT, "refused", "see whether it is on")
        channel = ControlChannel()
        channel.send = lambda line: self._hear(channel, line)
        channel.stdout(HELLO)
        await channel.hello()
        yield channel

    def _hear(self, channel: ControlChannel, line: bytes) -> None:
        self.asked.append(line)
        for piece in self._answer:
            channel.stdout(piece)
        if not self._answer:
            channel.ended(None, None)


def line(reply: object) -> bytes:
    return msgspec.json.encode(reply) + b"\n"


def test_each_host_has_its_run_or_its_own_trouble() -> None:
    """A fan-out: what is not permitted or not reached stops nobody else, and is asked nothing."""
    reach = Scripted(line(RUN) + line(Done()))
    started = asyncio.run(verbs.start(reach, [MAY, MAY_NOT, DEAD], Start(prompt="x", by="me@here")))
    assert [answered.host for answered in started] == ["may", "not", "dead"]
    assert (started[0].runs, started[0].clock_at) == ((RUN,), 77.0)
    assert started[1].refused is not None
    assert started[1].refused.kind == verbs.NOT_PERMITTED
    assert started[2].error is not None
    assert started[2].error.kind is ErrorKind.UNREACHABLE
    assert len(reach.asked) == 1


def test_a_lost_answer_is_not_called_a_failure() -> None:
    """The connection broke after the question: it may have been done all the same, and that is said."""
    request = Send(target=Target(id="i"), text="go")
    with pytest.raises(HostFailure, match="whether it did what it was asked is not known"):
        asyncio.run(verbs.act(Scripted(), MAY, request))


def test_an_answer_that_does_not_come(monkeypatch: pytest.MonkeyPatch) -> None:
    """Is a time-out, and nothing is asked twice."""
    monkeypatch.setattr(verbs, "ANSWER_S", 0.05)
    reach = Scripted(b"")
    with pytest.raises(HostFailure) as caught:
        asyncio.run(verbs.act(reach, MAY, Send(target=Target(id="i"), text="go")))
    assert caught.value.error.kind is ErrorKind.TIMEOUT
    assert "look before you ask again" in caught.value.error.hint
    assert len(reach.asked) == 1


def test_nothing_is_asked_of_a_host_that_may_only_be_looked_at() -> None:
    """The refusal names the host, the file and the key (PROMISES 28)."""
    reach = Scripted(line(Done()))
    with pytest.raises(RequestRefused, match=r"control = true` under \[hosts.not\] in hosts.toml"):
        asyncio.run(verbs.act(reach, MAY_NOT, Send(target=Target(id="i"), text="go")))
    assert not reach.asked


def test_a_log_is_followed_by_the_hosts_own_clock() -> None:
    """What is asked is made of the host's time, never of ours."""

    async def scene() -> list[object]:
        clocks: list[float] = []

        def request(clock_at: float) -> Request:
            clocks.append(clock_at)
            return List()

        return [*clocks, *[r async for r in verbs.follow(Scripted(line(Done("end"))), MAY, request)], *clocks]

    assert asyncio.run(scene()) == [Done("end"), 77.0]


def test_the_order_of_lists() -> None:
    """Runs newest first; what is open oldest first, over all hosts."""
    old, new = Run("a-a", "codex", "exec", "running", 1.0), Run("b-b", "codex", "exec", "running", 2.0)
    answers = [Answered("h1", (old,)), Answered("h2", (new,))]
    assert verbs.newest_first(answers) == [("h2", new), ("h1", old)]
    asked = ApprovalRequested("r", "command")
    first, later = Pending("i", "codex", asked, since_at=5.0), Pending("j", "codex", asked, since_at=9.0)
    assert verbs.oldest_first([Answered("h1", (later,)), Answered("h2", (first,))]) == [
        ("h2", first),
        ("h1", later),
    ]


def test_who_asks_is_a_person_on_a_machine() -> None:
    """For the audit."""
    user, at, machine = verbs.asker().partition("@")
    assert user
    assert at
    assert machine


def test_one_agent_answers_all_that_is_asked_of_a_host(tmp_path: Path) -> None:
    """Without a daemon, a host is logged in to once for a verb, however much that asks."""

    async def scene() -> None:
        command = write_agent(tmp_path / "agent")
        spec = HostSpec("local", agent_command=command, control=True)
        async with Direct() as reach:
            async with reach.control(spec) as first:
                pass
            async with reach.control(spec) as second:
                assert second is first
            with pytest.raises(RequestRefused):
                async with reach.control(spec):
                    raise RequestRefused("stale", "x")
            async with reach.control(spec) as third:
                assert third is not first  # nobody knows what is still to come on that one

    asyncio.run(scene())
