"""fleet_agent.control.groups: to end all processes of a run, and no stranger's."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from fleet_agent.control import groups
from fleet_agent.control.groups import Started
from lab import procs
from lab.waiting import wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the lab's view of processes is /proc")


@pytest.fixture
def mark(tmp_path: Path) -> Iterator[dict[str, str]]:
    """What the processes of a test carry; they end with it."""
    marks = {"FLEET_RUN": "x", "FLEET_RUN_ID": str(tmp_path)}
    yield marks
    procs.end_carrying(FLEET_RUN_ID=str(tmp_path))


Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(mark: dict[str, str]) -> Iterator[Start]:
    """Starts a shell script that leads its own session; it has said `ready` then."""
    with ExitStack() as ended:

        def start(script: str, **env: str) -> "subprocess.Popen[str]":
            process = subprocess.Popen(
                ["bash", "-c", script],
                env=env or {**os.environ, **mark},
                stdout=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
            assert process.stdout
            ended.enter_context(process)
            ended.callback(process.kill)
            assert process.stdout.readline() == "ready\n"
            return process

        yield start


def leader(process: "subprocess.Popen[str]") -> Started:
    found = groups.started(process.pid)
    assert found
    return found


def test_all_of_a_run_ends(start: Start, mark: dict[str, str]) -> None:
    """The leader, its group, who left that with the mark still on, and who has lost both but not the parent."""
    process = start("(setsid sleep 300 &); env -i sleep 301 & env -i setsid sleep 302 & echo ready; wait")
    lead = leader(process)

    def all_there() -> list[Started] | None:
        found = groups.members(lead, mark)
        shown = " ".join(procs.process(member.pid).describe() for member in found)
        return found if all(f"sleep {seconds}" in shown for seconds in (300, 301, 302)) else None

    found = wait_until(all_there, "all run", timeout_s=20)
    assert lead in found
    assert groups.end(lambda: groups.members(lead, mark), 5.0) == []
    assert not any(member.lives() for member in found)


def test_what_ignores_term_is_killed(start: Start, mark: dict[str, str]) -> None:
    """TERM first, KILL after the grace; what the leader left in its group is remembered when that is gone."""
    child = "trap '' TERM; echo ready; while :; do sleep 0.05; done"
    process = start(f'env -i bash -c "{child}" & wait')
    lead = leader(process)
    found = groups.members(lead, {})
    assert len(found) >= 2
    begun_s = time.monotonic()
    assert groups.end(lambda: groups.members(lead, mark), 0.3) == []
    assert 0.3 <= time.monotonic() - begun_s < 3
    assert not any(member.lives() for member in found)


def test_a_reused_pid_is_not_touched(start: Start) -> None:
    """A process with the pid that was written down, and another start, is a stranger; so is its group."""
    stranger = start("sleep 300 & echo ready; wait", PATH=os.environ["PATH"])
    lead = leader(stranger)
    faked = Started(lead.pid, lead.ticks - 1)
    assert not faked.lives()
    assert not groups.send(faked, signal.SIGKILL)
    assert groups.members(faked, {"FLEET_RUN": "x", "FLEET_RUN_ID": "of nobody"}) == []
    assert groups.end(lambda: groups.members(faked, {}), 0.1) == []
    assert groups.end(lambda: [faked], 0.1) == []
    assert lead.lives()
    assert groups.send(lead, signal.SIGKILL)
    stranger.wait(5)


def test_the_marks_of_another_run_are_no_marks(start: Start, mark: dict[str, str]) -> None:
    """A run that had the same name before has another id: its leftovers are not this run's."""
    other = start("echo ready; sleep 300", PATH=os.environ["PATH"], FLEET_RUN="x", FLEET_RUN_ID="of before")
    assert groups.members(None, mark) == []
    assert groups.members(None, {}) == []
    assert leader(other).lives()


def test_whoever_asks_is_no_member(mark: dict[str, str]) -> None:
    """A stop that comes from inside the run does not end whoever asks, before it can answer."""
    code = "import sys; from fleet_agent.control.groups import members; print(members(None, eval(sys.argv[1])))"
    done = subprocess.run(
        [sys.executable, "-c", code, repr(mark)], env={**os.environ, **mark}, capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_a_process_that_ended_and_was_not_waited_for_is_gone() -> None:
    """A zombie keeps its pid and its start, and needs no ending."""
    process = subprocess.Popen(["true"])
    try:
        found = groups.started(process.pid)
        assert found
        wait_until(lambda: None if found.lives() else True, "it has ended", timeout_s=20)
        assert groups.start_ticks(process.pid) == found.ticks
        assert groups.end(lambda: [found], 5.0) == []
    finally:
        process.wait()


def test_what_may_not_be_signalled_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not end is returned, after a while."""
    monkeypatch.setattr(groups, "KILL_S", 0.1)
    monkeypatch.setattr(groups, "send", lambda *_: False)
    me = Started(os.getpid(), groups.start_ticks(os.getpid()) or 0)
    assert groups.end(lambda: [me], 0.1) == [me]
