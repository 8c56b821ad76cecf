"""A session of ours against an app-server that does what a real one does seldom."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest

from fake_app_server import THREAD, Behave, FakeConnection, Json, approval, thread, well
from fleet_agent.control import wire
from fleet_agent.control.appserver import deadlines
from fleet_agent.control.appserver.client import Client
from fleet_agent.control.appserver.connection import Connection
from fleet_agent.control.appserver.driver import AppServerDriver
from fleet_agent.control.appserver.gate import Gate
from fleet_agent.control.appserver.protocol import OVERLOADED, RpcError, Unreadable
from fleet_agent.control.audit import Audit
from fleet_agent.control.driver import Outcome, SpawnFailed
from fleet_agent.control.policy import NOTHING, Policy, Rule

TARGET = wire.Target(name="ours")
WITHIN_S = 5.0
E = TypeVar("E", bound=wire.Event)


class FakeServer:
    """A `Server`: one connection after the other."""

    def __init__(self, *connections: FakeConnection, survives: bool = True) -> None:
        self.survives = survives
        self._left = list(connections)

    async def open(self, _: Callable[[bytes], None]) -> Connection:
        if not self._left:
            raise ConnectionError("nobody there")
        return self._left.pop(0)


class Session:
    """A session of ours, for as long as a test needs it."""

    def __init__(self, tmp_path: Path, server: FakeServer, rules: Policy = NOTHING) -> None:
        self.events: list[wire.Event] = []
        start = wire.Start(prompt="hello", mode="app-server", name="ours", cwd="/srv/x")
        self.driver = AppServerDriver(start, server, Gate(rules, Audit(str(tmp_path), {})), (0.01, 0.01))
        self.outcome = asyncio.ensure_future(self.driver.run(self.events.append, lambda _: None))

    def of(self, kind: type[E]) -> list[E]:
        return [event for event in self.events if isinstance(event, kind)]

    async def until(self, there: Callable[[], object]) -> None:
        for _ in range(int(WITHIN_S / 0.005)):
            if there():
                return
            await asyncio.sleep(0.005)
        pytest.fail(f"it did not come about; there is {self.events}")

    async def end(self) -> Outcome:
        await self.driver.stop(0.1)
        return await asyncio.wait_for(self.outcome, WITHIN_S)


def run(story: Awaitable[None]) -> None:
    async def bounded() -> None:
        await asyncio.wait_for(story, 20.0)

    asyncio.run(bounded())


def test_a_request_that_nobody_can_answer_is_answered_and_told(tmp_path: Path) -> None:
    """Left without an answer, the turn would hang; the server is told that there is none, and so are people."""

    async def story() -> None:
        connection = FakeConnection(well)
        session = Session(tmp_path, FakeServer(connection))
        await session.until(lambda: session.of(wire.TurnStarted))
        connection.say({"id": "x-1", "method": "item/tool/call", "params": {"threadId": THREAD}})
        await session.until(connection.replies)
        (reply,) = connection.replies()
        assert (reply["id"], reply["error"]["code"]) == ("x-1", -32601)
        assert "item/tool/call" in session.of(wire.Failure)[0].message
        assert await session.end() == Outcome(exit_code=0)

    run(story())


def test_a_string_id_is_answered_as_a_string(tmp_path: Path) -> None:
    """ "0" is not 0."""

    async def story() -> None:
        connection = FakeConnection(_resolves)
        session = Session(tmp_path, FakeServer(connection))
        await session.until(lambda: session.of(wire.TurnStarted))
        connection.say(approval("0"))
        await session.until(session.driver.pending)
        assert await session.driver.act(wire.Decide(TARGET, "accept", "0", by="me")) == wire.Done()
        assert connection.replies() == [{"id": "0", "result": {"decision": "accept"}}]
        assert session.of(wire.Resolved) == [wire.Resolved("0", "accept", "me")]
        await session.end()

    run(story())


def _resolves(connection: FakeConnection, message: Json) -> None:
    well(connection, message)
    if "method" not in message:
        connection.tell("serverRequest/resolved", requestId=message["id"])


def test_an_answer_that_came_second_says_so(tmp_path: Path) -> None:
    """Another client declined at the same moment: what becomes of the command shows which answer counted."""

    def declined(connection: FakeConnection, message: Json) -> None:
        _resolves(connection, message)
        if "method" not in message:
            item = {"type": "commandExecution", "id": "call_1", "status": "declined", "command": "x"}
            connection.tell("item/completed", turnId="t1", item=item)

    async def story() -> None:
        connection = FakeConnection(declined)
        session = Session(tmp_path, FakeServer(connection))
        await session.until(lambda: session.of(wire.TurnStarted))
        connection.say(approval(0))
        await session.until(session.driver.pending)
        reply = await session.driver.act(wire.Decide(TARGET, "accept", by="me"))
        assert isinstance(reply, wire.Refused)
        assert reply.kind == "already_resolved"
        assert session.of(wire.Resolved) == [wire.Resolved("0")]
        await session.end()

    run(story())


def test_of_two_persons_of_ours_one_answers(tmp_path: Path) -> None:
    """The second is told at once, and its answer is not even sent."""

    async def story() -> None:
        connection = FakeConnection(well)
        session = Session(tmp_path, FakeServer(connection))
        await session.until(lambda: session.of(wire.TurnStarted))
        connection.say(approval(0))
        await session.until(session.driver.pending)
        first = asyncio.ensure_future(session.driver.act(wire.Decide(TARGET, "accept", by="ann")))
        await session.until(connection.replies)
        second = await session.driver.act(wire.Decide(TARGET, "decline", by="bob"))
        assert isinstance(second, wire.Refused)
        assert (second.kind, second.message) == ("already_resolved", "ann has just answered it")
        connection.tell("serverRequest/resolved", requestId=0)
        assert await first == wire.Done()
        assert len(connection.replies()) == 1
        await session.end()

    run(story())


def test_what_is_open_must_be_named_where_it_is_not_the_only_one(tmp_path: Path) -> None:
    """An answer to the wrong one could run the wrong command."""

    async def story() -> None:
        connection = FakeConnection(well)
        session = Session(tmp_path, FakeServer(connection))
        await session.until(lambda: session.of(wire.TurnStarted))
        connection.say(approval(0))
        connection.say(approval(1, item="call_2"))
        await session.until(lambda: len(session.driver.pending()) == 2)
        reply = await session.driver.act(wire.Decide(TARGET, "accept"))
        assert isinstance(reply, wire.Refused)
        assert (reply.kind, reply.candidates) == ("ambiguous", ("0", "1"))
        unknown = await session.driver.act(wire.Decide(TARGET, "nonsense", "0"))
        assert isinstance(unknown, wire.Refused)
        assert unknown.kind == "bad_request"
        assert not connection.replies()
        await session.end()

    run(story())


def test_a_turn_that_may_have_begun_is_not_asked_for_again(tmp_path: Path) -> None:
    """The connection is lost before the answer to turn/start: nobody can tell, so it is told and left."""

    def silent(connection: FakeConnection, message: Json) -> None:
        if message.get("method") == "turn/start":
            connection.lose()
        else:
            well(connection, message)

    async def story() -> None:
        first, second = FakeConnection(silent), FakeConnection(well)
        session = Session(tmp_path, FakeServer(first, second))
        await session.until(lambda: "thread/resume" in second.methods())
        await session.until(lambda: len(session.of(wire.Failure)) == 2)
        assert first.methods().count("turn/start") == 1
        assert "turn/start" not in second.methods()
        assert await session.end() == Outcome(exit_code=0)

    run(story())


@pytest.mark.parametrize(("server_pid", "resolved"), [(1, 0), (2, 1)])
def test_a_lost_connection_doubles_nothing(tmp_path: Path, server_pid: int, resolved: int) -> None:
    """The same server sends again what is open, and it is told once; another one's requests are others."""

    def waits(connection: FakeConnection, message: Json) -> None:
        if message.get("method") == "thread/resume":
            connection.say({"id": message["id"], "result": {"thread": thread("active", "waitingOnApproval")}})
            connection.say(approval(0))
        elif message.get("method") == "thread/turns/list":
            turns = [{"id": "t1", "status": "inProgress"}]
            connection.say({"id": message["id"], "result": {"data": turns}})
        else:
            well(connection, message)

    async def story() -> None:
        first, second = FakeConnection(well), FakeConnection(waits, server_pid)
        session = Session(tmp_path, FakeServer(first, second))
        await session.until(lambda: session.of(wire.TurnStarted))
        first.say(approval(0))
        await session.until(session.driver.pending)
        first.lose()
        await session.until(lambda: "thread/turns/list" in second.methods())
        await session.until(session.driver.pending)
        assert len(session.of(wire.ApprovalRequested)) == 1 + resolved
        assert len(session.of(wire.Resolved)) == resolved
        assert len(session.of(wire.TurnEnded)) == resolved
        assert [failure.retrying for failure in session.of(wire.Failure)] == [True]
        await session.end()

    run(story())


