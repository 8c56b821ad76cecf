"""Sessions of ours in the real Codex's app-server, driven: with a daemon, and with a server of their own."""

import asyncio
import json
import os
import signal
from pathlib import Path

import msgspec
import pytest

from fleet_agent.control import wire
from fleet_agent.control.driver import Outcome, SpawnFailed
from fleet_agent.control.events import (
    ApprovalRequested,
    Asked,
    Failure,
    Prompted,
    Resolved,
    SessionStarted,
    TurnEnded,
    TurnStarted,
    Used,
)
from lab.codex import CodexHome
from lab.driven import TARGET, WITHIN_S, Running, done, refused, running, soon
from lab.mock_responses import MockResponses

pytestmark = pytest.mark.codex


def test_a_session_from_start_to_stop(daemon_home: CodexHome) -> None:
    """A turn to its end, a further one, steering, an approval, a question, an interruption: all told, once."""

    async def story() -> tuple[Running, Outcome]:
        async with running(daemon_home, "SAY one") as ours:
            await ours.until(TurnEnded)
            assert await ours.send("ESC touch asked ;; SAY two") == "as a new turn"
            await ours.until(ApprovalRequested)
            (waits,) = ours.driver.pending()
            assert isinstance(waits.request, ApprovalRequested)
            assert waits.request.command == "/bin/bash -lc 'touch asked'"
            assert waits.cwd == str(daemon_home.project)
            assert await ours.send("SAY steered") == "into the running turn"
            done(await ours.driver.act(wire.Decide(TARGET, "accept", by="me")))
            assert refused(await ours.driver.act(wire.Decide(TARGET, "accept"))) == "already_resolved"
            await ours.until(TurnEnded, 2)
            await ours.send("ASK which ;; SAY answered")
            question = await ours.until(Asked)
            assert refused(await ours.driver.act(wire.Answer(TARGET, {"no": ("x",)}))) == "bad_request"
            done(await ours.driver.act(wire.Answer(TARGET, {question.questions[0].id: ("Beta",)})))
            await ours.until(TurnEnded, 3)
            await ours.send("HOLD interrupted SAY never")
            await ours.until(TurnStarted, 4)
            done(await ours.driver.act(wire.Interrupt(TARGET)))
            await ours.until(TurnEnded, 4)
            assert refused(await ours.driver.act(wire.Interrupt(TARGET))) == "not_possible"
            await ours.driver.stop(2.0)
            return ours, await ours.outcome

    ours, outcome = asyncio.run(story())
    assert outcome == Outcome(exit_code=0)
    assert ours.said() == ["one", "steered", "answered"]
    assert [turn.end for turn in ours.of(TurnEnded)] == ["completed", "completed", "completed", "aborted"]
    assert [event.text for event in ours.of(Prompted)][:3] == [
        "SAY one",
        "ESC touch asked ;; SAY two",
        "SAY steered",
    ]
    assert Resolved("0", "accept", "me") in ours.events or ours.of(Resolved)[0].by == "me"
    totals = [used.total.total for used in ours.of(Used) if used.total]
    assert totals == sorted(totals)
    assert totals[0] > 0
    assert (daemon_home.project / "asked").exists()
    assert not [failure for failure in ours.of(Failure) if failure.source != "warning"]


def test_a_resumed_session_does_not_tell_its_past(daemon_home: CodexHome) -> None:
    """History that is replayed is told to nobody, and ends no turn."""

    async def story() -> tuple[str, Running]:
        async with running(daemon_home, "SAY past") as first:
            await first.until(TurnEnded)
            session_id = first.of(SessionStarted)[0].session_id
        async with running(daemon_home, "SAY present", resume=session_id) as second:
            await second.until(TurnEnded)
        return session_id, second

    session_id, second = asyncio.run(story())
    assert second.of(SessionStarted)[0].session_id == session_id
    assert second.said() == ["present"]
    assert len(second.of(TurnStarted)) == len(second.of(TurnEnded)) == 1


def test_a_fork_goes_on_with_a_copy(daemon_home: CodexHome, mock_api: MockResponses) -> None:
    """The copy knows what was said and has an id of its own; the session it is of, still open, is as it was."""

    async def story() -> tuple[Running, Running]:
        async with running(daemon_home, "SAY original") as first:
            await first.until(TurnEnded)
            async with running(daemon_home, "SAY copied", fork=first.of(SessionStarted)[0].session_id) as copy:
                await copy.until(TurnEnded)
            await first.send("SAY untouched")
            await first.until(TurnEnded, 2)
        return first, copy

    first, copy = asyncio.run(story())
    assert first.of(SessionStarted)[0].session_id != copy.of(SessionStarted)[0].session_id
    assert (first.said(), copy.said()) == (["original", "untouched"], ["copied"])
    asked = [json.dumps(request.body) for request in mock_api.requests]
    assert any("SAY original" in body and "SAY copied" in body for body in asked)
    assert not any("SAY untouched" in body and "SAY copied" in body for body in asked)


