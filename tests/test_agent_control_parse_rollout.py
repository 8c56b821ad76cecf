"""fleet_agent.control.parse.rollout and calls: what releases 0.21 to 0.169 have written down."""

from pathlib import Path

import pytest

from control_samples import only, said
from fleet_agent.control.events import (
    Event,
    Failure,
    FileChange,
    FilesChanged,
    Message,
    PlanUpdated,
    Prompted,
    Reasoning,
    SessionStarted,
    ToolEnded,
    ToolStarted,
    TurnEnded,
    TurnStarted,
    Unknown,
    Used,
)
from fleet_agent.control.parse.rollout import RolloutLines

ROLLOUTS = sorted((Path(__file__).parent / "data/codex").glob("*.jsonl"))
WITH_TOOLS = [path for path in ROLLOUTS if path.stem.endswith("_tools")]


def read(path: Path) -> list[Event]:
    rollout = RolloutLines()
    return [event for line in path.read_bytes().splitlines() for event in rollout.feed(line)]


def sample(name: str) -> list[Event]:
    return read(Path(__file__).parent / f"data/codex/{name}.jsonl")


@pytest.mark.parametrize("path", ROLLOUTS, ids=lambda path: path.stem)
def test_every_release(path: Path) -> None:
    """A session first, each result behind its call, each turn ended once; nothing unknown or unreadable."""
    events = read(path)
    assert isinstance(events[0], SessionStarted)
    assert len(only(SessionStarted, events)) == 1
    assert only(Unknown, events) == [] == only(Failure, events)
    begun: set[str] = set()
    for event in events:
        begun |= {event.call_id} if isinstance(event, ToolStarted) else set()
        assert not isinstance(event, ToolEnded) or event.call_id in begun
    ended = [event.turn_id for event in only(TurnEnded, events)]
    assert len(ended) == len(set(ended))


@pytest.mark.parametrize("path", WITH_TOOLS, ids=lambda path: path.stem)
def test_one_session_in_every_format(path: Path) -> None:
    """The same prompt to each release: it thinks, speaks, runs a command, and tells of it the same way."""
    events = read(path)
    assert only(Prompted, events)[0].text.startswith("REASON think NOTE looking TOOL echo hi")
    assert only(Reasoning, events)[0].text == "**Thinking**\n\nthink"
    assert only(Message, events)[0].text == "looking"
    assert "echo hi" in (only(ToolStarted, events)[0].command or "")
    first = only(ToolEnded, events)[0]
    assert (first.output, first.exit_code, first.ok) == ("hi\n", 0, True)
    release = tuple(map(int, path.stem.split("_")[1].split(".")[:2]))
    assert (only(Used, events) == []) == (release < (0, 36))
    assert (only(TurnStarted, events) == []) == (release < (0, 101))
    assert [turn.end for turn in only(TurnEnded, events)][:1] == ["completed"] * (release >= (0, 101))


def test_plans_patches_and_tools_of_servers() -> None:
    """A plan, the files of a patch, before and after, and an MCP server's tool by its name there."""
    (plan, *_) = only(PlanUpdated, sample("old_0.138.0_tools"))
    assert [step.status for step in plan.steps] == ["completed", "in_progress", "pending"]
    proposed, done = only(FilesChanged, sample("appserver_approval_patch"))
    assert (proposed.changes, proposed.ok) == ((FileChange("as_patch.txt", "add"),), None)
    assert (done.changes[0].path.endswith("/as_patch.txt"), done.ok) == (True, True)
    (called,) = only(ToolEnded, sample("exec_mcp"))
    assert (called.name, called.output, called.ok) == ("mcp__mini.echo", 'echo:{"text": "hey"}', True)


def test_what_a_script_runs_is_told() -> None:
    """In code mode the history has a script; the commands that it ran have their own start and end."""
    script, command = only(ToolStarted, sample("exec_sol_slowtool"))
    assert (script.name, command.name) == ("exec", "exec_command")
    assert "grep CODEX" in (command.command or "")
    assert command.cwd == "/home/dev/labs/ws"


def test_what_runs_in_the_background_ends_when_it_ends() -> None:
    """Not when its call returns, which says only that it runs."""
    background, other = only(ToolStarted, sample("exec_bgtool"))
    ended = only(ToolEnded, sample("exec_bgtool"))
    assert [end.call_id for end in ended] == [other.call_id, background.call_id]
    assert (ended[1].exit_code, ended[1].ok) == (-1, False)


def test_turns_that_failed_or_were_ended() -> None:
    """Why a turn failed is in its end; an interrupted one is aborted."""
    (failed,) = only(TurnEnded, sample("exec_fail429"))
    assert (failed.end, "429" in (failed.message or "")) == ("failed", True)
    (aborted,) = only(TurnEnded, sample("exec_sigint_midturn"))
    assert (aborted.end, aborted.message) == ("aborted", "interrupted")


def test_a_subagent_tells_only_of_itself() -> None:
    """Its file begins with a copy of its parent's history."""
    events = sample("exec_spawn_v2.child1")
    assert [message.text for message in only(Message, events)] == ["child answer"]
    assert only(Prompted, events) == []


def test_a_declined_command_has_no_exit_code() -> None:
    """It is told that it did not go well, and what was said of it."""
    rollout = RolloutLines()
    call = {"type": "function_call", "name": "exec_command", "call_id": "c", "arguments": '{"cmd":"rm x"}'}
    refused = 'exec_command failed: CreateProcess { message: "Rejected(\\"rejected by user\\")" }'
    output = {"type": "function_call_output", "call_id": "c", "output": refused}
    assert rollout.feed(said(type="response_item", payload=call, ordinal=1)) == [
        ToolStarted("c", "exec_command", "rm x")
    ]
    (ended,) = rollout.feed(said(type="response_item", payload=output, ordinal=2))
    assert isinstance(ended, ToolEnded)
    assert (ended.exit_code, ended.ok, ended.output) == (None, False, refused)
    assert rollout.feed(said(type="response_item", payload=output, ordinal=3)) == []


def test_begun_in_the_middle() -> None:
    """With what the start tells, and no more of it: results without their calls are passed over."""
    first, *_, end = (Path(__file__).parent / "data/codex/exec_tool.jsonl").read_bytes().splitlines()
    rollout = RolloutLines()
    assert [type(event) for event in rollout.begin(first)] == [SessionStarted]
    assert rollout.begin(b"no JSON") == []
    assert [type(event) for event in rollout.feed(end)] == [TurnEnded]
    assert rollout.at is not None
    (bad,) = rollout.feed(b'{"type":')
    assert isinstance(bad, Failure)
    assert bad.source == "stream"
