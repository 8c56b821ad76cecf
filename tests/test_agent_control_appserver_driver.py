"""fleet_agent.control.appserver.driver: a session, and a server that does what a real one does seldom."""

import asyncio
import json
from pathlib import Path

import pytest

from app_server_session import TARGET, WITHIN_S, FakeServer, Session, run
from fake_app_server import THREAD, FakeConnection, Json, approval, thread, well
from fleet_agent.control import wire
from fleet_agent.control.appserver import deadlines
from fleet_agent.control.appserver.client import Client
from fleet_agent.control.appserver.driver import AppServerDriver
from fleet_agent.control.appserver.gate import Gate
from fleet_agent.control.audit import Audit
from fleet_agent.control.driver import Outcome, SpawnFailed
from fleet_agent.control.events import ApprovalRequested, Failure, Resolved, TurnEnded, TurnStarted, Used
from fleet_agent.control.policy import NOTHING


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
        await session.until(lambda: len(session.of(Failure)) == 2)
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
        await session.until(lambda: session.of(TurnStarted))
        first.say(approval(0))
        await session.until(session.driver.pending)
        first.lose()
        await session.until(lambda: "thread/turns/list" in second.methods())
        await session.until(session.driver.pending)
        assert len(session.of(ApprovalRequested)) == 1 + resolved
        assert len(session.of(Resolved)) == resolved
        assert len(session.of(TurnEnded)) == resolved
        assert [failure.retrying for failure in session.of(Failure)] == [True]
        await session.end()

    run(story())


def test_a_server_that_does_not_come_back_ends_the_session(tmp_path: Path) -> None:
    """What was open is closed, the turn failed, and the run did not end well."""

    async def story() -> None:
        connection = FakeConnection(well)
        session = Session(tmp_path, FakeServer(connection))
        await session.until(lambda: session.of(TurnStarted))
        connection.lose()
        assert await asyncio.wait_for(session.outcome, WITHIN_S) == Outcome(exit_code=1)
        assert [turn.end for turn in session.of(TurnEnded)] == ["failed"]
        reply = await session.driver.act(wire.Send(TARGET, "hello"))
        assert isinstance(reply, wire.Refused)

    run(story())


def test_a_turn_that_was_told_to_end_did_though_its_server_is_gone(tmp_path: Path) -> None:
    """The end of a turn and that of its server come together: the turn is not made a failed one."""

    async def story() -> None:
        connection = FakeConnection(well)
        session = Session(tmp_path, FakeServer(connection, survives=False))
        await session.until(lambda: session.of(TurnStarted))
        connection.tell("turn/completed", turn={"id": "t1", "status": "completed"})
        connection.lose()
        await asyncio.wait_for(session.outcome, WITHIN_S)
        assert [turn.end for turn in session.of(TurnEnded)] == ["completed"]

    run(story())


@pytest.mark.parametrize(
    ("status", "kind", "message"),
    [
        ("completed", "not_possible", "no turn is running"),
        ("inProgress", "tool_failed", "Codex says: no active turn to interrupt"),
    ],
)
def test_a_turn_that_ends_as_it_is_interrupted(tmp_path: Path, status: str, kind: str, message: str) -> None:
    """Codex refuses; if the turn is over, that is no failure of Codex: there is nothing to interrupt."""

    def refuses(connection: FakeConnection, sent: Json) -> None:
        if sent.get("method") == "turn/interrupt":
            error = {"code": -32600, "message": "no active turn to interrupt"}
            connection.say({"id": sent["id"], "error": error})
        elif sent.get("method") == "thread/turns/list":
            connection.say({"id": sent["id"], "result": {"data": [{"id": "t1", "status": status}]}})
        else:
            well(connection, sent)

    async def story() -> None:
        session = Session(tmp_path, FakeServer(FakeConnection(refuses)))
        await session.until(lambda: session.of(TurnStarted))
        reply = await session.driver.act(wire.Interrupt(TARGET))
        assert isinstance(reply, wire.Refused)
        assert (reply.kind, reply.message) == (kind, message)
        await session.end()

    run(story())


@pytest.mark.parametrize("silent", [True, False])
def test_a_session_that_may_have_begun_is_not_asked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, silent: bool
) -> None:
    """No answer to thread/start: nobody can tell whether there is a thread now, so no second one is made."""
    monkeypatch.setattr(Client.call, "__kwdefaults__", {"timeout_s": 0.1})

    def behave(connection: FakeConnection, message: Json) -> None:
        if message.get("method") != "thread/start":
            well(connection, message)
        elif not silent:
            connection.lose()

    async def story() -> None:
        first, second = FakeConnection(behave), FakeConnection(well)
        session = Session(tmp_path, FakeServer(first, second))
        with pytest.raises(SpawnFailed, match="did not begin the session"):
            await asyncio.wait_for(session.outcome, WITHIN_S)
        assert first.methods().count("thread/start") == 1
        assert not second.sent

    run(story())


def test_a_closed_thread_ends_the_session(tmp_path: Path) -> None:
    """Whoever closed it."""

    async def story() -> None:
        connection = FakeConnection(well)
        session = Session(tmp_path, FakeServer(connection))
        await session.until(lambda: session.of(TurnStarted))
        connection.tell("thread/closed")
        assert await asyncio.wait_for(session.outcome, WITHIN_S) == Outcome(exit_code=0)

    run(story())


def test_a_silent_turn_is_told_and_not_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing comes of a turn: somebody is told, once, and it may go on."""
    monkeypatch.setattr(deadlines, "FIRST_PROGRESS_S", 0.05)

    async def story() -> None:
        connection = FakeConnection(well)
        session = Session(tmp_path, FakeServer(connection))
        await session.until(lambda: session.of(Failure))
        await asyncio.sleep(0.1)
        assert [failure.retrying for failure in session.of(Failure)] == [True]
        assert not session.of(TurnEnded)
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
        await session.until(lambda: session.of(TurnStarted))
        count(7)
        for number in (1, 2, 3):
            if number == 3:
                usage = {"total": {"inputTokens": 9, "outputTokens": 0, "totalTokens": 9}}
                connection.tell("thread/tokenUsage/updated", turnId="t3", tokenUsage=usage)
            connection.tell("turn/completed", turn={"id": f"t{number}", "status": "completed"})
            connection.tell("turn/started", turn={"id": f"t{number + 1}"})
        await session.until(lambda: len(session.of(TurnStarted)) == 4)
        assert [used.total.input for used in session.of(Used) if used.total] == [7, 9]
        await session.end()

    run(story())


def test_a_bad_line_is_an_event(tmp_path: Path) -> None:
    """It is told with its size, and what follows it is read."""

    async def story() -> None:
        connection = FakeConnection(well)
        session = Session(tmp_path, FakeServer(connection))
        await session.until(lambda: session.of(TurnStarted))
        connection.say(b"{nonsense")
        connection.tell("turn/completed", turn={"id": "t1", "status": "completed"})
        await session.until(lambda: session.of(TurnEnded))
        (bad,) = session.of(Failure)
        assert (bad.source, bad.dropped_bytes) == ("stream", 9)
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
        assert "--fork" in refused.value.hint
        assert "thread/resume" not in connection.methods()

    run(story())