@pytest.mark.parametrize("failure", ["429", "500", "QUOTA", "DISCONNECT"])
def test_a_turn_that_fails(daemon_home: CodexHome, failure: str) -> None:
    """Each failure of the model API ends the turn as failed, with Codex's words, and the session lives on."""

    async def story() -> Running:
        async with running(daemon_home, f"FAIL {failure}") as ours:
            await ours.until(TurnEnded)
            await ours.send("SAY again")
            await ours.until(TurnEnded, 2)
        return ours

    ours = asyncio.run(story())
    ended = ours.of(TurnEnded)
    assert [turn.end for turn in ended] == ["failed", "completed"]
    assert ended[0].message
    assert [error.retrying for error in ours.of(Failure)][-1] is False


def test_the_daemon_is_killed_in_mid_turn(daemon_home: CodexHome) -> None:
    """The turn is told to have ended, nothing is told twice, the session goes on in a new daemon."""

    async def story() -> Running:
        async with running(daemon_home, "HOLD killed SAY never") as ours:
            await ours.until(Prompted)
            attached = ours.driver._attached
            assert attached
            assert attached.client
            pid = attached.client.connection.server_pid
            assert pid
            os.kill(pid, signal.SIGKILL)
            await ours.until(TurnEnded)
            await soon(lambda: attached.client, "it is connected again")
            await ours.send("SAY back")
            await ours.until(TurnEnded, 2)
        return ours

    ours = asyncio.run(story())
    assert [turn.end for turn in ours.of(TurnEnded)] in (["aborted", "completed"], ["failed", "completed"])
    assert "ended in mid-turn" in (ours.of(TurnEnded)[0].message or "")
    assert [error.retrying for error in ours.of(Failure) if error.source == "tool"] == [True]
    assert ours.said() == ["back"]
    assert len(ours.of(Prompted)) == len(ours.of(TurnStarted)) == 2


def test_the_policy_answers_what_it_allows_and_is_audited(daemon_home: CodexHome) -> None:
    """A command that the policy allows runs without a person, and is written down; another one waits."""
    policy = Path(daemon_home.env["HOME"]) / ".config/fleet-agent/policy.json"
    policy.parent.mkdir(parents=True)
    rule = {"command": ["touch", "allowed"], "cwd": str(daemon_home.project), "escalated": True}
    policy.write_bytes(msgspec.json.encode({"allow": [rule]}))

    async def story() -> Running:
        async with running(daemon_home, "ESC touch allowed ;; ESC touch other ;; SAY on") as ours:
            await ours.until(ApprovalRequested, 2)
            assert len(ours.driver.pending()) == 1
            done(await ours.driver.act(wire.Decide(TARGET, "decline", by="me")))
            await ours.until(TurnEnded)
        return ours

    try:
        ours = asyncio.run(story())
    finally:
        policy.unlink()
    assert [(event.by, event.decision) for event in ours.of(Resolved)] == [
        ("policy", "accept"),
        ("me", "decline"),
    ]
    assert (daemon_home.project / "allowed").exists()
    assert not (daemon_home.project / "other").exists()
    lines = [msgspec.json.decode(line) for line in _audit(ours.state)]
    assert [(line["by"], line["decision"], line["outcome"]) for line in lines] == [
        ("policy", "accept", "begun"),
        ("policy", "accept", "done"),
    ]


def _audit(state: Path) -> list[bytes]:
    return [line for path in sorted(state.glob("audit.ndjson*")) for line in path.read_bytes().splitlines()]


@pytest.mark.old_codex
@pytest.mark.parametrize("version", ["0.145.0", "0.155.0"])
def test_a_release_without_a_daemon(mock_api: MockResponses, version: str) -> None:
    """It has an app-server of its own: driven alike, told when it is killed in mid-turn, and ended with it."""

    async def story(home: CodexHome) -> tuple[Running, Running, Outcome]:
        async with running(home, "ESC touch no ;; SAY one") as first:
            await first.until(ApprovalRequested)
            done(await first.driver.act(wire.Decide(TARGET, "decline")))
            await first.until(TurnEnded)
            await first.send("HOLD old SAY never")
            await first.until(TurnStarted, 2)
            await first.driver.stop(4.0)
            await first.outcome
        forked = first.of(SessionStarted)[0].session_id
        async with running(home, "HOLD old SAY never", fork=forked) as second:
            await second.until(Prompted)
            os.killpg(second.spawned[0].pid, signal.SIGKILL)
            outcome = await asyncio.wait_for(asyncio.shield(second.outcome), WITHIN_S)
        return first, second, outcome

    with CodexHome(mock_api.url, approval="on-request", sandbox="read-only", version=version) as home:
        first, second, outcome = asyncio.run(story(home))
        assert not (home.project / "no").exists()
    assert first.said() == ["one"]
    assert second.of(SessionStarted)[0].session_id != first.of(SessionStarted)[0].session_id
    assert [turn.end for turn in first.of(TurnEnded)] == ["completed", "aborted"]
    assert [turn.end for turn in second.of(TurnEnded)] == ["failed"]
    assert outcome == Outcome(signal=signal.SIGKILL)
    assert not any(process.lives() for process in first.spawned + second.spawned)


def test_what_cannot_be_begun_is_refused_in_codex_s_words(daemon_home: CodexHome) -> None:
    """A session that is not there cannot be resumed: nothing is started in its place."""

    async def story() -> None:
        async with running(daemon_home, "SAY x", resume="01a1fbf9-219d-79d3-a5bb-b436bb856aec") as ours:
            with pytest.raises(SpawnFailed, match="01a1fbf9"):
                await ours.outcome
            assert not ours.events

    asyncio.run(story())
