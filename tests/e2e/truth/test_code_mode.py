"""The truth table: code mode, in which a call is a script, and its commands are written down when done."""

import signal
from collections.abc import Callable, Iterator

import pytest

from lab import walks
from lab.mock_responses import MockResponses
from lab.stage import UNTOLD_S, Stage, Truth, stage

pytestmark = pytest.mark.codex

Start = Callable[[Stage, str], Truth]
SURFACE = "TUI, code mode"
RUNS_AND_ASKS = """\
tools.exec_command({cmd: "sleep 4041"}); \
await tools.exec_command({cmd: "sleep 4042", sandbox_permissions: "require_escalated", justification: "x"})"""
SLEEP = "await new Promise(go => setTimeout(go, 600000))"


@pytest.fixture(scope="module")
def ours(mock_api: MockResponses) -> Iterator[Stage]:
    """A home in which Codex asks before it leaves the sandbox, with a model that works in code mode."""
    options = {"model": "gpt-6.1-sol", "approval": "on-request", "sandbox": "read-only"}
    with stage(mock_api, **options) as ours:
        yield ours


def test_a_session_that_asks(ours: Stage, truth_of: Start) -> None:
    """Approvals and a question from within a script, and of a subagent; a script that asks nothing."""
    truth = truth_of(ours, SURFACE)
    tui, thread = ours.tui()
    walks.ask(ours, truth, tui, thread, UNTOLD_S)
    walks.spawn(ours, truth, tui, thread, "code-child", UNTOLD_S)
    tui.type(f"JS {RUNS_AND_ASKS}")
    tui.wait_for(walks.CONFIRM)
    tool = ours.tool("sleep 4041")
    truth("approval beside a tool of the same script", "waiting/approval", thread, settle_s=UNTOLD_S)
    tui.press("Escape")
    walks.ended(tui, walks.INTERRUPTED)
    tool.signal(signal.SIGKILL)
    tui.type(f"JS {SLEEP}")
    tui.wait_for(walks.BUSY)
    truth("a script that waits, and might ask", "working/tool", thread, settle_s=UNTOLD_S)


def test_a_session_at_work(ours: Stage, truth_of: Start) -> None:
    """Thinking, a script that runs a command, a script that only waits."""
    truth = truth_of(ours, SURFACE)
    tui, thread = ours.tui("--yolo")
    walks.think(ours, truth, tui, thread, "code")
    tui.type("TOOL sleep 4040 ;; SAY ran")
    tool = ours.tool("sleep 4040")
    truth("tool", "working/tool", thread)
    tool.signal(signal.SIGKILL)
    walks.ended(tui, "• ran")
    tui.type(f"JS {SLEEP}")
    tui.wait_for(walks.BUSY)
    truth("a script that waits", "working/tool", thread, settle_s=UNTOLD_S)