def test_an_answer_whose_server_died_is_not_said_to_count(tmp_path: Path) -> None:
    """It was sent, but nobody can tell whether it was heard; the request is closed with its server."""

    def dies(connection: FakeConnection, message: Json) -> None:
        well(connection, message)
        if "method" not in message:
            connection.lose()

    async def story() -> None:
        session = Session(tmp_path, FakeServer(first := FakeConnection(dies), FakeConnection(well, 2)))
        await session.until(lambda: session.of(wire.TurnStarted))
        first.say(approval(0))
        await session.until(session.driver.pending)
        reply = await session.driver.act(wire.Decide(TARGET, "accept", by="me"))
        assert isinstance(reply, wire.Refused)
        assert (reply.kind, reply.message.startswith("the server hung up")) == ("tool_failed", True)
        assert session.of(wire.Resolved) == [wire.Resolved("0")]
        await session.end()

    run(story())


def test_a_server_that_does_not_come_back_ends_the_session(tmp_path: Path) -> None:
    """What was open is closed, the turn failed, and the run did not end well."""

    async def story() -> None:
        connection = FakeConnection(well)
        session = Session(tmp_path, FakeServer(connection))
        await session.until(lambda: session.of(wire.TurnStarted))
        connection.lose()
        assert await asyncio.wait_for(session.outcome, WITHIN_S) == Outcome(exit_code=1)
        assert [turn.end for turn in session.of(wire.TurnEnded)] == ["failed"]
        reply = await session.driver.act(wire.Send(TARGET, "hello"))
        assert isinstance(reply, wire.Refused)

    run(story())


