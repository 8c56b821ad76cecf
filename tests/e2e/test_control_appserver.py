"""Sessions in the real Codex's app-server, driven: ours and its terminal UI's, with and without a daemon."""

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest

from fleet_agent.control import wire
from fleet_agent.control.appserver import foreign
from fleet_agent.control.appserver.driver import AppServerDriver, driver
from fleet_agent.control.audit import Audit
from fleet_agent.control.driver import Outcome, SpawnFailed
from fleet_agent.control.groups import Started
from lab.codex import CodexHome
from lab.mock_responses import MockResponses
from lab.tmux import Tmux

pytestmark = pytest.mark.codex

WITHIN_S = 40.0
CONFIG = """
[features]
default_mode_request_user_input = true

[agents]
max_depth = 3
"""
TARGET = wire.Target(name="ours")
E = TypeVar("E", bound=wire.Event)
T = TypeVar("T")


@pytest.fixture(scope="module")
def home(mock_api: MockResponses) -> Iterator[CodexHome]:
    """A home with a daemon, in which Codex asks before it leaves the sandbox."""
    with CodexHome(mock_api.url, approval="on-request", sandbox="read-only", config=CONFIG) as home:
        start = [str(home.codex), "app-server", "daemon", "start"]  # its first start copies 440 MB
        null = subprocess.DEVNULL
        subprocess.run(start, env=home.env, check=True, timeout=120, stdin=null, stdout=null, stderr=null)
        yield home


class Running:
    """A session of ours, and all that it said."""

    def __init__(self, home: CodexHome, prompt: str | None, **options: Any) -> None:
        self.events: list[wire.Event] = []
        self.spawned: list[Started] = []
        self.state = home.root / "state"
        start = wire.Start(prompt=prompt, mode="app-server", name="ours", cwd=str(home.project), **options)
        env, marks = home.env, {"FLEET_RUN_ID": "e2e"}
        audit = Audit(str(self.state), {})
        self.driver: AppServerDriver = driver(
            start, str(home.codex), home.version, env, marks, audit, self.spawned.append
        )
        self.outcome = asyncio.ensure_future(self.driver.run(self.events.append, lambda _: None))

    async def until(self, kind: type[E], count: int = 1) -> E:
        """The nth event of a kind, as soon as it is there."""
        return (await soon(lambda: self.of(kind)[count - 1 :], f"{kind.__name__} number {count}"))[0]

    def of(self, kind: type[E]) -> list[E]:
        return [event for event in self.events if isinstance(event, kind)]

    def said(self) -> list[str]:
        return [message.text for message in self.of(wire.Message) if not message.delta]

    async def send(self, text: str) -> str:
        return done(await self.driver.act(wire.Send(TARGET, text)))


@contextlib.asynccontextmanager
async def running(home: CodexHome, prompt: str | None, **options: Any) -> AsyncIterator[Running]:
    """One that is stopped afterwards."""
    ours = Running(home, prompt, **options)
    try:
        yield ours
    finally:
        await ours.driver.stop(4.0)
        with contextlib.suppress(SpawnFailed):
            await asyncio.wait_for(ours.outcome, WITHIN_S)


async def soon(look: Callable[[], T], what: str) -> T:
    """What is found, as soon as it is something."""
    for _ in range(int(WITHIN_S / 0.02)):
        if found := look():
            return found
        await asyncio.sleep(0.02)
    pytest.fail(f"it did not come about: {what}")


async def pending(home: CodexHome) -> wire.Pending:
    """The one request that is open in the home, as soon as there is one."""
    for _ in range(int(WITHIN_S / 0.05)):
        found, problems = await foreign.pending([str(home.home)])
        assert not problems
        if found:
            (one,) = found
            return one
        await asyncio.sleep(0.05)
    pytest.fail("nothing waits for a person")


