"""fleet_agent.tail: growing JSONL files."""

import os
import tempfile
import threading
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet_agent import tail as tail_module
from fleet_agent.tail import (
    CUT_BYTES,
    MAX_LINE_BYTES,
    Budget,
    Line,
    LineSplitter,
    Source,
    Tail,
    lines_from,
)

PLENTY = 1 << 40
pieces = st.lists(st.binary(max_size=12).map(lambda b: b.replace(b"\r", b"\n")), max_size=30)


def read(tail: Tail, budget_bytes: int = PLENTY) -> list[Line]:
    """What a tail has to say, read as its users read it."""
    if not tail.changed():
        return []
    with Source(tail.path) as source:
        if tail.is_new(source):
            tail.start(source, 0)
        return list(tail.lines(source, Budget(budget_bytes)))


@settings(deadline=None)
@given(pieces)
def test_the_pieces_in_which_bytes_come_do_not_matter(chunks: list[bytes]) -> None:
    """Line splitting is chunk-invariant, also for lines that are too long and are cut."""
    splitter = LineSplitter(max_line_bytes=8)
    split = [line for chunk in chunks for line in splitter.feed(chunk)]
    assert split == list(LineSplitter(max_line_bytes=8).feed(b"".join(chunks)))
    whole = b"".join(chunks).split(b"\n")[:-1]
    assert split == [Line(line) if len(line) <= 8 else Line(line[:8], cut=True) for line in whole]