def test_a_closed_thread_ends_the_session(tmp_path: Path) -> None:
    """Whoever closed it."""

    async def story() -> None:
        connection = FakeConnection(well)
        session = Session(tmp_path, FakeServer(connection))
        await session.until(lambda: session.of(wire.TurnStarted))
        connection.tell("thread/closed")
        assert await asyncio.wait_for(session.outcome, WITHIN_S) == Outcome(exit_code=0)

    run(story())


def test_a_silent_turn_is_told_and_not_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing comes of a turn: somebody is told, once, and it may go on."""
    monkeypatch.setattr(deadlines, "FIRST_PROGRESS_S", 0.05)

    async def story() -> None:
        connection = FakeConnection(well)
        session = Session(tmp_path, FakeServer(connection))
        await session.until(lambda: session.of(wire.Failure))
        await asyncio.sleep(0.1)
        assert [failure.retrying for failure in session.of(wire.Failure)] == [True]
        assert not session.of(wire.TurnEnded)
        assert not session.outcome.done()
        await session.end()

    run(story())


def test_tokens_that_the_server_did_not_tell_are_in_the_rollout(tmp_path: Path) -> None:
    """They are told with the turn's end, once; and not where the server told some."""
    rollout = tmp_path / "rollout.jsonl"

    def opened(connection: FakeConnection, message: Json) -> None:
        if message.get("method") == "thread/start":
            result = {"thread": {**thread(), "path": str(rollout)}}
            connection.say({"id": message["id"], "result": result})
        else:
            well(connection, message)

    def count(total: int) -> None:
        info = {"total_token_usage": {"input_tokens": total, "output_tokens": 0, "total_tokens": total}}
        payload = {"type": "token_count", "info": info}
        line = {"type": "event_msg", "payload": payload}
        rollout.write_text(json.dumps(line, separators=(",", ":")) + "\n")

    async def story() -> None:
        connection = FakeConnection(opened)
        session = Session(tmp_path, FakeServer(connection))
        await session.until(lambda: session.of(wire.TurnStarted))
        count(7)
        for number in (1, 2, 3):
            if number == 3:
                usage = {"total": {"inputTokens": 9, "outputTokens": 0, "totalTokens": 9}}
                connection.tell("thread/tokenUsage/updated", turnId="t3", tokenUsage=usage)
            connection.tell("turn/completed", turn={"id": f"t{number}", "status": "completed"})
            connection.tell("turn/started", turn={"id": f"t{number + 1}"})
        await session.until(lambda: len(session.of(wire.TurnStarted)) == 4)
        assert [used.total.input for used in session.of(wire.Used) if used.total] == [7, 9]
        await session.end()

    run(story())


def test_a_bad_line_is_an_event(tmp_path: Path) -> None:
    """It is told with its size, and what follows it is read."""

    async def story() -> None:
        connection = FakeConnection(well)
        session = Session(tmp_path, FakeServer(connection))
        await session.until(lambda: session.of(wire.TurnStarted))
        connection.say(b"{nonsense")
        connection.tell("turn/completed", turn={"id": "t1", "status": "completed"})
        await session.until(lambda: session.of(wire.TurnEnded))
        (bad,) = session.of(wire.Failure)
        assert (bad.source, bad.dropped_bytes) == ("stream", 9)
        await session.end()

    run(story())