async def until_idle(home: CodexHome, thread_id: str) -> None:
    for _ in range(int(WITHIN_S / 0.05)):
        reply = await foreign.act(str(home.home), thread_id, wire.Interrupt(wire.Target(id=thread_id)))
        if isinstance(reply, wire.Refused):
            assert reply.kind == "not_possible", reply
            return
    pytest.fail("its turn does not end")


def done(reply: wire.Done | wire.Refused) -> str:
    assert isinstance(reply, wire.Done), reply
    return reply.message


def refused(reply: wire.Done | wire.Refused) -> str:
    assert isinstance(reply, wire.Refused), reply
    return reply.kind


async def threads(home: CodexHome) -> set[str]:
    async with foreign._client(str(home.home)) as client:
        return set(await foreign._loaded(client)) if client else set()


async def new_tui(home: CodexHome) -> tuple[Tmux, str]:
    """A terminal UI in the daemon, and its thread."""
    before = home.threads()
    tui = await asyncio.to_thread(home.tui, daemon=True)
    (thread,) = await soon(lambda: home.threads() - before, "its thread")
    return tui, thread


def test_a_session_from_start_to_stop(home: CodexHome) -> None:
    """A turn to its end, a further one, steering, an approval, a question, an interruption: all told, once."""

    async def story() -> tuple[Running, Outcome]:
        async with running(home, "SAY one") as ours:
            await ours.until(wire.TurnEnded)
            assert await ours.send("ESC touch asked ;; SAY two") == "as a new turn"
            await ours.until(wire.ApprovalRequested)
            (waits,) = ours.driver.pending()
            assert isinstance(waits.request, wire.ApprovalRequested)
            assert waits.request.command == "/bin/bash -lc 'touch asked'"
            assert waits.cwd == str(home.project)
            assert await ours.send("SAY steered") == "into the running turn"
            done(await ours.driver.act(wire.Decide(TARGET, "accept", by="me")))
            assert refused(await ours.driver.act(wire.Decide(TARGET, "accept"))) == "already_resolved"
            await ours.until(wire.TurnEnded, 2)
            await ours.send("ASK which ;; SAY answered")
            question = await ours.until(wire.Asked)
            assert refused(await ours.driver.act(wire.Answer(TARGET, {"no": ("x",)}))) == "bad_request"
            done(await ours.driver.act(wire.Answer(TARGET, {question.questions[0].id: ("Beta",)})))
            await ours.until(wire.TurnEnded, 3)
            await ours.send("HOLD interrupted SAY never")
            await ours.until(wire.TurnStarted, 4)
            done(await ours.driver.act(wire.Interrupt(TARGET)))
            await ours.until(wire.TurnEnded, 4)
            assert refused(await ours.driver.act(wire.Interrupt(TARGET))) == "not_possible"
            await ours.driver.stop(2.0)
            return ours, await ours.outcome

    ours, outcome = asyncio.run(story())
    assert outcome == Outcome(exit_code=0)
    assert ours.said() == ["one", "steered", "answered"]
    assert [turn.end for turn in ours.of(wire.TurnEnded)] == ["completed", "completed", "completed", "aborted"]
    assert [event.text for event in ours.of(wire.Prompted)][:3] == [
        "SAY one",
        "ESC touch asked ;; SAY two",
        "SAY steered",
    ]
    assert wire.Resolved("0", "accept", "me") in ours.events or ours.of(wire.Resolved)[0].by == "me"
    totals = [used.total.total for used in ours.of(wire.Used) if used.total]
    assert totals == sorted(totals)
    assert totals[0] > 0
    assert (home.project / "asked").exists()
    assert not [failure for failure in ours.of(wire.Failure) if failure.source != "warning"]