@settings(deadline=None)
@given(pieces, st.integers(1, 20))
def test_reading_while_a_file_grows_gives_every_line_once(chunks: list[bytes], budget_bytes: int) -> None:
    """Whenever a growing file is looked at, and however little is read each time: all lines, once, in order."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "grows.jsonl"
        path.touch()
        tail, seen = Tail(str(path)), []
        for chunk in chunks:
            with path.open("ab") as file:
                file.write(chunk)
            seen += read(tail, budget_bytes + 12)
        for _ in range(400):
            if not tail.behind:
                break
            seen += read(tail, budget_bytes + 12)
        assert not tail.behind
        assert [line.data for line in seen] == b"".join(chunks).split(b"\n")[:-1]


def test_a_partial_last_line_waits_until_it_is_whole(tmp_path: Path) -> None:
    """Half a line is never taken for a line, and nothing of it is kept between two readings."""
    path = tmp_path / "f"
    path.write_bytes(b"one\ntw")
    tail = Tail(str(path))
    assert read(tail) == [Line(b"one")]
    assert read(tail) == []
    path.write_bytes(b"one\ntwo\n")
    assert read(tail) == [Line(b"two")]


def test_a_file_that_did_not_change_is_not_opened(tmp_path: Path) -> None:
    """An idle session costs one stat a tick."""
    path = tmp_path / "f"
    path.write_bytes(b"one\n")
    tail = Tail(str(path))
    read(tail)
    assert not tail.changed()


@pytest.mark.parametrize("text", [b"b long first line\n", b"b long first line\nand a second\n"])
def test_a_file_that_was_written_anew_is_read_anew(tmp_path: Path, text: bytes) -> None:
    """The same inode, cut to nothing and filled again between two looks, with as much or more: all is new."""
    path = tmp_path / "f"
    path.write_bytes(b"a long first line\n")
    tail = Tail(str(path))
    read(tail)
    path.write_bytes(text)
    os.utime(path, (1, 1))  # a clock that stands still must not hide it here
    assert [line.data + b"\n" for line in read(tail)] == text.splitlines(keepends=True)


def test_one_reading_takes_a_bounded_number_of_lines(tmp_path: Path) -> None:
    """A line costs time however short it is: millions of empty ones are read a part at a time."""
    path = tmp_path / "f"
    path.write_bytes(b"\n" * 1_000_000 + b"last\n")
    tail, seen, readings = Tail(str(path)), 0, 0
    with Source(str(path)) as source:
        tail.start(source, 0)
        while tail.behind or not readings:
            before, budget = seen, Budget(PLENTY, limit_lines=300_000)
            seen += sum(1 for _ in tail.lines(source, budget))
            readings += 1
            assert seen - before < 300_000 + (256 << 10)
    assert (seen, readings) == (1_000_001, 2)


@pytest.mark.parametrize("replace", [True, False], ids=["replaced", "truncated"])
def test_a_replaced_or_truncated_file_is_read_anew(tmp_path: Path, replace: bool) -> None:
    """Another inode, or fewer bytes than were read, means another file."""
    path = tmp_path / "f"
    path.write_bytes(b"a long first line\n")
    tail = Tail(str(path))
    assert read(tail) == [Line(b"a long first line")]
    if replace:
        (tmp_path / "g").write_bytes(b"a long first line\nand a second\n")
        (tmp_path / "g").replace(path)
        assert read(tail) == [Line(b"a long first line"), Line(b"and a second")]
    else:
        path.write_bytes(b"new\n")
        assert read(tail) == [Line(b"new")]


def test_a_line_of_megabytes_is_cut_to_its_head(tmp_path: Path) -> None:
    """A line past the bound is handed out cut, the lines around it whole."""
    path = tmp_path / "f"
    path.write_bytes(b"before\n" + b"x" * (MAX_LINE_BYTES + 1) + b"\nafter\n")
    assert read(Tail(str(path))) == [Line(b"before"), Line(b"x" * CUT_BYTES, cut=True), Line(b"after")]


def test_a_long_line_that_is_still_written_costs_nothing_twice(tmp_path: Path) -> None:
    """What was read of an endless line is not read again at the next look."""
    path = tmp_path / "f"
    path.write_bytes(b"y" * (MAX_LINE_BYTES + 100))
    tail = Tail(str(path))
    assert read(tail) == []
    with path.open("ab") as file:
        file.write(b"y" * 1000 + b"\nnext\n")
    budget = Budget(PLENTY)
    with Source(str(path)) as source:
        assert list(tail.lines(source, budget)) == [Line(b"y" * CUT_BYTES, cut=True), Line(b"next")]
    assert PLENTY - budget.left_bytes == 1006


@settings(deadline=None)
@given(
    st.lists(st.sampled_from([b"a", b"bb", b"MARK", b"xMARKx", b"OTHER", b""]), max_size=40), st.integers(0, 60)
)
def test_searching_backwards_finds_the_last_line_with_a_marker(lines: list[bytes], reach_bytes: int) -> None:
    """The start of the last line that holds a marker, as a plain search over the whole text finds it."""
    text = b"".join(line + b"\n" for line in lines)
    with tempfile.NamedTemporaryFile() as file:
        file.write(text)
        file.flush()
        with Source(file.name) as source:
            assert source.end_of_lines() == len(text)
            found = source.last_line_with((b"MARK", b"OTHER"), len(text), reach_bytes)
    floor = max(0, len(text) - reach_bytes)
    hit = max(text.rfind(b"MARK", floor), text.rfind(b"OTHER", floor))
    assert found == (None if hit < 0 else text.rfind(b"\n", 0, hit) + 1)


def test_searching_backwards_works_across_blocks(tmp_path: Path) -> None:
    """A marker that lies on the border of two blocks of the search is found."""
    path = tmp_path / "f"
    for before in range(1 << 20, (1 << 20) + 8):
        path.write_bytes(b"first\nMARK" + b"." * (before - 8) + b"\n")
        with Source(str(path)) as source:
            assert source.last_line_with((b"MARK",), source.size, PLENTY) == 6


def test_searching_backwards_passes_over_the_inside_of_a_huge_line(tmp_path: Path) -> None:
    """What stands before or in the head of a line of megabytes is found, in whatever block that head lies."""
    path = tmp_path / "f"
    for size in range((3 << 20) - 30, (3 << 20) + 30, 7):
        path.write_bytes(b"first\nMARK\nhead OTHER " + b"." * size + b"\nlast\n")
        with Source(str(path)) as source:
            assert source.last_line_with((b"MARK",), source.size, PLENTY) == 6
            assert source.last_line_with((b"OTHER", b"MARK"), source.size, PLENTY) == 11
            assert source.last_line_with((b"NONE",), source.size, PLENTY) is None


@settings(deadline=None)
@given(st.lists(st.sampled_from([b"a", b"M", b"N and more"]) | st.integers(1, 99), max_size=9), st.data())
def test_the_inside_of_a_long_line_is_searched_once(parts: list[bytes | int], data: st.DataObject) -> None:
    """Whatever was asked before, a search finds the same; where no line ends, it was right to pass on."""
    text = b"".join((b"." * part if isinstance(part, int) else part) + b"\n" for part in parts)
    with (
        tempfile.NamedTemporaryFile() as file,
        patch.object(tail_module, "_SEARCH_BLOCK_BYTES", 8),
        patch.object(tail_module, "_HEAD_BYTES", 3),
    ):
        file.write(text)
        file.flush()
        with Source(file.name) as known:
            for _ in range(3):
                markers = data.draw(st.sampled_from([(b"M",), (b"N",), (b"N", b"M")]))
                with Source(file.name) as anew:
                    expected = anew.last_line_with(markers, len(text), PLENTY)
                assert known.last_line_with(markers, len(text), PLENTY) == expected
            for start, stop in known.endless:
                assert b"\n" not in text[start:stop]
                assert known.behind_endless(start) == stop
                assert known.behind_endless(stop) == stop


def test_a_search_that_ends_inside_of_a_huge_line_finds_nothing(tmp_path: Path) -> None:
    """Its reach ends where the line was passed over before: that is no line start, and no error."""
    path = tmp_path / "f"
    path.write_bytes(b"MARK\n" + b"." * (3 << 20))
    with Source(str(path)) as source:
        assert source.last_line_with((b"MARK",), source.size, PLENTY) == 0
        assert source.last_line_with((b"MARK",), source.size, 1 << 20) is None


def test_a_file_can_be_read_into_a_buffer(tmp_path: Path) -> None:
    """Bytes from an offset, fewer at the end; other reads go on as if nothing had been."""
    path = tmp_path / "f"
    path.write_bytes(b"0123456789")
    buffer = bytearray(4)
    with Source(str(path)) as source:
        assert (source.read_into(memoryview(buffer), 3), bytes(buffer)) == (4, b"3456")
        assert (source.read_into(memoryview(buffer), 8), bytes(buffer)) == (2, b"8956")
        assert source.read(0, 2) == b"01"


def test_one_line_can_be_read_where_it_starts(tmp_path: Path) -> None:
    """A line by its offset: whole, cut when too long, None while it is incomplete."""
    path = tmp_path / "f"
    path.write_bytes(b"one\n" + b"z" * 600_000 + b"\nthree")
    with Source(str(path)) as source:
        assert source.line_at(0) == Line(b"one")
        assert source.line_at(4) == Line(b"z" * 600_000)
        assert source.line_at(4, limit_bytes=1000) == Line(b"z" * 1000, cut=True)
        assert source.line_at(600_005) is None
        assert list(lines_from(source, 0, 100)) == [Line(b"one")]
        assert list(lines_from(source, 4, 600_001)) == [Line(b"z" * 600_000)]


def test_a_fifo_in_place_of_a_file_does_not_hang(tmp_path: Path) -> None:
    """Somebody else's trap is an error at once, and no descriptor is left open."""
    os.mkfifo(tmp_path / "trap")
    before = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0
    failed: list[OSError] = []

    def attempt() -> None:
        try:
            Source(str(tmp_path / "trap"))
        except OSError as exc:
            failed.append(exc)

    thread = threading.Thread(target=attempt, daemon=True)
    thread.start()
    thread.join(5)
    assert failed
    if before:
        assert len(os.listdir("/proc/self/fd")) <= before