def test_the_policy_knows_what_stays_in_the_sandbox(tmp_path: Path) -> None:
    """A rule that does not speak of more rights answers only where none are asked for."""
    rules = Policy((Rule(("git", "status")),))

    def untrusting(connection: FakeConnection, message: Json) -> None:
        if message.get("method") == "thread/start":
            opened = {"thread": thread(), "approvalPolicy": "untrusted"}
            connection.say({"id": message["id"], "result": opened})
        else:
            _resolves(connection, message)

    async def story(behave: Behave, answered: list[int], **params: Any) -> None:
        connection = FakeConnection(behave)
        session = Session(tmp_path, FakeServer(connection), rules)
        await session.until(lambda: session.of(wire.TurnStarted))
        connection.say(approval(0, **params))
        await session.until(lambda: session.of(wire.ApprovalRequested))
        if answered:
            await session.until(lambda: session.of(wire.Resolved))
        await asyncio.sleep(0.05)
        assert [reply["id"] for reply in connection.replies()] == answered
        await session.end()

    run(story(untrusting, [0]))
    run(story(untrusting, [], reason="it needs the network"))
    run(story(untrusting, [], networkApprovalContext={"host": "example.org"}))
    run(story(_resolves, []))


def test_what_the_audit_cannot_take_is_not_answered(tmp_path: Path) -> None:
    """The policy allows it, but nobody could ever tell: so it waits for a person, who is told."""
    rules = Policy((Rule(("git", "status"), escalated=True),))

    async def story() -> None:
        connection = FakeConnection(_resolves)
        root = tmp_path / "file"
        root.write_text("no directory")
        session = Session(root, FakeServer(connection), rules)
        await session.until(lambda: session.of(wire.TurnStarted))
        connection.say(approval(0))
        await session.until(lambda: session.of(wire.Failure))
        assert "audit" in session.of(wire.Failure)[0].message
        assert not connection.replies()
        assert len(session.driver.pending()) == 1
        await session.end()

    run(story())


def test_a_subagent_s_session_is_not_resumed(tmp_path: Path) -> None:
    """Input of a person would end its terminal: it is refused before anything is loaded."""

    def subagent(connection: FakeConnection, message: Json) -> None:
        if message.get("method") == "thread/read":
            found = {**thread(), "source": {"subAgent": {"thread_spawn": {}}}}
            connection.say({"id": message["id"], "result": {"thread": found}})
        else:
            well(connection, message)

    async def story() -> None:
        connection = FakeConnection(subagent)
        start = wire.Start(prompt="hello", mode="app-server", resume=THREAD)
        driver = AppServerDriver(start, FakeServer(connection), Gate(NOTHING, Audit(str(tmp_path), {})))
        with pytest.raises(SpawnFailed, match="subagent") as refused:
            await driver.run(lambda _: None, lambda _: None)
        assert "codex fork" in refused.value.hint
        assert "thread/resume" not in connection.methods()

    run(story())


def test_an_overloaded_server_is_asked_again() -> None:
    """It has done nothing yet, so that is safe; any other error is final."""
    busy = [{"code": OVERLOADED, "message": "busy"}] * 2

    def overloaded(connection: FakeConnection, message: Json) -> None:
        if message["method"] == "busy" and busy:
            connection.say({"id": message["id"], "error": busy.pop()})
        elif message["method"] == "wrong":
            connection.say({"id": message["id"], "error": {"code": -32600, "message": "no"}})
        else:
            connection.say({"id": message["id"], "result": {"ok": True}})

    async def story() -> None:
        connection = FakeConnection(overloaded)
        client = Client(connection, lambda _: None)
        assert await client.call("busy", {}, dict) == {"ok": True}
        assert connection.methods() == ["busy", "busy", "busy"]
        with pytest.raises(RpcError, match="no"):
            await client.call("wrong", {}, dict)
        assert connection.methods().count("wrong") == 1
        await client.close()

    run(story())


def test_a_lost_connection_ends_every_request() -> None:
    """At once, and what was never answered is an error, not a wait."""

    async def story() -> None:
        connection = FakeConnection(lambda connection, _: connection.lose())
        took: list[object] = []
        client = Client(connection, took.append)
        connection.say(b"\xff")
        with pytest.raises(ConnectionError, match="hung up"):
            await client.call("anything", {}, dict)
        assert isinstance(took[0], Unreadable)
        with pytest.raises(ConnectionError):
            await client.call("more", {}, dict)
        await client.close()

    run(story())


def test_a_server_that_does_not_answer_is_not_waited_for_for_ever() -> None:
    """The request has a deadline of its own."""

    async def story() -> None:
        client = Client(FakeConnection(lambda *_: None), lambda _: None)
        with pytest.raises(TimeoutError, match="no answer to slow"):
            await client.call("slow", {}, dict, timeout_s=0.05)
        await client.close()

    run(story())