def test_a_resumed_session_does_not_tell_its_past(home: CodexHome) -> None:
    """History that is replayed is told to nobody, and ends no turn."""

    async def story() -> tuple[str, Running]:
        async with running(home, "SAY past") as first:
            await first.until(wire.TurnEnded)
            session_id = first.of(wire.SessionStarted)[0].session_id
        async with running(home, "SAY present", resume=session_id) as second:
            await second.until(wire.TurnEnded)
        return session_id, second

    session_id, second = asyncio.run(story())
    assert second.of(wire.SessionStarted)[0].session_id == session_id
    assert second.said() == ["present"]
    assert len(second.of(wire.TurnStarted)) == len(second.of(wire.TurnEnded)) == 1


@pytest.mark.parametrize("failure", ["429", "500", "QUOTA", "DISCONNECT"])
def test_a_turn_that_fails(home: CodexHome, failure: str) -> None:
    """Each failure of the model API ends the turn as failed, with Codex's words, and the session lives on."""

    async def story() -> Running:
        async with running(home, f"FAIL {failure}") as ours:
            await ours.until(wire.TurnEnded)
            await ours.send("SAY again")
            await ours.until(wire.TurnEnded, 2)
        return ours

    ours = asyncio.run(story())
    ended = ours.of(wire.TurnEnded)
    assert [turn.end for turn in ended] == ["failed", "completed"]
    assert ended[0].message
    assert [error.retrying for error in ours.of(wire.Failure)][-1] is False


def test_the_daemon_is_killed_in_mid_turn(home: CodexHome) -> None:
    """The turn is told to have ended, nothing is told twice, the session goes on in a new daemon."""

    async def story() -> Running:
        async with running(home, "HOLD killed SAY never") as ours:
            await ours.until(wire.Prompted)
            attached = ours.driver._attached
            assert attached
            assert attached.client
            pid = attached.client.connection.server_pid
            assert pid
            os.kill(pid, signal.SIGKILL)
            await ours.until(wire.TurnEnded)
            await soon(lambda: attached.client, "it is connected again")
            await ours.send("SAY back")
            await ours.until(wire.TurnEnded, 2)
        return ours

    ours = asyncio.run(story())
    assert [turn.end for turn in ours.of(wire.TurnEnded)] in (["aborted", "completed"], ["failed", "completed"])
    assert "ended in mid-turn" in (ours.of(wire.TurnEnded)[0].message or "")
    assert [error.retrying for error in ours.of(wire.Failure) if error.source == "tool"] == [True]
    assert ours.said() == ["back"]
    assert len(ours.of(wire.Prompted)) == len(ours.of(wire.TurnStarted)) == 2


def test_a_terminal_s_approval_is_answered_from_elsewhere(home: CodexHome) -> None:
    """Approved, then denied, by another client: the terminal UI goes on. Of two answers, one counts."""

    async def story() -> None:
        tui, thread = await new_tui(home)
        at, target = str(home.home), wire.Target(id=thread)
        tui.type("ESC touch approved ;; SAY went-on")
        waits = await pending(home)
        assert isinstance(waits.request, wire.ApprovalRequested)
        assert (waits.session_id, waits.request.command) == (thread, "/bin/bash -lc 'touch approved'")
        gone = wire.Target(id=thread, pids=(1,))
        assert refused(await foreign.act(at, thread, wire.Decide(gone, "accept"))) == "stale"
        both = await asyncio.gather(
            *(
                foreign.act(at, thread, wire.Decide(target, "accept", waits.request.request_id))
                for _ in range(2)
            )
        )
        assert any(isinstance(reply, wire.Done) for reply in both)
        late = await foreign.act(at, thread, wire.Decide(target, "decline", waits.request.request_id))
        assert refused(late) == "already_resolved"
        await asyncio.to_thread(tui.wait_for, "• went-on")
        assert (home.project / "approved").exists()

        tui.type("ESC touch denied ;; SAY without-it")
        await pending(home)
        done(await foreign.act(at, thread, wire.Decide(target, "decline")))
        await asyncio.to_thread(tui.wait_for, "• without-it")
        assert not (home.project / "denied").exists()

        done(await foreign.act(at, thread, wire.Send(target, "ASK which ;; SAY thanks")))
        asked = await pending(home)
        assert isinstance(asked.request, wire.Asked)
        done(await foreign.act(at, thread, wire.Answer(target, {asked.request.questions[0].id: ("Beta",)})))
        await asyncio.to_thread(tui.wait_for, "• thanks")
        tui.close()

    asyncio.run(story())


