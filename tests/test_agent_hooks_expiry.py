"""fleet_agent.tools.codex.hooks.expiry and events: what a hook said, and whether it still holds."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from fleet_agent.evidence import Call, Evidence, Turn
from fleet_agent.status import APPROVAL_GRACE_S, judge
from fleet_agent.tools.codex.hooks import entries
from fleet_agent.tools.codex.hooks.events import Event, HookEvents, asked
from fleet_agent.tools.codex.hooks.expiry import RESPONSE_END_S, Asked, with_asked

ASKED = Asked("approval", 100.0, "t")
PATCH = Call("c", "apply_patch", "patch", 99.0, process="no")


def evidence(*calls: Call, now: float = 40_000.0, **fields: Any) -> Evidence:
    """A live session in an open turn that has waited for half a day."""
    base: dict[str, Any] = {"turn": Turn("open", "t", 90.0), "writer_at": 50.0, "active_at": 99.5} | fields
    return Evidence(now=now, live=True, calls=calls or (PATCH,), **base)


def told(e: Evidence, said: Asked = ASKED) -> tuple[str, str | None, str | None, str, float | None]:
    v = judge(with_asked(e, said))
    return v.state, v.detail, v.evidence, v.confidence, v.since_at


def test_an_approval_may_wait_for_half_a_day() -> None:
    """No age ends it; it is said since when, and about which call."""
    assert told(evidence()) == ("waiting", "approval", "hook", "strong", 100.0)
    assert judge(with_asked(evidence(), ASKED)).call == PATCH


def test_without_it_the_same_is_a_guess() -> None:
    """What the hook is worth: a patch that is open and has no process is weak evidence."""
    verdict = judge(evidence())
    assert (verdict.state, verdict.evidence, verdict.confidence) == ("waiting", "pending_call", "weak")


def call(kind: str, process: str = "no", at: float = 99.0) -> Call:
    return Call("d", "a_tool", kind, at, process=process)


@pytest.mark.parametrize(
    ("what", "contradicted"),
    [
        ("its turn is over", evidence(turn=Turn("complete", "t", 90.0, 101.0))),
        ("it was another turn's", evidence(turn=Turn("open", "u", 90.0))),
        ("a later turn, of a release without ids", evidence(turn=Turn("open", None, 101.0))),
        ("its process is gone", evidence(writer_at=101.0, turn=Turn("open", "t", None))),
        ("a call got its output since", evidence(resumed_at=101.0)),
        ("the call began later", evidence(call("shell", at=101.0))),
        ("it runs", evidence(call("shell", "yes"))),
        ("one beside it runs", evidence(PATCH, call("shell", "yes"))),
        ("no call is open but a wait for subagents", evidence(call("wait"))),
        ("a command of its script has left a line", evidence(call("script"), active_at=105.0)),
        ("a program answers", evidence(reviewer="auto_review")),
        ("it has only just come", evidence(now=100.0 + APPROVAL_GRACE_S - 0.1)),
        ("the clock was set back", evidence(now=20.0)),
    ],
)
def test_what_ends_it(what: str, contradicted: Evidence) -> None:
    """Whatever contradicts it: then the state is what it would be without the hook."""
    assert with_asked(contradicted, ASKED) == contradicted, what


def test_it_is_nothing_for_a_dead_session_or_an_unread_one() -> None:
    """No process holds it, or no turn is known."""
    for e in (Evidence(now=1e9, live=False, turn=Turn("open", "t")), Evidence(now=1e9, live=True)):
        assert with_asked(e, ASKED) == e


@pytest.mark.parametrize(
    ("open_call", "confidence"),
    [
        (call("shell"), "strong"),
        (call("script"), "strong"),
        (call("other"), "strong"),
        (call("shell", "maybe"), "weak"),
        (call("opaque", "maybe"), "weak"),
    ],
)
def test_it_is_weak_where_an_answer_would_not_show(open_call: Call, confidence: str) -> None:
    """Once it is allowed, a command is seen to run; an MCP server's work, or another user's process, is not."""
    assert told(evidence(open_call))[:4] == ("waiting", "approval", "hook", confidence)


def test_a_line_that_was_written_since_makes_it_weak() -> None:
    """It may be what the approved call left behind. (Until then, it is the end of the model's response.)"""
    assert told(evidence(active_at=100.0 + RESPONSE_END_S))[3] == "strong"
    assert told(evidence(active_at=105.0))[2:4] == ("hook", "weak")


def test_a_question() -> None:
    """It holds while a call that asks is open, whatever else is written."""
    question = Asked("question", 100.0, "t")
    assert told(evidence(call("question")), question) == ("waiting", "question", "hook", "strong", 100.0)
    assert told(evidence(call("question"), active_at=105.0), question)[2:4] == ("hook", "strong")
    assert with_asked(evidence(), question).hooked is None


def test_the_daemons_word_comes_first() -> None:
    """It knows when an approval was given."""
    assert told(evidence(told="active"))[:4] == ("working", "tool", "app_server", "fact")


def test_a_turn_that_was_not_read_whole_makes_it_weak() -> None:
    """The output of the call may be in the part that was passed over."""
    assert told(evidence(gapless=False))[2:4] == ("hook", "weak")


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (Event("PermissionRequest", 1.0, "Bash", "t"), Asked("approval", 1.0, "t")),
        (Event("PreToolUse", 1.0, "request_user_input"), Asked("question", 1.0)),
        (Event("PreToolUse", 1.0, "Bash"), None),
        (Event("Stop", 1.0), None),
    ],
)
def test_what_an_event_means(event: Event, expected: Asked | None) -> None:
    """Only two events ask a person."""
    assert asked(event) == expected


