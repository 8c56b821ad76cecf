"""parse/claude: `claude -p --output-format stream-json` of real releases -> session events."""

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
from fleet_agent.control.parse.claude import ClaudeStream
from fleet_agent.wire import Tokens


@pytest.mark.parametrize(
    ("release", "model"), [("2.1.197", "claude-opus-4-8[1m]"), ("2.1.329", "claude-opus-5-5")]
)
def test_a_turn_with_tools(release: str, model: str) -> None:
    """Session, commands with their exit codes, files written, and the end."""
    found = events(ClaudeStream().feed, f"claude_tools_{release}")
    (session,) = only(SessionStarted, found)
    assert (session.model, session.version) == (model, release)
    assert [tool.name for tool in only(ToolStarted, found)][:3] == ["Bash", "Write", "Edit"]
    bash = [tool for tool in only(ToolEnded, found) if tool.name == "Bash"]
    assert [(tool.command, tool.exit_code, tool.ok) for tool in bash] == [
        ("echo hi", 0, True),
        ("exit 3", 3, False),
    ]
    assert [files.changes for files in only(FilesChanged, found)] == [
        (FileChange("a.txt", "add"),),
        (FileChange("a.txt", "update"),),
    ]
    assert only(Message, found)[-1].text == "done"
    assert found[-1] == TurnEnded("completed")
    assert {tool.call_id for tool in only(ToolStarted, found)} == {
        tool.call_id for tool in only(ToolEnded, found)
    }
    assert not only(Unknown, found)
    assert not only(Failure, found)


def test_a_plan_counts_once_it_was_taken() -> None:
    """Releases without TodoWrite refuse the call: then there is no plan."""
    assert only(PlanUpdated, events(ClaudeStream().feed, "claude_tools_2.1.329")) == []
    todos = [{"content": "look", "status": "completed"}, {"content": "do", "status": "in_progress"}]
    call = {"type": "tool_use", "id": "c", "name": "TodoWrite", "input": {"todos": todos}}
    answer = {"type": "tool_result", "tool_use_id": "c", "content": "ok"}
    parser = ClaudeStream()
    parser.feed(said(type="assistant", message={"content": [call]}))
    found = parser.feed(said(type="user", message={"content": [answer]}))
    assert found[-1] == PlanUpdated((Step("look", "completed"), Step("do", "in_progress")))


def test_usage_counts_cached_input_within_the_input_and_subagents_too() -> None:
    """Of all models of the process so far, with what it costs."""
    (used,) = only(Used, events(ClaudeStream().feed, "claude_retry_2.1.329"))
    assert used == Used(Tokens(12606, 10091, 12, 0, 12618), None, 1000000, 0.0148302)
    both = only(Used, events(ClaudeStream().feed, "claude_replay_2.1.329"))
    totals = [used.total.total for used in both if used.total]
    assert totals == sorted(totals)
    assert len(totals) == 2


def test_what_subagents_say_stays_with_them() -> None:
    """Only their call and its result are of this session; a turn that waited for one ends once."""
    found = events(ClaudeStream().feed, "claude_agent_2.1.329")
    assert [tool.name for tool in only(ToolStarted, found)] == ["Agent"]
    assert [message.text for message in only(Message, found)] == ["done", "all done"]
    assert len(only(TurnStarted, found)) == len(only(TurnEnded, found)) == 1


def test_pieces_of_a_text_come_before_it_with_its_id() -> None:
    """With --include-partial-messages: deltas, then the whole."""
    found = events(ClaudeStream().feed, "claude_partial_2.1.329")
    pieces, whole = ([m for m in only(Message, found) if m.delta is delta] for delta in (True, False))
    assert [(m.text, m.item_id) for m in pieces] == [(m.text, m.item_id) for m in whole]
    assert [thought.delta for thought in only(Reasoning, found)] == [True, False]


def test_a_retry_is_no_failure() -> None:
    """The turn goes on."""
    found = events(ClaudeStream().feed, "claude_retry_2.1.329")
    assert only(Failure, found) == [Failure("overloaded 529: attempt 1 of 10", retrying=True)]
    assert found[-1] == TurnEnded("completed")


def test_an_api_error_is_an_error_and_not_something_the_assistant_said() -> None:
    """claude words it as a message, and its result as a success."""
    found = events(ClaudeStream().feed, "claude_error_2.1.329")
    assert only(Message, found) == []
    assert only(Failure, found) == [Failure("API Error: 400 mock 400")]
    assert found[-1] == TurnEnded("failed", message="API Error: 400 mock 400")


def test_an_interrupted_turn_is_aborted() -> None:
    """SIGINT in a tool call."""
    found = events(ClaudeStream().feed, "claude_sigint_2.1.329")
    assert [tool.ok for tool in only(ToolEnded, found)] == [False]
    assert found[-1] == TurnEnded("aborted")


def test_each_prompt_is_a_turn_of_one_session() -> None:
    """With --input-format stream-json: `system/init` comes again, the session does not."""
    found = events(ClaudeStream().feed, "claude_replay_2.1.329")
    assert len(only(SessionStarted, found)) == 1
    assert [prompt.text for prompt in only(Prompted, found)] == ["SAY one", "RUN echo two ;; SAY two"]
    assert [end.end for end in only(TurnEnded, found)] == ["completed", "completed"]


def test_a_compaction_is_told_and_its_summary_is_no_prompt() -> None:
    """What claude says to itself is nobody's word."""
    found = events(ClaudeStream().feed, "claude_compact_2.1.329")
    assert [event.what for event in only(Unknown, found)] == ["compact_boundary"]
    assert only(Prompted, found) == []


def test_a_refused_tool_call_has_the_reason_as_its_output() -> None:
    """Without a person, what needs approval is refused, and the turn goes on."""
    found = events(ClaudeStream().feed, "claude_denied_2.1.329")
    (tool,) = only(ToolEnded, found)
    assert (tool.ok, tool.exit_code) == (False, None)
    assert "needs approval" in (tool.output or "")


def test_a_run_that_cannot_start_says_why() -> None:
    """A result that is an error, and no turn was begun: the reason is not lost."""
    line = said(
        type="result", subtype="error_during_execution", is_error=True, errors=["No conversation found"]
    )
    assert ClaudeStream().feed(line) == [Failure("No conversation found")]


def test_half_an_emoji_does_not_lose_the_line() -> None:
    r"""JavaScript cuts texts within a pair of surrogates: the rest is read, and the wire can carry it."""
    text = rb'{"type":"text","text":"a\ud83d \ud83d\ude00 \\ud83d"}'
    line = rb'{"type":"assistant","message":{"id":"m","content":[%b]}}' % text
    assert ClaudeStream().feed(line) == [Message("a\ufffd \U0001f600 \\ud83d", "m")]
