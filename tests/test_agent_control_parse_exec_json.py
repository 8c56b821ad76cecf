"""parse/exec_json: `codex exec --json` of real releases -> session events."""

import pytest

from control_samples import events, only, said
from fleet_agent.control.events import (
    Failure,
    FileChange,
    FilesChanged,
    Message,
    PlanUpdated,
    Prompted,
    Reasoning,
    SessionStarted,
    Step,
    ToolEnded,
    ToolStarted,
    TurnEnded,
    TurnStarted,
    Unknown,
    Used,
)
from fleet_agent.control.parse.exec_json import ExecJson
from fleet_agent.wire import Tokens

EVERY = ("exec_0.58.0", "exec_0.169.0", "exec_0.36.0", "exec_0.21.0")


@pytest.mark.parametrize("sample", EVERY)
def test_what_happens_in_a_turn_is_told_alike_by_every_release(sample: str) -> None:
    """Both dialects: thinking, text, a command with its output and exit code, and usage."""
    found = events(ExecJson().feed, sample)
    assert len(only(TurnStarted, found)) == 1
    assert [event.text for event in only(Reasoning, found)] == ["**Thinking**\n\nthink"]
    assert only(Message, found)[0].text == "looking"
    started, ended = only(ToolStarted, found)[0], only(ToolEnded, found)[0]
    assert started.name == ended.name == "exec_command"
    assert started.call_id == ended.call_id != ""
    assert (started.command or "").endswith("bash -lc 'echo hi'")
    assert (ended.output, ended.exit_code, ended.ok) == ("hi\n", 0, True)
    assert only(Used, found) != []
    assert not only(Failure, found)
    assert not only(Unknown, found)


def test_a_whole_run_of_today() -> None:
    """Session, turn, items and the end of the turn, in the order in which they happened."""
    found = events(ExecJson().feed, "exec_reason_note_tool_0.169.0")
    kinds = [SessionStarted, TurnStarted, Reasoning, Message, ToolStarted, ToolEnded, Message, Used, TurnEnded]
    assert [type(event) for event in found] == kinds
    assert found[0] == SessionStarted("01a1fbf3-d6f4-7f30-8b61-b9026fac2dda")
    assert found[-2] == Used(Tokens(19849, 9924, 100, 20, 19949))
    assert found[-1] == TurnEnded("completed")


def test_usage_is_the_threads_total_and_cached_input_a_part_of_it() -> None:
    """What exec prints at a turn's end grows over a resume, so it is told as the total, never as the turn's."""
    (used,) = only(Used, events(ExecJson().feed, "exec_0.58.0"))
    assert used.last is None
    assert used.total == Tokens(33564, 16781, 200, 0, 33764)


def test_the_older_dialect_tells_total_and_last() -> None:
    """0.36 has both; 0.21 had the last response's alone."""
    last = only(Used, events(ExecJson().feed, "exec_0.36.0"))[-1]
    assert last == Used(Tokens(30577, 15288, 200, 40, 30777), Tokens(7816, 3908, 50, 10, 7866), 272000)
    assert [used.total for used in only(Used, events(ExecJson().feed, "exec_0.21.0"))] == [None, None]


def test_a_patch_is_proposed_and_then_done() -> None:
    """Its files are named both times, also where the end of it says only that it went well."""
    for sample, path in (("exec_0.36.0", "a.txt"), ("exec_0.169.0", "a.txt")):
        found = only(FilesChanged, events(ExecJson().feed, sample))
        assert [change.ok for change in found] == [None, True]
        assert {change.changes for change in found} == {(FileChange(f"/home/dev/project/{path}", "add"),)}


def test_a_plan_is_told_when_it_changes() -> None:
    """exec says the same list at the start, at each update and at the end of its item."""
    (plan,) = only(PlanUpdated, events(ExecJson().feed, "exec_plan_0.169.0"))
    assert plan.steps == (Step("look", "completed"), Step("do", "pending"), Step("check", "pending"))
    (older,) = only(PlanUpdated, events(ExecJson().feed, "exec_0.36.0"))
    assert [step.status for step in older.steps] == ["completed", "in_progress", "pending"]