def write_hooks(home: Path, directory: Path) -> None:
    line = entries.command("python", f"/x/{entries.RECORDER}", str(directory))
    (home / "hooks.json").write_text(json.dumps(entries.with_ours({}, line)))


def test_events_are_found_by_the_entry_in_hooks_json(tmp_path: Path) -> None:
    """Where the hook writes is where it is read, whatever the agent's environment is; a change is noticed."""
    first, second, events = tmp_path / "a", tmp_path / "b", HookEvents()
    for directory, at in ((first, 1.0), (second, 2.0)):
        directory.mkdir()
        (directory / "01a1.json").write_text(json.dumps({"event": "PermissionRequest", "at": at}))
    assert events.asked(str(tmp_path), "01a1") is None
    for directory, at in ((first, 1.0), (second, 2.0)):
        write_hooks(tmp_path, directory)
        events.begin()
        assert events.asked(str(tmp_path), "01a1") == Asked("approval", at)
    assert events.asked(str(tmp_path), "01a2") is None
    (tmp_path / "hooks.json").unlink()
    events.begin()
    assert events.asked(str(tmp_path), "01a1") is None


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"[" * 4000, b"\xff", b'{"event": 1, "at": 1}', b'{"event": "Stop"}']
)
def test_a_file_of_any_content_can_be_read(data: bytes, tmp_path: Path) -> None:
    """An event that cannot be understood is none."""
    write_hooks(tmp_path, tmp_path)
    (tmp_path / "01a1.json").write_bytes(data)
    assert HookEvents().asked(str(tmp_path), "01a1") is None


def test_a_fifo_does_not_hang_it(tmp_path: Path) -> None:
    """Neither as an event nor as hooks.json."""
    write_hooks(tmp_path, tmp_path)
    os.mkfifo(tmp_path / "01a1.json")
    assert HookEvents().asked(str(tmp_path), "01a1") is None
    (tmp_path / "hooks.json").unlink()
    os.mkfifo(tmp_path / "hooks.json")
    assert HookEvents().asked(str(tmp_path), "01a1") is None
