"""The truth table: subagents of both kinds (the model decides which), their parents, and their children."""

from collections.abc import Callable, Iterator

import pytest

from lab import procs
from lab.mock_responses import MockResponses
from lab.stage import Stage, Truth, stage

pytestmark = pytest.mark.codex

Start = Callable[[Stage, str], Truth]
MODELS = {"v1": "gpt-5.5", "v2": "gpt-6.1-sol"}


@pytest.fixture(scope="module")
def ours(mock_api: MockResponses) -> Iterator[Stage]:
    """A home in which nothing is asked."""
    with stage(mock_api) as ours:
        yield ours


@pytest.mark.parametrize("kind", MODELS)
def test_a_parent_and_its_child(ours: Stage, truth_of: Start, kind: str) -> None:
    """While its child thinks and uses a tool, a parent waits for it; then it thinks, and the child is idle."""
    truth = truth_of(ours, f"exec, subagents {kind}")
    before = ours.home.threads()
    prompt = f"SPAWN {{HOLD {kind}a TOOL sleep 4030 ;; SAY x}} ;; WAITAGENT ;; HOLD {kind}b SAY done"
    run = ours.home.start_exec(prompt, "-m", MODELS[kind])
    ours.held(f"{kind}a")
    parent, child = sorted(ours.home.threads() - before)  # by time
    truth("child thinks: the child", "working/thinking", child)
    truth("child thinks: the parent", "working/subagents", parent)
    ours.api.release(f"{kind}a")
    tool = ours.tool("sleep 4030")
    truth("child in a tool: the child", "working/tool", child)
    truth("child in a tool: the parent", "working/subagents", parent)
    tool.signal(9)
    ours.held(f"{kind}b")
    truth("child done: the child", "idle/turn_done", child)
    truth("child done: the parent", "working/thinking", parent)
    ours.api.release(f"{kind}b")
    assert run.wait(20) == 0
    truth("all done: the child", "ended/ok", child)
    truth("all done: the parent", "ended/ok", parent)


@pytest.mark.parametrize("kind", MODELS)
def test_a_child_of_a_child(ours: Stage, truth_of: Start, kind: str) -> None:
    """The first and the second wait, the third thinks; killed, all three have crashed."""
    truth = truth_of(ours, f"exec, subagents {kind}")
    before = ours.home.threads()
    prompt = f"SPAWN {{SPAWN {{HOLD {kind}c SAY x}} ;; WAITAGENT ;; SAY y}} ;; WAITAGENT ;; SAY done"
    run = ours.home.start_exec(prompt, "-m", MODELS[kind])
    ours.held(f"{kind}c")
    threads = dict(zip(("root", "child", "grandchild"), sorted(ours.home.threads() - before), strict=True))
    for name, thread in threads.items():
        truth(f"nested: the {name}", f"working/{'thinking' if name == 'grandchild' else 'subagents'}", thread)
    procs.end([procs.process(run.pid), *procs.family([run.pid])])
    for name, thread in threads.items():
        truth(f"nested, killed: the {name}", "ended/crashed", thread)
