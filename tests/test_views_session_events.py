"""fleet.views.session_events, runs, pending, columns: what a person reads of sessions driven from here."""

import pytest

from fleet.views.cells import width
from fleet.views.controlled import pending_entry, run_entry
from fleet.views.lines import Line, plain
from fleet.views.pending import pending_lines
from fleet.views.runs import runs_table
from fleet.views.session_events import event_lines
from fleet_agent.control.events import (
    ApprovalRequested,
    Asked,
    Ended,
    Event,
    Failure,
    FileChange,
    FilesChanged,
    Message,
    PlanUpdated,
    Prompted,
    Question,
    Reasoning,
    Resolved,
    SessionStarted,
    Step,
    ToolEnded,
    ToolStarted,
    TurnEnded,
    TurnStarted,
    Unknown,
    Used,
)
from fleet_agent.control.wire import Pending, Run, Said
from fleet_agent.wire import Tokens


def shown(event: Event, cells: int | None = None) -> str:
    """The lines of an event, without the time."""
    return "\n".join(plain(line)[10:] for line in event_lines(Said(event, 1.0), cells))


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (SessionStarted("i", "gpt", "0.169"), "session i  (gpt 0.169)"),
        (TurnStarted(), "turn started"),
        (TurnEnded("failed", message="no quota"), "turn failed: no quota"),
        (Message("a\n\tb"), "a\n    b"),
        (Message("piece", delta=True), ""),
        (Reasoning("hm"), "~ hm"),
        (Prompted("fix it"), "> fix it"),
        (ToolStarted("c", "exec", "ls -la", "/w"), "$ ls -la  (in /w)"),
        (ToolStarted("c", "mcp__x.echo"), "* mcp__x.echo"),
        (
            ToolEnded("c", exit_code=1, output="1\n2\n3\n4\n5\n", duration_ms=1500),
            "= exit 1 in 1.5 s\n1\n2\n3\n... 2 more lines",
        ),
        (ToolEnded("c", ok=False), "= failed"),
        (FilesChanged((FileChange("/a", "add"),), ok=True), "patched: add /a"),
        (PlanUpdated((Step("one", "completed"), Step("two", "in_progress"))), "plan:\n[x] one\n[>] two"),
        (Used(Tokens(total=12_345)), "12.3k tokens so far"),
        (Used(), ""),
        (
            ApprovalRequested("r1", "command", command="rm x", cwd="/w", reason="old"),
            "APPROVE? [r1] rm x  (in /w)\nwhy: old",
        ),
        (Asked("q1", (Question("c", "Which?", ("a", "b")),)), "QUESTION [q1] c: Which?  [a | b]"),
        (Resolved("r1", "accept", "me@here"), "request r1: accept by me@here"),
        (Failure("429", retrying=True), "error: 429 (it tries again)"),
        (Ended(exit_code=0), "ended: exit 0"),
        (Ended(signal=9), "ended: killed by signal 9"),
        (Unknown("dreamt"), "(dreamt)"),
    ],
)  # fmt: skip
def test_each_event_in_words(event: Event, text: str) -> None:
    """What happened, whole where a person must judge it."""
    assert shown(event) == text


def test_no_line_is_wider_than_the_terminal() -> None:
    """Long texts are wrapped below their time, wide characters too; nothing of a command is cut."""
    command = "echo " + "日本語 x" * 40
    lines = event_lines(Said(ApprovalRequested("r", "command", command=command), 1.0), 80)
    assert all(width(plain(line)) <= 80 for line in lines)
    together = "".join(plain(line).strip() for line in lines).replace(" ", "")
    assert command.replace(" ", "") in together


RUNNING = Run(
    "calm-otter", "codex", "exec", "running", 40.0, id="01a1fbf3-x", pid=7, out_bytes=1234, prompt="fix\nit"
)
KILLED = Run("apt-ant", "claude", "tmux", "exited", 30.0, signal=15)


def text(lines: list[Line]) -> list[str]:
    return [plain(line) for line in lines]


def test_the_table_of_runs() -> None:
    """Numbered; what is not known is a dash; how it ended; the prompt on one line."""
    entries = [run_entry("h", run, 100.0) for run in (RUNNING, KILLED)]
    assert [" ".join(line.split()) for line in text(runs_table(entries, None))] == [
        "# HOST NAME ID TOOL MODE STATE PID OUT ERR AGE PROMPT",
        "1 h calm-otter 01a1fbf3 codex exec running 7 1.2k 0 1m fix it",
        "2 h apt-ant - claude tmux killed TERM - 0 0 1m -",
    ]
    assert all(width(line) <= 60 for line in text(runs_table(entries, 60)))


def test_the_entries_say_what_is_not_known() -> None:
    """null, never 0 or an empty text; the key is by name while there is no id."""
    entry = run_entry("h", KILLED, None)
    assert (entry.key, entry.id, entry.pid, entry.age_s, entry.prompt) == ("h:apt-ant", None, None, None, None)
    asked = pending_entry("h", Pending("i", "codex", Asked("q", (Question("c", "Which?"),))), None)
    assert (asked.kind, asked.command, asked.decisions, asked.age_s) == ("question", None, (), None)
    assert [q.id for q in asked.questions] == ["c"]


def test_what_is_open_is_shown_whole() -> None:
    """Command, files, directory and reason: all that a person decides by."""
    request = ApprovalRequested(
        "r", "patch", command="a\nb", cwd="/w", reason="why not", changes=(FileChange("/x", "delete"),)
    )
    entry = pending_entry("h", Pending("i", "codex", request, since_at=40.0, name="a-b", title="t"), 100.0)
    assert text(pending_lines([entry], 80)) == [
        "  1  h:i (a-b)  patch  1m  t",
        "     $ a",
        "     $ b",
        "     delete /x",
        "     in /w",
        "     why: why not",
    ]
