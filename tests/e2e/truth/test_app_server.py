"""The truth table: an app-server over stdio, as IDEs and other drivers run it."""

from collections.abc import Callable, Iterator

import pytest

from lab import LabError, procs
from lab.app_server import AppServer, Json
from lab.mock_responses import MockResponses
from lab.stage import UNTOLD_S, WITHIN_S, Stage, Truth, stage
from lab.waiting import wait_until

pytestmark = pytest.mark.codex

Start = Callable[[Stage, str], Truth]
SURFACE = "app-server"
APPROVAL = "item/commandExecution/requestApproval"


@pytest.fixture(scope="module")
def ours(mock_api: MockResponses) -> Iterator[Stage]:
    """A home in which Codex asks before it leaves the sandbox."""
    with stage(mock_api, approval="on-request", sandbox="read-only") as ours:
        yield ours


def test_threads_of_one_server(ours: Stage, truth_of: Start) -> None:
    """Several threads in one process, each in a state of its own; the server's end is theirs."""
    truth = truth_of(ours, SURFACE)
    with AppServer(ours.home) as server:
        idle, asks, thinks = (server.start_thread() for _ in range(3))
        truth("fresh", "idle/new", idle)
        server.start_turn(asks, "ESC sleep 4020 ;; SAY done")
        asked = server.said(APPROVAL, asks)
        server.start_turn(thinks, "HOLD server1 SAY never")
        ours.held("server1")
        truth("thinking", "working/thinking", thinks)
        truth("approval of a command", "waiting/approval", asks, settle_s=UNTOLD_S)
        server.answer(asked, decision="accept")
        tool = ours.tool("sleep 4020")
        truth("approved tool", "working/tool", asks)
        tool.signal(9)
        server.said("turn/completed", asks)
        truth("turn done", "idle/turn_done", asks)
        server.start_turn(idle, "ASK which ;; SAY answered")
        server.said("item/tool/requestUserInput", idle)
        truth("question", "waiting/question", idle)
        truth("thinking, beside other threads", "working/thinking", thinks)
        server.close()
        truth("hung up in mid-turn", "ended/ok", thinks)
        truth("hung up, turn done", "ended/ok", asks)


def test_a_server_that_crashes(ours: Stage, truth_of: Start) -> None:
    """A turn that was open then has crashed, one that was over has not; it holds one that crashed elsewhere."""
    truth = truth_of(ours, SURFACE)
    with AppServer(ours.home) as server:
        thinks, done = (server.start_thread() for _ in range(2))
        server.start_turn(done, "SAY done")
        server.said("turn/completed", done)
        server.start_turn(thinks, "HOLD server2 SAY never")
        ours.held("server2")
        tui, taken = ours.tui()
        tui.type("HOLD server3 SAY never")
        ours.held("server3")
        procs.end([procs.process(tui.pid()), *procs.family([tui.pid()])])
        wait_until(lambda: _resume(server, taken), "the server opens it", timeout_s=WITHIN_S)
        truth("killed in a terminal, opened here", "idle/aborted", taken)
        procs.end([procs.process(server.pid), *procs.family([server.pid])])
        truth("killed in mid-turn", "ended/crashed", thinks)
        truth("killed, turn done", "ended/ok", done)


def _resume(server: AppServer, thread: str) -> Json | None:
    """Open a thread; None while the kernel has not yet let go of the lock of a process that was killed."""
    try:
        return server.call("thread/resume", threadId=thread, excludeTurns=True)
    except LabError:
        return None