def test_an_mcp_tool_and_a_subagent_are_tool_calls() -> None:
    """Named as codex names them to the model; the result's text is the output."""
    assert only(ToolEnded, events(ExecJson().feed, "exec_mcp_0.169.0")) == [
        ToolEnded("item_0", "mcp__mini.echo", output='echo:{"text": "hey"}', ok=True)
    ]
    assert [tool.name for tool in only(ToolStarted, events(ExecJson().feed, "exec_spawn_v2_0.169.0"))] == [
        "wait"
    ]


def test_a_command_that_fails_does_not_fail_the_turn() -> None:
    """Exit code 3, and the turn is completed."""
    found = events(ExecJson().feed, "exec_toolfail_0.169.0")
    assert [(tool.exit_code, tool.ok) for tool in only(ToolEnded, found)] == [(3, False)]
    assert found[-1] == TurnEnded("completed")


@pytest.mark.parametrize("sample", ["exec_fail500_0.169.0", "exec_fail400_0.36.0"])
def test_a_reconnect_is_no_failure_and_the_last_error_is(sample: str) -> None:
    """The error that is retried is marked so; then comes the final one, and the turn fails with its words."""
    found = events(ExecJson().feed, sample)
    first, second = only(Failure, found)
    assert (first.retrying, second.retrying) == (True, False)
    (ended,) = only(TurnEnded, found)
    assert (ended.end, ended.message) == ("failed", second.message)


def test_a_run_that_is_interrupted_tells_no_end() -> None:
    """SIGINT: exec prints nothing more. That the process ended is for its supervisor to say."""
    found = events(ExecJson().feed, "exec_sigint_midturn_0.169.0")
    assert only(TurnEnded, found) == []
    assert only(ToolStarted, found) != []


def test_a_warning_is_no_error_of_the_turn() -> None:
    """An item of type error, before the first turn: nothing failed."""
    item = {"id": "item_0", "type": "error", "message": "Model metadata not found."}
    parser = ExecJson()
    assert parser.feed(said(type="item.completed", item=item)) == [Failure(item["message"], source="warning")]
    assert parser.feed(said(type="turn.started")) == [TurnStarted()]


def test_the_aliases_of_releases_between_the_dialects() -> None:
    """`item_type`, `assistant_message` and `session.created` were said for a few releases."""
    parser = ExecJson()
    assert parser.feed(said(type="session.created", session_id="s")) == [SessionStarted("s")]
    for item in ({"item_type": "assistant_message"}, {"type": "assistant_message"}, {"type": "agent_message"}):
        assert parser.feed(said(type="item.completed", item={"id": "i", "text": "hi", **item})) == [
            Message("hi", "i")
        ]


def test_a_turns_end_is_told_once() -> None:
    """A failure after the end, or an end told twice, ends no turn again."""
    parser = ExecJson()
    parser.feed(said(type="turn.started"))
    assert parser.feed(said(type="turn.failed", error={"message": "m"})) == [TurnEnded("failed", message="m")]
    assert parser.feed(said(type="turn.failed", error="m")) == []


def test_the_prompt_of_the_older_dialect() -> None:
    """Its first two lines are settings, and the prompt."""
    assert only(Prompted, events(ExecJson().feed, "exec_fail400_0.36.0")) == [Prompted("FAIL 400")]


@pytest.mark.parametrize(
    "line", [b"Reading additional input from stdin...", b"[1]", b"{", b'{"a":"\xff"}', b"[" * 99999]
)
def test_a_bad_line_is_an_error_event(line: bytes) -> None:
    """It is shown, cut, and counted, and the next line is read."""
    parser = ExecJson()
    (failure,) = only(Failure, parser.feed(line))
    assert (failure.source, failure.dropped_bytes) == ("stream", len(line))
    assert len(failure.message) < 300
    assert parser.feed(said(type="turn.started")) == [TurnStarted()]


def test_what_has_no_word_is_named() -> None:
    """A type that is not known is passed on by its name, never dropped in silence."""
    assert ExecJson().feed(said(type="turn.teleported")) == [Unknown("turn.teleported")]
    assert ExecJson().feed(said(type="item.completed", item={"type": "hologram"})) == [Unknown("hologram")]
    assert ExecJson().feed(said(id="0", msg={"type": "sublimated"})) == [Unknown("sublimated")]
