"""The truth table: `codex exec`."""

import signal
from collections.abc import Callable, Iterator

import pytest

from lab import procs, walks
from lab.mock_responses import MockResponses
from lab.stage import Stage, Truth, stage

pytestmark = pytest.mark.codex

Start = Callable[[Stage, str], Truth]
SURFACE = "exec"


@pytest.fixture(scope="module")
def ours(mock_api: MockResponses) -> Iterator[Stage]:
    """A home in which nothing is asked, as is usual for exec."""
    with stage(mock_api) as ours:
        yield ours


def test_a_run_and_what_comes_of_its_session(ours: Stage, truth_of: Start) -> None:
    """Thinking, a tool, done; the same session resumed; a fork of it."""
    truth = truth_of(ours, SURFACE)
    before = ours.home.threads()
    run = ours.home.start_exec("HOLD exec1 TOOL sleep 4010 ;; SAY done")
    ours.held("exec1")
    thread = ours.new_thread(before)
    truth("thinking", "working/thinking", thread)
    ours.api.release("exec1")
    tool = ours.tool("sleep 4010")
    truth("tool", "working/tool", thread)
    tool.signal(signal.SIGKILL)
    assert run.wait(20) == 0
    truth("done", "ended/ok", thread)
    run = ours.home.start_exec("HOLD exec2 SAY more", "resume", thread)
    ours.held("exec2")
    truth("resumed, thinking", "working/thinking", thread)
    before = ours.home.threads()
    fork = ours.home.start_exec("HOLD exec3 SAY else", "fork", thread)
    ours.held("exec3")
    forked = ours.new_thread(before)
    truth("fork, thinking", "working/thinking", forked)
    truth("resumed, thinking, beside its fork", "working/thinking", thread)
    ours.api.release("exec3")
    assert fork.wait(20) == 0
    truth("fork, done", "ended/ok", forked)
    ours.api.release("exec2")
    assert run.wait(20) == 0
    truth("resumed, done", "ended/ok", thread)


@pytest.mark.parametrize("failure", ["400", "401", "429", "500", "QUOTA", "CONTEXT"])
def test_a_run_that_fails(ours: Stage, truth_of: Start, failure: str) -> None:
    """Ended, and not well."""
    before = ours.home.threads()
    assert ours.home.exec(f"FAIL {failure}").returncode == 1
    truth_of(ours, SURFACE)(f"failed: {failure}", "ended/failed", ours.new_thread(before))


def test_a_run_that_is_cut_off(ours: Stage, truth_of: Start) -> None:
    """Interrupted by Ctrl-C in a tool, and once more by a person in a terminal; killed while it thinks."""
    truth = truth_of(ours, SURFACE)
    before = ours.home.threads()
    run = ours.home.start_exec("TOOL sleep 4011 ;; SAY never")
    ours.tool("sleep 4011")
    thread = ours.new_thread(before)
    run.send_signal(signal.SIGINT)
    assert run.wait(20) == 1
    truth("interrupted", "ended/failed", thread)
    tui = ours.home.tui("resume", thread)
    tui.type("HOLD exec6 SAY never")
    ours.held("exec6")
    tui.press("Escape")
    walks.ended(tui, "HOLD exec6")
    terminal = procs.process(tui.pid())
    tui.press("C-c", "C-c")
    procs.wait_gone([terminal], timeout_s=5)
    truth("interrupted in a terminal, closed", "ended/ok", thread)
    before = ours.home.threads()
    run = ours.home.start_exec("HOLD exec4 SAY never")
    ours.held("exec4")
    thread = ours.new_thread(before)
    procs.end([procs.process(run.pid), *procs.family([run.pid])])
    truth("killed in mid-turn", "ended/crashed", thread)


def test_a_run_that_leaves_no_trace(ours: Stage, truth_of: Start) -> None:
    """`--ephemeral` writes nothing down: nothing but its process shows that it works."""
    truth = truth_of(ours, "exec, ephemeral")
    run = ours.home.start_exec("HOLD exec5 TOOL sleep 4012 ;; SAY done", "--ephemeral")
    ours.held("exec5")
    native = ours.native(run.pid)
    truth("thinking", "working/thinking", native)
    ours.api.release("exec5")
    tool = ours.tool("sleep 4012")
    truth("tool", "working/tool", native)
    tool.signal(signal.SIGKILL)
    assert run.wait(20) == 0
