"""fleet_agent.control.rotation: logs that end nowhere and stay small."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fleet_agent.control import rotation
from fleet_agent.control.rotation import Appender, Lines, Reader


def size_of(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.iterdir())


def test_a_log_is_bounded_and_its_end_stays(tmp_path: Path) -> None:
    """Never more than two segments on the disk; what came last is there, the start of it is known exactly."""
    path = str(tmp_path / "log")
    log = Appender(path, 1000)
    lines = [b"%06d\n" % number for number in range(2000)]
    for line in lines:
        assert log.append(line)
        assert size_of(tmp_path) <= 2000
    log.close()
    whole = b"".join(lines)
    assert rotation.total_bytes(path) == len(whole)
    first, *rest = Lines(path, on_gap=lambda dropped_bytes: b"gap %d" % dropped_bytes).read(1 << 20) + Lines(
        path, rotation.segments(path)[1]
    ).read(1 << 20)
    dropped_bytes = int(first.removeprefix(b"gap "))
    assert whole[dropped_bytes:] == b"\n".join(rest) + b"\n"
    assert dropped_bytes == rotation.segments(path)[0]


def test_a_reader_follows_across_segments(tmp_path: Path) -> None:
    """Who reads as fast as is written gets all, once, whatever the pieces."""
    path = str(tmp_path / "log")
    log, lines, got = Appender(path, 100), Lines(path), []
    wanted = [b"line %d" % number for number in range(500)]
    for line in wanted:
        log.append(line + b"\n")
        got += lines.read(7)
    while more := lines.read(7):
        got += more
    assert got == wanted
    log.close()


def test_a_slow_reader_is_told_what_it_missed(tmp_path: Path) -> None:
    """A gap is exact, comes in its place, and what follows begins with a whole line."""
    path = str(tmp_path / "log")
    log = Appender(path, 100)
    log.append(b"fi")
    lines = Lines(path, on_gap=lambda dropped_bytes: b"gap %d" % dropped_bytes)
    assert lines.read(3) == []
    log.append(b"rst\n")
    for number in range(100):
        log.append(b"%09d\n" % number)
    gap, next_line, *_ = lines.read(1000)
    start = rotation.segments(path)[0]
    assert gap == b"gap %d" % (start - 2)
    assert int(next_line) == (start - 6) // 10
    log.close()


def test_a_log_goes_on_where_it_was(tmp_path: Path) -> None:
    """A second writer, after the first, appends."""
    path = str(tmp_path / "log")
    for word in (b"one\n", b"two\n"):
        log = Appender(path, 100)
        log.append(word)
        log.close()
    assert Reader(path).read(100).data == b"one\ntwo\n"
    assert Reader(path, 4).read(100).data == b"two\n"
    assert Reader(str(tmp_path / "other")).read(100).data == b""
    assert rotation.total_bytes(str(tmp_path / "other")) == 0


FULL = """
import resource, sys
from fleet_agent.control.rotation import Appender
log = Appender(sys.argv[1], 1 << 20)
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 200))
assert all(log.append(b"x" * 29 + b"\\n") for _ in range(3))
assert not log.append(b"y" * 29 + b"\\n")
assert not log.append(b"z" * 299 + b"\\n")
assert log.lost_bytes == 330
resource.setrlimit(resource.RLIMIT_FSIZE, (200, 200))
assert log.append(b"after\\n")
"""


def test_a_full_disk_loses_whole_lines_and_counts_them(tmp_path: Path) -> None:
    """What does not fit is not there in part; when there is room again it goes on."""
    done = subprocess.run([sys.executable, "-c", FULL, str(tmp_path / "log")], capture_output=True, text=True)
    assert done.stderr == ""
    lines = Lines(str(tmp_path / "log")).read(1000)
    assert lines == [b"x" * 29] * 3 + [b"after"]


def test_a_log_is_its_owners_alone(tmp_path: Path) -> None:
    """Files are 0600 whatever the umask; a link in their place is not followed."""
    before = os.umask(0)
    try:
        log = Appender(str(tmp_path / "log"), 100)
        log.append(b"x\n")
        log.close()
    finally:
        os.umask(before)
    assert (tmp_path / "log.0").stat().st_mode & 0o777 == 0o600
    (tmp_path / "other.0").symlink_to(tmp_path / "log.0")
    assert not Appender(str(tmp_path / "other"), 100).append(b"y\n")
    assert (tmp_path / "log.0").read_bytes() == b"x\n"


@pytest.mark.parametrize("size", [1, 99, 100, 101, 1000])
def test_one_line_may_be_longer_than_a_segment(tmp_path: Path, size: int) -> None:
    """It has a segment of its own: nothing is cut."""
    path = str(tmp_path / "log")
    log = Appender(path, 100)
    for _ in range(3):
        log.append(b"x" * (size - 1) + b"\n")
    log.close()
    assert b"x" * (size - 1) in Lines(path).read(1 << 20)
