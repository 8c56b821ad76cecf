"""Threads of the real Codex's daemon, driven by whoever finds them there: terminal UIs', runs', subagents'."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

import pytest

from fleet_agent.control import wire
from fleet_agent.control.appserver import foreign
from fleet_agent.control.appserver.attached import Attached, Shared
from fleet_agent.control.appserver.client import Client
from fleet_agent.control.appserver.connection import DaemonConnection
from fleet_agent.control.appserver.driver import AppServerDriver
from fleet_agent.control.appserver.shapes import Opened
from fleet_agent.control.appserver.thread import Thread
from fleet_agent.control.events import (
    ApprovalRequested,
    Asked,
    Event,
    Prompted,
    Resolved,
    SessionStarted,
    TurnEnded,
)
from lab.codex import CodexHome
from lab.driven import (
    TARGET,
    WITHIN_S,
    Running,
    act,
    done,
    new_tui,
    pending,
    refused,
    running,
    soon,
    until_idle,
)
from lab.mock_responses import MockResponses

pytestmark = pytest.mark.codex


def test_a_terminal_s_approval_is_answered_from_elsewhere(daemon_home: CodexHome) -> None:
    """Approved, then denied, by another client: the terminal UI goes on. Of two answers, one counts."""

    async def story() -> None:
        tui, thread = await new_tui(daemon_home)
        target = wire.Target(id=thread)
        tui.type("ESC touch approved ;; SAY went-on")
        waits = await pending(daemon_home)
        assert isinstance(waits.request, ApprovalRequested)
        assert (waits.session_id, waits.request.command) == (thread, "/bin/bash -lc 'touch approved'")
        gone = wire.Target(id=thread, pids=(1,))
        assert refused(await act(daemon_home, thread, wire.Decide(gone, "accept"))) == "stale"
        both = await asyncio.gather(
            *(
                act(daemon_home, thread, wire.Decide(target, "accept", waits.request.request_id))
                for _ in range(2)
            )
        )
        assert any(isinstance(reply, wire.Done) for reply in both)
        late = await act(daemon_home, thread, wire.Decide(target, "decline", waits.request.request_id))
        assert refused(late) == "already_resolved"
        await asyncio.to_thread(tui.wait_for, "• went-on")
        assert (daemon_home.project / "approved").exists()

        tui.type("ESC touch denied ;; SAY without-it")
        await pending(daemon_home)
        done(await act(daemon_home, thread, wire.Decide(target, "decline")))
        await asyncio.to_thread(tui.wait_for, "• without-it")
        assert not (daemon_home.project / "denied").exists()

        done(await act(daemon_home, thread, wire.Send(target, "ASK which ;; SAY thanks")))
        asked = await pending(daemon_home)
        assert isinstance(asked.request, Asked)
        done(await act(daemon_home, thread, wire.Answer(target, {asked.request.questions[0].id: ("Beta",)})))
        await asyncio.to_thread(tui.wait_for, "• thanks")
        tui.close()

    asyncio.run(story())


def test_a_session_of_others_is_followed_steered_and_interrupted(
    daemon_home: CodexHome, mock_api: MockResponses
) -> None:
    """Everything that a terminal UI shows of the turn can be followed, and what is sent appears there."""

    async def story() -> list[Event]:
        tui, thread = await new_tui(daemon_home)
        at, target = str(daemon_home.home), wire.Target(id=thread)
        events: list[Event] = []
        following = asyncio.ensure_future(foreign.follow(at, thread, events.append))
        assert done(await act(daemon_home, thread, wire.Send(target, "SAY first"))) == "as a new turn"
        await asyncio.to_thread(tui.wait_for, "• first")
        await until_idle(daemon_home, thread)
        done(await act(daemon_home, thread, wire.Send(target, "HOLD steered SAY never")))
        await asyncio.to_thread(tui.wait_for, "esc to interrupt")
        await soon(lambda: mock_api.holds("steered"), "the model holds steered")
        steered = await act(daemon_home, thread, wire.Send(target, "HOLD further SAY never"))
        assert done(steered) == "into the running turn"
        await soon(lambda: mock_api.holds("further"), "the model holds further")
        done(await act(daemon_home, thread, wire.Interrupt(target)))
        await soon(lambda: [e for e in events if isinstance(e, TurnEnded) and e.end == "aborted"], "its end")
        following.cancel()
        tui.close()
        return events

    events = asyncio.run(story())
    assert "HOLD steered SAY never" in [event.text for event in events if isinstance(event, Prompted)]


def test_a_subagent_is_never_sent_to_but_its_approval_is_answered(daemon_home: CodexHome) -> None:
    """Input would end its terminal; what it asks must still be answered, here by whoever runs its parent."""

    async def story() -> Running:
        async with running(
            daemon_home, "SPAWN {ESC touch child ;; SAY child} ;; WAITAGENT ;; SAY parent"
        ) as ours:
            await ours.until(ApprovalRequested)
            (waits,) = ours.driver.pending()
            child = waits.session_id
            assert child != ours.of(SessionStarted)[0].session_id
            sent = await act(daemon_home, child, wire.Send(wire.Target(id=child), "hello"))
            assert isinstance(sent, wire.Refused)
            assert sent.kind == "not_possible"
            assert f"fleet run --fork {child}" in sent.hint
            done(await ours.driver.act(wire.Decide(TARGET, "accept")))
            await ours.until(TurnEnded)
            async with running(daemon_home, "SAY copied", fork=child) as copy:
                await copy.until(TurnEnded)
                assert copy.said() == ["copied"]
        return ours

    ours = asyncio.run(story())
    assert ours.said()[-1] == "parent"
    assert (daemon_home.project / "child").exists()
    assert len(ours.of(TurnEnded)) == 1


def test_of_several_requests_the_one_that_is_meant_is_answered(daemon_home: CodexHome) -> None:
    """Commands that are asked about at once are told apart; an answer to "the" request is refused."""

    async def story() -> None:
        async with running(daemon_home, "ESC touch yes ESC touch never ;; SAY both") as ours:
            await ours.until(ApprovalRequested, 2)
            session_id = ours.of(SessionStarted)[0].session_id
            at, target = str(daemon_home.home), wire.Target(id=session_id)
            found, _ = await foreign.pending([at])
            commands = {
                one.request.command: one.request.request_id
                for one in found
                if isinstance(one.request, ApprovalRequested)
            }
            assert set(commands) == {"/bin/bash -lc 'touch never'", "/bin/bash -lc 'touch yes'"}
            assert refused(await act(daemon_home, session_id, wire.Decide(target, "accept"))) == "ambiguous"
            for command, request_id in commands.items():
                decision = "accept" if command and "yes" in command else "decline"
                done(await act(daemon_home, session_id, wire.Decide(target, decision, request_id)))
            await ours.until(TurnEnded)
            resolved = ours.of(Resolved)
            assert [event.by for event in resolved] == [None, None]  # elsewhere: nobody says who
            late = await ours.driver.act(wire.Decide(TARGET, "accept", resolved[0].request_id))
            assert refused(late) == "already_resolved"

    asyncio.run(story())
    assert (daemon_home.project / "yes").exists()
    assert not (daemon_home.project / "never").exists()


def test_a_patch_is_approved_by_who_sees_what_it_changes(daemon_home: CodexHome) -> None:
    """Whoever joins late is told which files a pending patch touches; declined, they are not touched."""

    async def story() -> None:
        async with running(daemon_home, "PATCH patched.txt ;; SAY without") as ours:
            told = await ours.until(ApprovalRequested)
            waits = await pending(daemon_home)
            assert isinstance(waits.request, ApprovalRequested)
            (change,) = waits.request.changes
            assert (change.path, change.kind) == (str(daemon_home.project / "patched.txt"), "add")
            assert told.changes == waits.request.changes
            target = wire.Target(id=waits.session_id)
            done(await act(daemon_home, waits.session_id, wire.Decide(target, "decline")))
            await ours.until(TurnEnded)

    asyncio.run(story())
    assert not (daemon_home.project / "patched.txt").exists()


def test_of_answers_at_the_same_moment_one_is_done(daemon_home: CodexHome) -> None:
    """Of clients that know nothing of each other one is told that it was done, and that is what happens.

    Codex says to each of them that the request is resolved, and to none whose answer it took.
    """
    rounds = [("accept", "decline", "accept"), ("decline", "accept", "decline"), ("accept",) * 3] * 4

    async def story() -> list[str]:
        asked = " ;; ".join(f"ESC touch at-once-{number}" for number in range(len(rounds)))
        async with running(daemon_home, f"{asked} ;; SAY over") as ours, contextlib.AsyncExitStack() as joining:
            await ours.until(ApprovalRequested)
            session_id = ours.of(SessionStarted)[0].session_id
            others = [await joining.enter_async_context(joined(daemon_home, session_id)) for _ in range(2)]
            counted = []
            for number, decisions in enumerate(rounds):
                request = await ours.until(ApprovalRequested, number + 1)
                for one in others:
                    await is_asked(one, request.request_id)
                counted.append(await decided(ours.driver, others, request.request_id, decisions))
            await ours.until(TurnEnded)
            return counted

    counted = asyncio.run(story())
    made = [(daemon_home.project / f"at-once-{number}").exists() for number in range(len(rounds))]
    assert made == [decision == "accept" for decision in counted]


@contextlib.asynccontextmanager
async def joined(home: CodexHome, session_id: str) -> AsyncIterator[Attached]:
    """One more client of the daemon, subscribed to that session."""
    connection = await DaemonConnection.open(str(home.home))
    assert connection
    shared = Shared(str(home.root / "state"), str(home.home))
    attached = Attached(Thread(session_id), lambda _: None, ours=False, shared=shared)
    attached.client = Client(connection, attached.take)
    await attached.client.greet()
    await attached.client.call("thread/resume", {"threadId": session_id, "excludeTurns": True}, Opened)
    yield attached
    await attached.client.close()


async def is_asked(one: Attached, request_id: str) -> None:
    """Wait until this client is asked, too."""
    assert await one.until(lambda: request_id in one.thread.open, WITHIN_S)


async def decided(
    ours: AppServerDriver, others: Sequence[Attached], request_id: str, decisions: Sequence[str]
) -> str:
    """Answer by all at once: which decision was done."""
    asked = [wire.Decide(TARGET, decision, request_id) for decision in decisions]
    acts = [*(other.act for other in others), ours.act]
    replies = await asyncio.gather(*(act(one) for act, one in zip(acts, asked, strict=True)))
    (counted,) = [
        decision for decision, reply in zip(decisions, replies, strict=True) if isinstance(reply, wire.Done)
    ]
    assert {refused(reply) for reply in replies if not isinstance(reply, wire.Done)} == {"already_resolved"}
    return counted
