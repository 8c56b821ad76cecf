"""fleet_agent.control.parse.transcript: what Claude Code 2.0.76 to 2.1.329 has written down."""

import pytest

from control_samples import events, only, said
from fleet_agent.control.events import (
    Event,
    Failure,
    Message,
    PlanUpdated,
    Prompted,
    SessionStarted,
    ToolEnded,
    ToolStarted,
    TurnEnded,
    TurnStarted,
    Unknown,
    Used,
)
from fleet_agent.control.parse.transcript import Transcript

SAMPLES = (
    "transcript_2.0.76",
    "transcript_interrupted_2.1.197",
    "transcript_errors_2.1.197",
    "transcript_2.1.329",
)


def sample(name: str) -> list[Event]:
    return events(Transcript().feed, name)


@pytest.mark.parametrize("name", SAMPLES)
def test_every_release(name: str) -> None:
    """A session first, with its version; each result behind its call; nothing unknown."""
    found = sample(name)
    assert isinstance(found[0], SessionStarted)
    assert name.endswith(f"_{found[0].version}")
    assert len(only(SessionStarted, found)) == 1
    assert only(Unknown, found) == []
    calls = {call.call_id: call.command for call in only(ToolStarted, found)}
    assert {end.call_id: end.command for end in only(ToolEnded, found)} == calls


def test_a_conversation() -> None:
    """What was asked and answered, what was run and how it ended, turn by turn, with the tokens of each."""
    found = sample("transcript_2.1.329")[:11]
    kinds = (SessionStarted, TurnStarted, Prompted, Message, Used, TurnEnded)
    assert [type(event) for event in found[:6]] == list(kinds)
    (command,) = only(ToolEnded, found)
    assert (command.name, command.command, command.exit_code, command.ok) == ("Bash", "touch x1", 0, True)
    last = only(Used, found)[0].last
    assert last is not None
    assert (last.total, last.cached_input) == (last.input + last.output, 11316)


def test_how_turns_end() -> None:
    """By themselves, by a person, by an error with its words."""
    assert [turn.end for turn in only(TurnEnded, sample("transcript_interrupted_2.1.197"))] == [
        "completed",
        "completed",
        "aborted",
        "aborted",
    ]
    found = sample("transcript_errors_2.1.197")
    assert [turn.end for turn in only(TurnEnded, found)] == ["failed", "failed", "completed", "failed"]
    words = [failure.message for failure in only(Failure, found)]
    assert [turn.message for turn in only(TurnEnded, found) if turn.end == "failed"] == words
    assert "529" in words[0]


def test_a_plan() -> None:
    """TodoWrite, until 2.1."""
    (plan,) = only(PlanUpdated, sample("transcript_2.0.76"))
    assert [step.status for step in plan.steps] == ["completed", "in_progress", "pending"]


def test_what_no_person_said() -> None:
    """Commands and their output, summaries, news from the background and subagents are passed over."""
    transcript = Transcript()
    for text in ("<command-name>/clear</command-name>", "<local-command-stdout>x", "<task-notification>x"):
        assert transcript.feed(said(type="user", message={"content": text})) == []
    for mark in ("isMeta", "isCompactSummary", "isSidechain"):
        assert transcript.feed(said(type="user", message={"content": "x"}, **{mark: True})) == []
    queued = said(type="attachment", attachment={"type": "queued_command", "prompt": "and this"})
    assert transcript.feed(queued) == [Prompted("and this")]
    tagged = transcript.feed(said(type="user", message={"content": "<div> is not closed"}))
    assert tagged == [TurnStarted(), Prompted("<div> is not closed")]


def test_the_end_of_a_print_run() -> None:
    """A `claude -p` says nothing of its end but by its last line."""
    transcript = Transcript()
    transcript.feed(said(type="user", message={"content": "hi"}, promptId="p"))
    answer = {"content": [{"type": "text", "text": "hello"}], "stop_reason": "end_turn"}
    assert transcript.feed(said(type="assistant", message=answer)) == [Message("hello")]
    assert transcript.feed(said(type="last-prompt", lastPrompt="hi")) == [TurnEnded("completed", "p")]
    assert transcript.feed(said(type="last-prompt", lastPrompt="hi")) == []
