"""fleet_agent.kin and fleet_agent.arrivals: what tools started, followed from tick to tick."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import psutil
import pytest

from fake_codex import FakeCodex, thread_id
from fleet_agent import native, procfs
from fleet_agent.arrivals import MAX_PROBES, Arrivals
from fleet_agent.kin import Child, Kin
from fleet_agent.processes import FULL_PASS_S, ProcessTable

MARKS = ("CODEX_THREAD_ID",)
NAMES = (*MARKS, "CODEX_TOOL_CALL_ID", "PATH")
linux = pytest.mark.skipif(not procfs.AVAILABLE, reason="/proc is Linux's")


def table() -> ProcessTable:
    found = ProcessTable(lambda image: image.rpartition("/")[2] == "codex", NAMES, marks=MARKS)
    found.scan()
    return found


def until(table: ProcessTable, found: Callable[[], bool]) -> None:
    """Scan until it is so."""
    deadline = time.monotonic() + 20
    while not found():
        assert time.monotonic() < deadline
        time.sleep(0.02)
        table.scan()


def below(table: ProcessTable, pid: int) -> list[Child]:
    """All descendants of a process, as the table knows them."""
    direct = [child for child in table.kin.values() if child.ppid == pid]
    return [*direct, *(deeper for child in direct for deeper in below(table, child.pid))]


def names(table: ProcessTable, pid: int) -> list[str]:
    return sorted(child.name for child in below(table, pid))


def test_descendants_at_any_depth_are_found_at_first_sight(tmp_path: Path) -> None:
    """A tool that was there before the agent: its children, and theirs."""
    with FakeCodex(tmp_path) as codex:
        codex.start("bash -c 'bash -c \"sleep 60; true\"; true'")
        seen = table()
        until(seen, lambda: names(seen, codex.pid) == ["bash", "bash", "sleep"])


def test_descendants_that_start_later_are_found_by_their_parents(tmp_path: Path) -> None:
    """No second walk and no full pass is needed: a new pid tells its parent."""
    with FakeCodex(tmp_path) as codex:
        seen = table()
        codex.start("bash -c 'sleep 60; true'")
        until(seen, lambda: names(seen, codex.pid) == ["bash", "sleep"])


def test_a_fork_that_was_seen_before_it_executed_its_program_stays(tmp_path: Path) -> None:
    """Between fork and exec it runs the program of the tool, in its environment; then it is a command."""
    with FakeCodex(tmp_path) as codex:
        seen = table()
        assert codex.process.stdin
        codex.process.stdin.write(b"(sleep 1; CODEX_THREAD_ID=t exec sleep 60) &\n")
        codex.process.stdin.flush()
        until(seen, lambda: "codex" in names(seen, codex.pid))
        until(seen, lambda: any(c.environ and c.environ.get(MARKS[0]) == "t" for c in below(seen, codex.pid)))


def test_figures_of_every_process_are_those_of_the_system(tmp_path: Path) -> None:
    """CPU and memory come with each scan."""
    with FakeCodex(tmp_path) as codex:
        codex.start("sleep 60")
        seen = table()
        until(seen, lambda: names(seen, codex.pid) == ["sleep"])
        codex.run("for ((i = 0; i < 300000; i++)); do :; done")
        seen.scan()
        (child,) = below(seen, codex.pid)
        rss_bytes = psutil.Process(child.pid).memory_info().rss
        assert abs(seen.stats[child.pid].rss_bytes - rss_bytes) <= 1 << 20  # the kernel counts loosely
        assert seen.stats[child.pid].rss_bytes > 0
        assert seen.stats[codex.pid].cpu_s >= 0.05
        assert abs(seen.stats[codex.pid].cpu_s - sum(psutil.Process(codex.pid).cpu_times()[:4])) < 0.05


def test_a_process_that_left_its_parent_stays_in_the_tree(tmp_path: Path) -> None:
    """Its parent died, and pid 1 adopted it: it still belongs to whom it belonged to."""
    with FakeCodex(tmp_path) as codex:
        codex.start("bash -c 'setsid sleep 60 & wait; true'")
        seen = table()
        until(seen, lambda: names(seen, codex.pid) == ["bash", "sleep"])
        (bash,) = [child for child in below(seen, codex.pid) if child.name == "bash"]
        (sleep,) = [child for child in below(seen, codex.pid) if child.name == "sleep"]
        try:
            os.kill(bash.pid, 9)
            codex.run("wait 2>/dev/null")
            until(seen, lambda: names(seen, codex.pid) == ["sleep"])
            assert seen.kin[sleep.pid].ppid == codex.pid
        finally:
            os.kill(sleep.pid, 9)


def test_a_child_of_a_tool_that_died_belongs_to_pid_1(tmp_path: Path) -> None:
    """The tool's pid may be given to another process; nobody else's children are taken for that one's."""
    with FakeCodex(tmp_path) as codex:
        codex.start("setsid sleep 60")
        seen = table()
        until(seen, lambda: names(seen, codex.pid) == ["sleep"])
        (sleep,) = below(seen, codex.pid)
        try:
            codex.kill()
            seen.scan()
            assert seen.kin[sleep.pid].ppid == 1
        finally:
            os.kill(sleep.pid, 9)
        until(seen, lambda: sleep.pid not in seen.kin)