def test_a_session_of_others_is_followed_steered_and_interrupted(home: CodexHome) -> None:
    """Everything that a terminal UI shows of the turn can be followed, and what is sent appears there."""

    async def story() -> list[wire.Event]:
        tui, thread = await new_tui(home)
        at, target = str(home.home), wire.Target(id=thread)
        events: list[wire.Event] = []
        following = asyncio.ensure_future(foreign.follow(at, thread, events.append))
        assert done(await foreign.act(at, thread, wire.Send(target, "SAY first"))) == "as a new turn"
        await asyncio.to_thread(tui.wait_for, "• first")
        await until_idle(home, thread)
        done(await foreign.act(at, thread, wire.Send(target, "HOLD steered SAY never")))
        await asyncio.to_thread(tui.wait_for, "esc to interrupt")
        assert done(await foreign.act(at, thread, wire.Send(target, "SAY steered"))) == "into the running turn"
        done(await foreign.act(at, thread, wire.Interrupt(target)))
        await soon(
            lambda: [e for e in events if isinstance(e, wire.TurnEnded) and e.end == "aborted"], "its end"
        )
        following.cancel()
        tui.close()
        return events

    events = asyncio.run(story())
    assert "HOLD steered SAY never" in [event.text for event in events if isinstance(event, wire.Prompted)]


def test_a_subagent_is_never_sent_to_but_its_approval_is_answered(home: CodexHome) -> None:
    """Input would end its terminal; what it asks must still be answered, here by whoever runs its parent."""

    async def story() -> Running:
        async with running(home, "SPAWN {ESC touch child ;; SAY child} ;; WAITAGENT ;; SAY parent") as ours:
            await ours.until(wire.ApprovalRequested)
            (waits,) = ours.driver.pending()
            child = waits.session_id
            assert child != ours.of(wire.SessionStarted)[0].session_id
            sent = await foreign.act(str(home.home), child, wire.Send(wire.Target(id=child), "hello"))
            assert isinstance(sent, wire.Refused)
            assert sent.kind == "not_possible"
            assert f"codex fork {child}" in sent.hint
            done(await ours.driver.act(wire.Decide(TARGET, "accept")))
            await ours.until(wire.TurnEnded)
        return ours

    ours = asyncio.run(story())
    assert ours.said()[-1] == "parent"
    assert (home.project / "child").exists()
    assert len(ours.of(wire.TurnEnded)) == 1


def test_of_several_requests_the_one_that_is_meant_is_answered(home: CodexHome) -> None:
    """Commands that are asked about at once are told apart; an answer to "the" request is refused."""

    async def story() -> None:
        async with running(home, "ESC touch yes ESC touch never ;; SAY both") as ours:
            await ours.until(wire.ApprovalRequested, 2)
            session_id = ours.of(wire.SessionStarted)[0].session_id
            at, target = str(home.home), wire.Target(id=session_id)
            found, _ = await foreign.pending([at])
            commands = {
                one.request.command: one.request.request_id
                for one in found
                if isinstance(one.request, wire.ApprovalRequested)
            }
            assert set(commands) == {"/bin/bash -lc 'touch never'", "/bin/bash -lc 'touch yes'"}
            assert refused(await foreign.act(at, session_id, wire.Decide(target, "accept"))) == "ambiguous"
            for command, request_id in commands.items():
                decision = "accept" if command and "yes" in command else "decline"
                done(await foreign.act(at, session_id, wire.Decide(target, decision, request_id)))
            await ours.until(wire.TurnEnded)
            resolved = ours.of(wire.Resolved)
            assert [event.by for event in resolved] == [None, None]  # elsewhere: nobody says who
            late = await ours.driver.act(wire.Decide(TARGET, "accept", resolved[0].request_id))
            assert refused(late) == "already_resolved"

    asyncio.run(story())
    assert (home.project / "yes").exists()
    assert not (home.project / "never").exists()


