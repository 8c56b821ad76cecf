"""The truth table: terminal UIs whose sessions run in Codex's shared background server."""

import time
from collections.abc import Callable, Iterator

import pytest

from lab import procs, walks
from lab.mock_responses import MockResponses
from lab.stage import SETTLE_S, Stage, Truth, stage

pytestmark = pytest.mark.codex

Start = Callable[[Stage, str], Truth]
SURFACE = "TUI, daemon"
FINISH_S = 2.0  # for a turn that no screen shows to end, once the model has answered


@pytest.fixture(scope="module")
def ours(mock_api: MockResponses) -> Iterator[Stage]:
    """A home in which Codex asks before it leaves the sandbox."""
    with stage(mock_api, approval="on-request", sandbox="read-only") as ours:
        yield ours


def test_a_session_at_work(ours: Stage, truth_of: Start) -> None:
    """Fresh, thinking, steered, interrupted, tools, compacting; at work on after its terminal was closed."""
    truth = truth_of(ours, SURFACE)
    tui, thread = ours.tui("--yolo", daemon=True)
    truth("fresh", "idle/new", thread)
    walks.think(ours, truth, tui, thread, "daemon")
    walks.run_tools(ours, truth, tui, thread)
    walks.run_user_command(ours, truth, tui, thread)
    walks.compact(ours, truth, tui, thread)
    tui.type("TOOL sleep 4004 ;; HOLD detached SAY done")
    tool = ours.tool("sleep 4004")
    terminal = procs.process(tui.pid())
    tui.close()
    procs.wait_gone([terminal], timeout_s=5)
    truth("terminal closed in a tool", "working/tool", thread)
    tool.signal(9)
    ours.held("detached")
    truth("terminal closed, thinking", "working/thinking", thread)
    ours.api.release("detached")
    time.sleep(FINISH_S)
    truth("terminal closed, turn done", "idle/turn_done", thread)


def test_a_session_that_asks(ours: Stage, truth_of: Start) -> None:
    """Approvals and questions, of its subagent too; a request that is tried again."""
    truth = truth_of(ours, SURFACE)
    tui, thread = ours.tui(daemon=True)
    walks.ask(ours, truth, tui, thread, SETTLE_S)
    walks.ask_at_once(ours, truth, tui, thread, SETTLE_S)
    walks.retry(ours, truth, tui, thread, "daemon-retry")
    walks.spawn(ours, truth, tui, thread, "daemon-child", SETTLE_S)


def test_turns_that_fail(ours: Stage, truth_of: Start) -> None:
    """Each failure of the model API, and what Codex does when the model's context is full."""
    truth = truth_of(ours, SURFACE)
    tui, thread = ours.tui("--yolo", daemon=True)
    walks.fail(truth, tui, thread)
    walks.overflow(ours, truth, tui, thread)


def test_the_daemon_is_killed(ours: Stage, truth_of: Start) -> None:
    """All its sessions go with it: one in mid-turn crashed."""
    tui, thread = ours.tui("--yolo", daemon=True)
    tui.type("HOLD daemon-killed SAY never")
    ours.held("daemon-killed")
    daemon = [p for p in procs.carrying(CODEX_HOME=str(ours.home.home)) if "--managed-daemon" in p.describe()]
    procs.end(daemon)
    truth_of(ours, SURFACE)("killed in mid-turn", "ended/crashed", thread)
