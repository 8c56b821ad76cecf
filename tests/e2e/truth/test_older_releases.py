"""The truth table: releases of Codex from before its daemon, the oldest without writer locks."""

import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from lab import procs, walks
from lab.codex import OLD_CODEX_VERSIONS
from lab.mock_responses import MockResponses
from lab.stage import UNTOLD_S, Stage, Truth, stage
from lab.tmux import Tmux

pytestmark = [pytest.mark.codex, pytest.mark.old_codex]

BARE_S = 5.5  # 0.145 has no thread yet, and fleet gives a process five seconds to open one
Start = Callable[[Stage, str], Truth]
Walk = Callable[[Stage, Start], None]


@pytest.fixture(scope="module")
def stages(mock_api: MockResponses) -> Iterator[list[Stage]]:
    """One for each release, in which Codex asks before it leaves the sandbox."""
    options = {"approval": "on-request", "sandbox": "read-only"}
    with ExitStack() as opened:
        yield [
            opened.enter_context(stage(mock_api, version=version, **options)) for version in OLD_CODEX_VERSIONS
        ]


def each(stages: list[Stage], truth_of: Start, walk: Walk) -> None:
    """The same walk in all releases at once: most of it is waiting."""
    with ThreadPoolExecutor(len(stages)) as threads:
        for walked in [threads.submit(walk, each, truth_of) for each in stages]:
            walked.result()


def test_terminal_sessions_at_work(stages: list[Stage], truth_of: Start) -> None:
    """Fresh, thinking, steered, interrupted, failed, tools, compacting, killed."""
    each(stages, truth_of, _work)


def test_terminal_sessions_that_ask(stages: list[Stage], truth_of: Start) -> None:
    """Approvals and a question."""
    each(stages, truth_of, _ask)


def test_runs(stages: list[Stage], truth_of: Start) -> None:
    """`codex exec`: thinking, a tool, done, failed, killed."""
    each(stages, truth_of, _run)


def _work(ours: Stage, truth_of: Start) -> None:
    truth, name = truth_of(ours, "TUI"), f"old{ours.home.version}-"
    before = ours.home.threads()
    tui = ours.home.tui("--yolo")
    truth("fresh", "idle/new", ours.native(tui.pid()), settle_s=BARE_S)
    thread = _greeted(ours, tui, before)
    walks.think(ours, truth, tui, thread, name)
    walks.run_tools(ours, truth, tui, thread)
    walks.run_user_command(ours, truth, tui, thread)
    walks.compact(ours, truth, tui, thread)
    tui.type("FAIL 400")
    walks.ended(tui, "mock failure 400")
    truth("failed: 400", "idle/failed", thread)
    tui.type(f"HOLD {name}4 SAY never")
    ours.held(f"{name}4")
    procs.end([procs.process(tui.pid()), *procs.family([tui.pid()])])
    truth("killed in mid-turn", "ended/crashed", thread)


def _ask(ours: Stage, truth_of: Start) -> None:
    before = ours.home.threads()
    tui = ours.home.tui()
    walks.ask(ours, truth_of(ours, "TUI"), tui, _greeted(ours, tui, before), UNTOLD_S)
    tui.close()


def _greeted(ours: Stage, tui: Tmux, before: set[str]) -> str:
    """The thread of a terminal UI, after a first turn: 0.145 writes nothing down before that."""
    tui.type("SAY hello")
    walks.ended(tui, "• hello")
    return ours.new_thread(before)


def _run(ours: Stage, truth_of: Start) -> None:
    truth = truth_of(ours, "exec")
    name, before = f"run{ours.home.version}-", ours.home.threads()
    run = ours.home.start_exec(f"HOLD {name}1 TOOL sleep 4050 ;; SAY done")
    ours.held(f"{name}1")
    thread = ours.new_thread(before)
    truth("thinking", "working/thinking", thread)
    ours.api.release(f"{name}1")
    tool = ours.tool("sleep 4050")
    truth("tool", "working/tool", thread)
    tool.signal(signal.SIGKILL)
    assert run.wait(20) == 0
    truth("done", "ended/ok", thread)
