"""fleet_agent.glances: the same processes, seen again and again."""

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from fleet_agent import glances, native, procfs
from fleet_agent.glances import Glances

counts = pytest.mark.skipif(not procfs.COUNTS_FILES, reason="Linux counts open files since 6.2")


Start = Callable[[], "subprocess.Popen[bytes]"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts processes that are there until they are killed, or the test ends."""
    with ExitStack() as running:

        def one() -> "subprocess.Popen[bytes]":
            cat = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
            running.enter_context(cat)
            assert cat.stdin
            assert cat.stdout
            cat.stdin.write(b"x")
            assert cat.stdout.read(1) == b"x"  # from now on it opens and closes nothing
            return cat

        yield one


def held() -> set[str]:
    """The directories of processes that this one holds open."""
    links = [procfs.target(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")]
    return {link for link in links if link.startswith("/proc/") and link.endswith("/fd")}


def test_a_process_from_its_first_to_its_last_glance(start: Start) -> None:
    """Each says what the plain one does; of one that is gone there is nothing, and nothing is kept."""
    seen, one, other = Glances(), start(), start()
    before = held()
    for _ in range(3):
        assert seen.at(one.pid) == native.glance(one.pid) != seen.at(other.pid)
    assert len(held() - before) == (2 if procfs.COUNTS_FILES else 0)
    one.kill()
    one.wait()
    assert seen.at(one.pid) == (0, 0)
    assert seen.at(other.pid) == native.glance(other.pid)
    seen.keep(set())
    assert held() == before


@counts
def test_it_sees_how_many_files_are_open(tmp_path: Path) -> None:
    """Of this process: one more, one less."""
    seen = Glances()
    seen.at(os.getpid())
    inode, size = seen.at(os.getpid())
    with (tmp_path / "file").open("w"):
        assert seen.at(os.getpid()) == (inode, size + 1)
    assert seen.at(os.getpid()) == (inode, size)


@counts
def test_few_descriptors_are_held(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others are seen as well; those of a table that nobody has any more are closed."""
    monkeypatch.setattr(glances, "MAX_HELD", 2)
    before, seen, running = held(), Glances(), [start() for _ in range(4)]
    for process in running * 2:
        assert seen.at(process.pid) == native.glance(process.pid)
    assert len(held() - before) == 2
    del seen
    assert held() == before


def test_an_old_kernel_is_asked_each_time(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """A descriptor would not tell there that the process is gone."""
    monkeypatch.setattr(procfs, "COUNTS_FILES", False)
    before, seen, one = held(), Glances(), start()
    for _ in range(2):
        assert seen.at(one.pid) == native.glance(one.pid)
    assert held() == before
