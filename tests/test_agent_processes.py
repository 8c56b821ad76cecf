"""fleet_agent.processes and fleet_agent.procfs: the processes of this host."""

import os
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import psutil
import pytest

from fake_codex import FakeCodex, thread_id
from fleet_agent import procfs
from fleet_agent.processes import FULL_PASS_S, YOUNG_S, ProcessTable

linux = pytest.mark.skipif(not procfs.AVAILABLE, reason="/proc is Linux's")
NAMES = ("CODEX_HOME", "CODEX_THREAD_ID")


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def is_codex(image: str) -> bool:
    return image.rpartition("/")[2] == "codex"


def table_of(clock: Clock | None = None) -> ProcessTable:
    return ProcessTable(is_codex, NAMES, clock or Clock())


def found(table: ProcessTable, pid: int) -> bool:
    return any(process.pid == pid for process in table.processes)


def test_a_tools_process_is_found_with_its_details(tmp_path: Path) -> None:
    """Program, arguments, user, directory, start; of the environment only the variables that were asked for."""
    with FakeCodex(tmp_path, arguments=["exec"], environ={"CODEX_HOME": "/h", "SECRET": "x"}) as codex:
        table = table_of()
        table.scan()
        (process,) = [p for p in table.processes if p.pid == codex.pid]
        assert process.image == str(tmp_path / "codex")
        assert process.argv[-1] == "exec"
        assert process.uid == os.geteuid()
        assert process.cwd == str(tmp_path)
        assert process.environ == {"CODEX_HOME": "/h"}
        assert process.tty is None
        assert abs(process.created_at - psutil.Process(codex.pid).create_time()) < 1.5
        assert abs(process.created_at - time.time()) < 30


def test_a_process_that_ends_is_gone_at_the_next_scan(tmp_path: Path) -> None:
    """What ended is not shown, and its pid is not remembered."""
    table = table_of()
    with FakeCodex(tmp_path) as codex:
        table.scan()
        assert found(table, codex.pid)
    table.scan()
    assert not found(table, codex.pid)


def test_a_new_process_is_found_without_looking_at_all_again(tmp_path: Path) -> None:
    """Between full passes only new and young pids are looked at."""
    clock, looked_at = Clock(), []

    def watch(image: str) -> bool:
        looked_at.append(image)
        return is_codex(image)

    table = ProcessTable(watch, clock=clock)
    table.scan()
    first = len(looked_at)
    clock.now_s += YOUNG_S + 1
    with FakeCodex(tmp_path) as codex:
        looked_at.clear()
        table.scan()
        assert found(table, codex.pid)
        assert str(tmp_path / "codex") in looked_at
        assert len(looked_at) < max(first, 10)
        looked_at.clear()
        clock.now_s += FULL_PASS_S
        table.scan()
        assert len(looked_at) >= min(first, 5)


def test_a_young_process_that_becomes_a_tool_is_found(tmp_path: Path) -> None:
    """A process is forked before it executes the tool; so young ones are looked at again."""
    with FakeCodex(tmp_path / "a", program="launcher") as launcher:
        table = table_of()
        table.scan()
        assert not found(table, launcher.pid)
        with FakeCodex(tmp_path / "b"):
            pass  # makes b/codex
        assert launcher.process.stdin
        launcher.process.stdin.write(f"exec {tmp_path}/b/codex -c 'read x'\n".encode())
        launcher.process.stdin.flush()
        wait_for_image(launcher.pid, "codex")
        table.scan()
        assert found(table, launcher.pid)


def test_an_old_process_that_becomes_a_tool_is_found_by_a_full_pass(tmp_path: Path) -> None:
    """A shell may execute the tool in its own place any time; a full pass finds it, at once when asked for."""
    clock = Clock()
    with FakeCodex(tmp_path / "a", program="launcher") as launcher, FakeCodex(tmp_path / "b"):
        table = table_of(clock)
        table.scan()
        clock.now_s += YOUNG_S + 1
        assert launcher.process.stdin
        launcher.process.stdin.write(f"exec {tmp_path}/b/codex -c 'read x'\n".encode())
        launcher.process.stdin.flush()
        wait_for_image(launcher.pid, "codex")
        table.scan()
        assert not found(table, launcher.pid)
        table.scan(full=True)
        assert found(table, launcher.pid)


