"""fleet_agent.control.appserver.attached and gate: what is asked of a person, and who answers it."""

import asyncio
from pathlib import Path
from typing import Any

from app_server_session import TARGET, FakeServer, Session, run
from fake_app_server import THREAD, Behave, FakeConnection, Json, approval, resolves, thread, well
from fleet_agent.control import wire
from fleet_agent.control.driver import Outcome
from fleet_agent.control.events import ApprovalRequested, Failure, Resolved, TurnStarted
from fleet_agent.control.policy import Policy, Rule


def test_a_request_that_nobody_can_answer_is_answered_and_told(tmp_path: Path) -> None:
    """Left without an answer, the turn would hang; the server is told that there is none, and so are people."""

    async def story() -> None:
        connection = FakeConnection(well)
        session = Session(tmp_path, FakeServer(connection))
        await session.until(lambda: session.of(TurnStarted))
        connection.say({"id": "x-1", "method": "item/tool/call", "params": {"threadId": THREAD}})
        await session.until(connection.replies)
        (reply,) = connection.replies()
        assert (reply["id"], reply["error"]["code"]) == ("x-1", -32601)
        assert "item/tool/call" in session.of(Failure)[0].message
        assert await session.end() == Outcome(exit_code=0)

    run(story())


def test_a_string_id_is_answered_as_a_string(tmp_path: Path) -> None:
    """ "0" is not 0."""

    async def story() -> None:
        connection = FakeConnection(resolves)
        session = Session(tmp_path, FakeServer(connection))
        await session.until(lambda: session.of(TurnStarted))
        connection.say(approval("0"))
        await session.until(session.driver.pending)
        assert await session.driver.act(wire.Decide(TARGET, "accept", "0", by="me")) == wire.Done()
        assert connection.replies() == [{"id": "0", "result": {"decision": "accept"}}]
        assert session.of(Resolved) == [Resolved("0", "accept", "me")]
        await session.end()

    run(story())


def test_an_answer_that_came_second_says_so(tmp_path: Path) -> None:
    """Another client declined at the same moment: what becomes of the command shows which answer counted."""

    def declined(connection: FakeConnection, message: Json) -> None:
        resolves(connection, message)
        if "method" not in message:
            item = {"type": "commandExecution", "id": "call_1", "status": "declined", "command": "x"}
            connection.tell("item/completed", turnId="t1", item=item)

    async def story() -> None:
        connection = FakeConnection(declined)
        session = Session(tmp_path, FakeServer(connection))
        await session.until(lambda: session.of(TurnStarted))
        connection.say(approval(0))
        await session.until(session.driver.pending)
        reply = await session.driver.act(wire.Decide(TARGET, "accept", by="me"))
        assert isinstance(reply, wire.Refused)
        assert reply.kind == "already_resolved"
        assert session.of(Resolved) == [Resolved("0")]
        await session.end()

    run(story())


def test_of_two_persons_of_ours_one_answers(tmp_path: Path) -> None:
    """The second is told at once, and its answer is not even sent."""

    async def story() -> None:
        connection = FakeConnection(well)
        session = Session(tmp_path, FakeServer(connection))
        await session.until(lambda: session.of(TurnStarted))
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
        await session.until(lambda: session.of(TurnStarted))
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


def test_an_answer_whose_server_died_is_not_said_to_count(tmp_path: Path) -> None:
    """It was sent, but nobody can tell whether it was heard; the request is closed with its server."""

    def dies(connection: FakeConnection, message: Json) -> None:
        well(connection, message)
        if "method" not in message:
            connection.lose()

    async def story() -> None:
        session = Session(tmp_path, FakeServer(first := FakeConnection(dies), FakeConnection(well, 2)))
        await session.until(lambda: session.of(TurnStarted))
        first.say(approval(0))
        await session.until(session.driver.pending)
        reply = await session.driver.act(wire.Decide(TARGET, "accept", by="me"))
        assert isinstance(reply, wire.Refused)
        assert (reply.kind, reply.message.startswith("the server hung up")) == ("tool_failed", True)
        assert session.of(Resolved) == [Resolved("0")]
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
            resolves(connection, message)

    async def story(behave: Behave, answered: list[int], **params: Any) -> None:
        connection = FakeConnection(behave)
        session = Session(tmp_path, FakeServer(connection), rules)
        await session.until(lambda: session.of(TurnStarted))
        connection.say(approval(0, **params))
        await session.until(lambda: session.of(ApprovalRequested))
        if answered:
            await session.until(lambda: session.of(Resolved))
        await asyncio.sleep(0.05)
        assert [reply["id"] for reply in connection.replies()] == answered
        await session.end()

    run(story(untrusting, [0]))
    run(story(untrusting, [], reason="it needs the network"))
    run(story(untrusting, [], networkApprovalContext={"host": "example.org"}))
    run(story(resolves, []))


def test_what_the_audit_cannot_take_is_not_answered(tmp_path: Path) -> None:
    """The policy allows it, but nobody could ever tell: so it waits for a person, who is told."""
    rules = Policy((Rule(("git", "status"), escalated=True),))

    async def story() -> None:
        connection = FakeConnection(resolves)
        root = tmp_path / "file"
        root.write_text("no directory")
        session = Session(root, FakeServer(connection), rules)
        await session.until(lambda: session.of(TurnStarted))
        connection.say(approval(0))
        await session.until(lambda: session.of(Failure))
        assert "audit" in session.of(Failure)[0].message
        assert not connection.replies()
        assert len(session.driver.pending()) == 1
        await session.end()

    run(story())
