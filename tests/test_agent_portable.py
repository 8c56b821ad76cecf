"""fleet_agent.procfs and fleet_agent.portable: two ways to ask the same, held against each other."""

import inspect
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

import fleet_agent.native
from fleet_agent import portable, procfs

pytestmark = pytest.mark.skipif(not procfs.AVAILABLE, reason="/proc is Linux's")
OF_A_PROCESS = ("image", "argv", "uid", "cwd", "environ", "children")


@pytest.mark.parametrize("name", OF_A_PROCESS)
def test_both_say_the_same_of_a_process(name: str) -> None:
    """Of this one, of a child with an environment of its own, and of one that is gone."""
    with subprocess.Popen(["sleep", "60"], env={"NAME": "value=1", "EMPTY": ""}, cwd="/") as sleep:
        while procfs.image(sleep.pid) == procfs.image(os.getpid()):
            pass  # it has not executed it yet
        for pid in (os.getpid(), sleep.pid):
            assert getattr(procfs, name)(pid) == getattr(portable, name)(pid)
        sleep.kill()
    assert getattr(procfs, name)(sleep.pid) == getattr(portable, name)(sleep.pid)


def test_both_say_the_same_of_what_a_process_is_and_uses() -> None:
    """Its parent, its terminal, when it began, its CPU and its memory."""
    one, other = procfs.stat(os.getpid()), portable.stat(os.getpid())
    assert one
    assert other
    assert (one.ppid, one.tty) == (other.ppid, other.tty)
    assert abs(one.created_at - other.created_at) < 1.5  # psutil knows the start of the machine to a second
    assert abs(one.cpu_s - other.cpu_s) < 0.5
    assert abs(one.rss_bytes - other.rss_bytes) < 8 << 20
    assert procfs.stat(4_000_001) is portable.stat(4_000_001) is None


def test_both_know_whether_a_process_is_stopped() -> None:
    """By a signal; not one that runs."""

    def is_stopped(found: procfs.Stat | None) -> bool:
        return found is not None and found.stopped

    with subprocess.Popen(["sleep", "60"]) as sleep:
        for number, stopped in ((signal.SIGSTOP, True), (signal.SIGCONT, False)):
            sleep.send_signal(number)
            until_s = time.monotonic() + 5
            while is_stopped(procfs.stat(sleep.pid)) != stopped and time.monotonic() < until_s:
                time.sleep(0.01)
            assert is_stopped(procfs.stat(sleep.pid)) == is_stopped(portable.stat(sleep.pid)) == stopped
        sleep.kill()


def test_both_know_the_files_that_a_process_holds_open(tmp_path: Path) -> None:
    """Those that are wanted."""
    path = tmp_path / "rollout-1.jsonl"
    with path.open("w"):
        (found,) = procfs.open_files(os.getpid(), lambda name: "rollout-" in name)
        assert portable.open_files(os.getpid(), lambda name: "rollout-" in name) == [(str(path), True)]
    assert (found.path, found.writable) == (str(path), True)
    for ask in (procfs.open_files, portable.open_files):
        with pytest.raises((FileNotFoundError, ProcessLookupError)):
            ask(4_000_001, bool)


def test_both_say_the_same_of_the_machine() -> None:
    """Its processes, memory, mounts, its CPU so far, and when it started."""
    assert abs(len(procfs.pids()) - len(portable.pids())) < 50
    assert os.getpid() in procfs.pids() & portable.pids()
    assert procfs.file_systems() == portable.file_systems()
    assert abs(procfs.booted_at() - portable.booted_at()) < 2
    memory, memory_again = procfs.memory(), portable.memory()
    assert memory
    assert memory_again
    assert memory[0] == memory_again[0]
    assert abs(memory[1] - memory_again[1]) < 1 << 30
    before, after = psutil.cpu_times(), procfs.busy()
    waiting_s = before.iowait  # in which psutil's other systems do not say
    assert abs(after[0] - (sum(before[:8]) - before.idle - waiting_s)) < 5
    assert abs(after[1] - sum(before[:8])) < 5


def test_what_the_kernel_says_of_cpus() -> None:
    """Waiting for a disk is no work; what guests used is in the first two columns already: proc_stat(5)."""
    hertz = os.sysconf("SC_CLK_TCK")
    line = [100, 1, 50, 1000, 10, 2, 3, 4, 20, 1]
    text = f"cpu  {' '.join(str(n * hertz) for n in line)}\ncpu0 1 1 1 1\n".encode()
    assert procfs.parse_busy(text) == (160.0, 1170.0)
    assert procfs.parse_busy(b"") == (0.0, 0.0)


def test_what_the_kernel_says_of_memory() -> None:
    """In KiB. A /proc that shows processes only says nothing: systemd's ProcSubset=pid."""
    text = b"MemTotal:  2048 kB\nMemFree: 10 kB\nMemAvailable:  1024 kB\nHugePages_Total: 0\n"
    assert procfs.parse_memory(text) == (2 << 20, 1 << 20)
    assert procfs.parse_memory(b"") is None


def test_what_the_kernel_says_of_mounts() -> None:
    """Blanks and backslashes in a path are written in octal; of two at a place the last is seen."""
    text = (
        b"/dev/sda1 / ext4 rw 0 0\nhost:/x /mnt/two\\040words nfs4 rw 0 0\n"
        b"tmpfs /run tmpfs rw 0 0\nnone /run ramfs rw 0 0\nx /a\\134b \xff 0 0\ntorn\n"
    )
    expected = {"/": "ext4", "/mnt/two words": "nfs4", "/run": "ramfs", "/a\\b": os.fsdecode(b"\xff")}
    assert procfs.parse_mounts(text) == expected


def test_psutil_has_no_function_that_proc_lacks() -> None:
    """Whoever asks `native` may be answered by either, with values of the same shape."""
    for name in fleet_agent.native.__all__:
        if name != "variables":
            theirs: Callable[..., object] = getattr(portable, name)
            ours: Callable[..., object] = getattr(procfs, name)
            assert list(inspect.signature(theirs).parameters) == list(inspect.signature(ours).parameters)


def test_psutil_is_not_imported_where_proc_is() -> None:
    """It takes as long as to start Python."""
    code = "import sys, fleet_agent.__main__, fleet_agent.tools.codex.find; print('psutil' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=True).stdout
    assert found == b"False\n"
