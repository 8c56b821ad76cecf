"""The truth table: a terminal UI that runs its session itself (`codex --no-daemon`)."""

import signal
from collections.abc import Callable, Iterator

import pytest

from lab import procs, walks
from lab.mock_responses import MockResponses
from lab.stage import UNTOLD_S, Stage, Truth, stage

pytestmark = pytest.mark.codex

Start = Callable[[Stage, str], Truth]
SURFACE = "TUI"


@pytest.fixture(scope="module")
def ours(mock_api: MockResponses) -> Iterator[Stage]:
    """A home in which Codex asks before it leaves the sandbox."""
    with stage(mock_api, approval="on-request", sandbox="read-only") as ours:
        yield ours


def test_a_session_at_work(ours: Stage, truth_of: Start) -> None:
    """Fresh, thinking, steered, interrupted, tools, compacting, stopped, killed."""
    truth = truth_of(ours, SURFACE)
    tui, thread = ours.tui("--yolo")
    truth("fresh", "idle/new", thread)
    walks.think(ours, truth, tui, thread, "own")
    walks.run_tools(ours, truth, tui, thread)
    walks.run_user_command(ours, truth, tui, thread)
    walks.compact(ours, truth, tui, thread)
    tui.type("HOLD own-killed SAY never")
    ours.held("own-killed")
    codex = procs.process(ours.native(tui.pid()))
    codex.signal(signal.SIGSTOP)
    truth("stopped in mid-turn, as by Ctrl-Z", "working/stuck", thread)
    codex.signal(signal.SIGCONT)
    tui_process = procs.process(tui.pid())
    procs.end([tui_process, *procs.family([tui.pid()])])
    truth("killed in mid-turn", "ended/crashed", thread)
    tui = ours.home.tui("resume", thread)
    tui.wait_for("HOLD own-killed")
    truth("killed, opened again", "idle/aborted", thread)


def test_a_session_that_asks(ours: Stage, truth_of: Start) -> None:
    """Approvals and questions, a request that is tried again, and the end of the terminal."""
    truth = truth_of(ours, SURFACE)
    tui, thread = ours.tui()
    walks.ask(ours, truth, tui, thread, UNTOLD_S)
    walks.ask_at_once(ours, truth, tui, thread, UNTOLD_S)
    walks.retry(ours, truth, tui, thread, "own-retry")
    process = procs.process(tui.pid())
    tui.press("C-c", "C-c")  # at once: the first may be enough
    procs.wait_gone([process], timeout_s=5)
    truth("closed", "ended/ok", thread)


def test_turns_that_fail(ours: Stage, truth_of: Start) -> None:
    """Each failure of the model API, and what Codex does when the model's context is full."""
    truth = truth_of(ours, SURFACE)
    tui, thread = ours.tui("--yolo")
    walks.fail(truth, tui, thread)
    walks.overflow(ours, truth, tui, thread)