def test_a_reused_pid_is_another_process(tmp_path: Path) -> None:
    """A process is known by pid and start; details of an earlier one with the same pid are never kept."""
    with FakeCodex(tmp_path) as codex:
        clock = Clock()
        table = table_of(clock)
        table.scan()
        clock.now_s += YOUNG_S + 1
        table._tools[codex.pid] = msgspec.structs.replace(table._tools[codex.pid], born=-1.0, argv=("stale",))
        table.scan()
        (process,) = [p for p in table.processes if p.pid == codex.pid]
        assert process.argv != ("stale",)
        assert process.born > 0


def test_children_are_told_with_their_marks(tmp_path: Path) -> None:
    """The direct children of a process: when they started, and the asked-for variables."""
    thread = thread_id()
    with FakeCodex(tmp_path) as codex:
        codex.start(f"CODEX_THREAD_ID={thread} OTHER=1 sleep 60")
        codex.start("sleep 61")
        table = table_of()
        table.scan()
        children = table.children(frozenset([codex.pid]))
        until = time.monotonic() + 10
        while not any(c.environ for c in children):  # just after an exec it is empty for a moment
            assert time.monotonic() < until
            table.scan()
            children = table.children(frozenset([codex.pid]))
        assert sorted((c.environ or {}).get("CODEX_THREAD_ID", "") for c in children) == ["", thread]
        assert all(c.ppid == codex.pid and abs(c.created_at - time.time()) < 30 for c in children)
        assert all(set(c.environ or {}) <= set(NAMES) for c in children)


def test_open_files_say_whether_they_are_open_for_writing(tmp_path: Path) -> None:
    """Codex opens a rollout for reading to list it, and for writing to use it."""
    (tmp_path / "read").touch()
    with FakeCodex(tmp_path, opened=[tmp_path / "written"], readable=[tmp_path / "read"]) as codex:
        table = table_of()
        table.scan()
        (process,) = [p for p in table.processes if p.pid == codex.pid]
        files = dict(table.open_files(process, lambda path: path.startswith(str(tmp_path))))
    assert files[str(tmp_path / "written")] is True
    assert files[str(tmp_path / "read")] is False


AS_NOBODY = """
import os
from fleet_agent.processes import ProcessTable
os.setgroups([]); os.setgid(65534); os.setuid(65534)
table = ProcessTable(lambda image: image.rpartition("/")[2] == "codex")
table.scan()
for process in table.processes:
    try:
        table.open_files(process, bool)
    except PermissionError:
        print(process.pid, process.image, *process.argv[-1:], process.uid, process.environ, process.cwd)
"""


@linux
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_process_of_another_user_is_seen_but_not_read(tmp_path: Path) -> None:
    """Without permission the program's path is hidden: its short name is seen, its open files are an error."""
    with FakeCodex(tmp_path, arguments=["exec"]) as codex:
        done = subprocess.run([sys.executable, "-c", AS_NOBODY], capture_output=True, text=True, timeout=60)
    assert f"{codex.pid} codex exec 0 None None" in done.stdout.splitlines(), done.stderr


@linux
def test_the_name_of_a_tty() -> None:
    """As `ps` writes it, from the device number; none for a process without one."""
    names = [procfs.tty_name(number) for number in (0x8803, 0x8900, 0x0401, 0x0440, 0, 0x0501)]
    assert names == ["pts/3", "pts/256", "tty1", "ttyS0", None, None]
    assert procfs.tty_name(0x1088_00) == "pts/256"


@linux
def test_a_process_that_is_gone_is_nothing() -> None:
    """Processes end while they are looked at."""
    assert procfs.image(2**22 + 1) == ""
    assert procfs.stat(2**22 + 1) is None
    with pytest.raises(OSError, match="No such file"):
        procfs.open_files(2**22 + 1, bool)


@linux
def test_a_strange_name_does_not_shift_the_fields_of_stat(tmp_path: Path) -> None:
    """A process may be named ") R 1 1": the fields behind its name are still found."""
    with FakeCodex(tmp_path, program=") R 1 1 1") as process:
        stat = procfs.stat(process.pid)
        assert stat is not None
        assert stat.ppid == os.getpid()


def wait_for_image(pid: int, name: str) -> None:
    deadline = time.monotonic() + 10
    while not procfs.image(pid).endswith(f"/{name}"):
        assert time.monotonic() < deadline
        time.sleep(0.01)