def test_who_carries_a_mark_is_found_without_any_tool() -> None:
    """What a session started names it in its environment, also when the session has long been gone."""
    thread = thread_id()
    environ = {"CODEX_THREAD_ID": thread, "PATH": os.environ["PATH"]}
    start = ["sh", "-c", "sleep 60 >/dev/null & echo $!"]  # its parent is gone at once
    pid = int(subprocess.run(start, env=environ, stdout=subprocess.PIPE, check=True).stdout)
    try:
        assert (table().kin[pid].environ or {})["CODEX_THREAD_ID"] == thread
    finally:
        os.kill(pid, 9)


def test_who_carries_a_mark_and_starts_later_is_found_whatever_its_parent() -> None:
    """Each new process is asked."""
    seen, thread = table(), thread_id()
    with subprocess.Popen(["sleep", "60"], env={**os.environ, "CODEX_THREAD_ID": thread}) as sleep:
        try:
            until(seen, lambda: sleep.pid in seen.kin)
            assert (seen.kin[sleep.pid].environ or {})["CODEX_THREAD_ID"] == thread
        finally:
            sleep.kill()


def test_nobody_else_is_kin() -> None:
    """This very test's processes are not."""
    environ = {name: value for name, value in os.environ.items() if name not in MARKS}
    with subprocess.Popen(["sleep", "60"], env=environ) as sleep:
        try:
            assert sleep.pid not in table().kin
        finally:
            sleep.kill()


def test_a_thousand_children_are_found(tmp_path: Path) -> None:
    """More than one page of /proc tells."""
    with FakeCodex(tmp_path) as codex:
        codex.run("for ((i = 0; i < 1000; i++)); do sleep 60 & done")
        assert len(native.children(codex.pid)) == 1000


@linux
def test_threads_are_no_processes() -> None:
    """A thread's number is a path in /proc as well."""
    code = "import threading, time; threading.Thread(target=input).start(); print(1, flush=True); input()"
    argv = [sys.executable, "-c", code]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        (thread,) = (int(name) for name in os.listdir(f"/proc/{process.pid}/task") if name != str(process.pid))
        assert procfs.stat(process.pid)
        assert procfs.stat(thread) is None
        process.kill()


@linux
def test_arrivals_are_the_processes_that_are_new() -> None:
    """By their numbers, without listing all; and once a full look lists them, they are not new again."""
    arrivals = Arrivals()
    assert os.getpid() in arrivals.look(full=True)
    with subprocess.Popen(["sleep", "60"]) as sleep:
        new = arrivals.look(full=False)
        assert sleep.pid in new
        assert os.getpid() not in new
        assert sleep.pid not in arrivals.look(full=False)
        assert sleep.pid not in arrivals.look(full=True)
        assert sleep.pid in arrivals.known
        sleep.kill()


@pytest.mark.parametrize("last", [0, 3, 10**6])
def test_arrivals_are_listed_where_numbers_do_not_tell(last: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The counter is not there, began again, or ran far ahead."""
    arrivals = Arrivals()
    monkeypatch.setattr(procfs, "last_pid", lambda: 500)
    arrivals.look(full=True)
    monkeypatch.setattr(procfs, "last_pid", lambda: last)
    monkeypatch.setattr(native, "pids", lambda: arrivals.known | {4_000_001})
    assert abs(last - 500) > MAX_PROBES
    assert arrivals.look(full=False) == {4_000_001}


def test_a_number_that_no_other_process_has() -> None:
    """A glance tells a process from any other, at any time; of one that is gone it tells nothing."""
    with subprocess.Popen(["sleep", "60"]) as one, subprocess.Popen(["sleep", "60"]) as other:
        first = native.glance(one.pid)[0]
        assert first
        assert first == native.glance(one.pid)[0] != native.glance(other.pid)[0]
        one.kill()
        other.kill()
    assert native.glance(one.pid) == (0, 0)


@linux
def test_figures_are_kept_only_of_the_same_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another inode: it is looked at again, and a pid that has become another process is not who was known."""
    stat = procfs.stat(os.getpid())
    assert stat
    kin = Kin(frozenset(), frozenset())
    kin.children = {5: Child(5, 1, 0.0, {}, stat.born)}
    inode, stats = 1, {5: stat}
    monkeypatch.setattr(procfs, "COUNTS_FILES", False)
    monkeypatch.setattr(native, "glance", lambda _: (inode, 3))
    monkeypatch.setattr(native, "stat", stats.get)
    kin.update(set(), set(), set(), full=False)
    stats[5] = msgspec.structs.replace(stat, born=stat.born + 1)
    kin.update(set(), set(), set(), full=False, measure=False)
    assert 5 in kin.children
    inode = 2
    kin.update(set(), set(), set(), full=False, measure=False)
    assert kin.children == {}


def test_a_full_pass_is_now_and_then() -> None:
    """The rest of the time nothing but new pids is looked at."""
    assert 10 <= FULL_PASS_S <= 120