def test_a_patch_is_approved_by_who_sees_what_it_changes(home: CodexHome) -> None:
    """Whoever joins late is told which files a pending patch touches; declined, they are not touched."""

    async def story() -> None:
        async with running(home, "PATCH patched.txt ;; SAY without") as ours:
            told = await ours.until(wire.ApprovalRequested)
            waits = await pending(home)
            assert isinstance(waits.request, wire.ApprovalRequested)
            (change,) = waits.request.changes
            assert (change.path, change.kind) == (str(home.project / "patched.txt"), "add")
            assert told.changes == waits.request.changes
            target = wire.Target(id=waits.session_id)
            done(await foreign.act(str(home.home), waits.session_id, wire.Decide(target, "decline")))
            await ours.until(wire.TurnEnded)

    asyncio.run(story())
    assert not (home.project / "patched.txt").exists()


def test_the_policy_answers_what_it_allows_and_is_audited(home: CodexHome) -> None:
    """A command that the policy allows runs without a person, and is written down; another one waits."""
    policy = Path(home.env["HOME"]) / ".config/fleet-agent/policy.json"
    policy.parent.mkdir(parents=True)
    rule = {"command": ["touch", "allowed"], "cwd": str(home.project), "escalated": True}
    policy.write_bytes(msgspec.json.encode({"allow": [rule]}))

    async def story() -> Running:
        async with running(home, "ESC touch allowed ;; ESC touch other ;; SAY on") as ours:
            await ours.until(wire.ApprovalRequested, 2)
            assert len(ours.driver.pending()) == 1
            done(await ours.driver.act(wire.Decide(TARGET, "decline", by="me")))
            await ours.until(wire.TurnEnded)
        return ours

    try:
        ours = asyncio.run(story())
    finally:
        policy.unlink()
    assert [(event.by, event.decision) for event in ours.of(wire.Resolved)] == [
        ("policy", "accept"),
        ("me", "decline"),
    ]
    assert (home.project / "allowed").exists()
    assert not (home.project / "other").exists()
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
            await first.until(wire.ApprovalRequested)
            done(await first.driver.act(wire.Decide(TARGET, "decline")))
            await first.until(wire.TurnEnded)
            await first.send("HOLD old SAY never")
            await first.until(wire.TurnStarted, 2)
            await first.driver.stop(4.0)
            await first.outcome
        async with running(home, "HOLD old SAY never") as second:
            await second.until(wire.Prompted)
            os.killpg(second.spawned[0].pid, signal.SIGKILL)
            outcome = await asyncio.wait_for(asyncio.shield(second.outcome), WITHIN_S)
        return first, second, outcome

    with CodexHome(mock_api.url, approval="on-request", sandbox="read-only", version=version) as home:
        first, second, outcome = asyncio.run(story(home))
        assert not (home.project / "no").exists()
    assert first.said() == ["one"]
    assert [turn.end for turn in first.of(wire.TurnEnded)] == ["completed", "aborted"]
    assert [turn.end for turn in second.of(wire.TurnEnded)] == ["failed"]
    assert outcome == Outcome(signal=signal.SIGKILL)
    assert not any(process.lives() for process in first.spawned + second.spawned)


def test_what_cannot_be_begun_is_refused_in_codex_s_words(home: CodexHome) -> None:
    """A session that is not there cannot be resumed: nothing is started in its place."""

    async def story() -> None:
        async with running(home, "SAY x", resume="01a1fbf9-219d-79d3-a5bb-b436bb856aec") as ours:
            with pytest.raises(SpawnFailed, match="01a1fbf9"):
                await ours.outcome
            assert not ours.events

    asyncio.run(story())
