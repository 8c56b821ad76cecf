"""Growing JSONL files, read from their end once and then only where they grew.

    LineSplitter    bytes in, lines out; pure
    Source          an open file: positioned reads, and the search for a line backwards from the end
    Tail            remembers how far a file was read, and notices when it was replaced or cut

Rollouts grow to gigabytes and single lines to 100 MiB; nothing here keeps more than one line of at most
`MAX_LINE_BYTES`, and only while it is being read.
"""

import os
from collections.abc import Iterator
from types import TracebackType
from typing import ClassVar

import msgspec

from fleet_agent.files import open_regular

MAX_LINE_BYTES = 4 << 20  # a longer line is handed out cut: its head says what it is
CUT_BYTES = 4096
_BLOCK_BYTES = 256 << 10
_SEARCH_BLOCK_BYTES = 256 << 10
_HEAD_BYTES = 256  # in which a line says what it is
_SEEN_BYTES = 256  # the end of what was read: by it another text in the same file is noticed
_MAX_LINES = 500_000  # in one reading: each takes 2 us or more, however short it is


class Line(msgspec.Struct, frozen=True, gc=False):
    """One line without its newline; `cut` when it was too long and only its first `CUT_BYTES` are here."""

    data: bytes
    cut: bool = False


class LineSplitter:
    """Bytes in, lines out. The pieces in which the bytes come do not matter."""

    def __init__(self, max_line_bytes: int = MAX_LINE_BYTES) -> None:
        self._max_line_bytes = max_line_bytes
        self._cut_bytes = min(CUT_BYTES, max_line_bytes)
        self._held = bytearray()
        self.cutting = False  # inside of a line that is too long; `_held` is its head

    def feed(self, data: bytes) -> Iterator[Line]:
        """The lines that `data` completes."""
        end = data.find(b"\n")
        if end < 0:
            self._hold(data)
            return
        self._hold(data[:end])
        yield Line(bytes(self._held), cut=True) if self.cutting else self._line(bytes(self._held))
        *lines, rest = data[end + 1 :].split(b"\n")
        for line in lines:
            yield self._line(line)
        self._held, self.cutting = bytearray(), False
        self._hold(rest)

    def _hold(self, data: bytes) -> None:
        """Keep the next part of a line that is not complete; of one that is too long its head."""
        if not self.cutting:
            self._held += data
            if len(self._held) > self._max_line_bytes:
                self._held, self.cutting = self._held[: self._cut_bytes], True

    def release(self) -> int:
        """Forget the incomplete last line; how many bytes the reader must step back to see it again."""
        if self.cutting:
            return 0
        held, self._held = len(self._held), bytearray()
        return held

    def _line(self, data: bytes) -> Line:
        return Line(data) if len(data) <= self._max_line_bytes else Line(data[: self._cut_bytes], cut=True)


class Source:
    """An open regular file. Close it, or use it as a context."""

    read_bytes: ClassVar[int] = 0  # from all of them, since the process began

    def __init__(self, path: str, endless: list[tuple[int, int]] | None = None) -> None:
        """`endless` is what an earlier reading of this file found: see there."""
        self.fd = open_regular(path)
        # Stretches (from, to) in which no line ends, of a block or more: they are passed over from then on.
        self.endless = [] if endless is None else endless
        status = os.fstat(self.fd)
        self.identity = (status.st_dev, status.st_ino)
        self.size = status.st_size
        self.modified_at = status.st_mtime

    def __enter__(self) -> "Source":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self.fd)

    def read(self, offset: int, size_bytes: int) -> bytes:
        """At most `size_bytes` from `offset`, fewer at the end of the file."""
        data = os.pread(self.fd, size_bytes, offset)
        Source.read_bytes += len(data)
        return data

    def read_into(self, buffer: memoryview, offset: int) -> int:
        """Fill `buffer` from `offset` on; how many bytes there were."""
        os.lseek(self.fd, offset, os.SEEK_SET)
        size_bytes = os.readv(self.fd, [buffer])
        Source.read_bytes += size_bytes
        return size_bytes

    def behind_endless(self, offset: int) -> int:
        """`offset`, or the end of the stretch without a newline that it is in."""
        return next((stop for start, stop in self.endless if start <= offset < stop), offset)

    def line_at(self, offset: int, limit_bytes: int = MAX_LINE_BYTES) -> Line | None:
        """The line that starts at `offset`, cut if longer than the limit; None while it is not complete."""
        splitter, position = LineSplitter(limit_bytes), offset
        while position - offset <= limit_bytes:
            block = self.read(position, _BLOCK_BYTES)
            if not block:
                return None
            for line in splitter.feed(block):
                return line
            position += len(block)
        return Line(self.read(offset, min(CUT_BYTES, limit_bytes)), cut=True)

    def end_of_lines(self) -> int:
        """The offset behind the last newline: what follows is a line that is still being written."""
        return self._find_back((b"\n",), self.size, 0) + 1

    def line_start(self, offset: int) -> int:
        """Where the line begins that has its byte, or its newline, at `offset`."""
        return self._find_back((b"\n",), offset, 0) + 1

    def last_line_with(self, markers: tuple[bytes, ...], end: int, reach_bytes: int) -> int | None:
        """Where the last line before `end` starts that holds one of `markers`; None if none is in reach."""
        floor = max(0, end - reach_bytes)
        hit = self._find_back(markers, end, floor)
        return None if hit < 0 else self._find_back((b"\n",), hit, 0) + 1

    def _find_back(self, wanted: tuple[bytes, ...], end: int, floor: int) -> int:
        """The last offset in [floor, end) where one of `wanted` begins, or -1. Holds one block at a time.

        What is wanted is a newline or in the head of a line: the inside of a line of megabytes is passed over.
        `rfind` of a longer string takes a nanosecond a byte; `in`, which skips, says whether it is worth it.
        """
        start = end
        while (start := self._before_endless(start)) > floor:
            stop, start = min(end, start + _HEAD_BYTES), max(floor, start - _SEARCH_BLOCK_BYTES)
            block = self.read(start, stop - start)
            if start and b"\n" not in block:
                self._note_endless(start, stop)
                continue
            found = [block.rfind(one) for one in wanted if one in block]
            if found:
                return start + max(found)
        return -1

    def _before_endless(self, offset: int) -> int:
        """`offset`, or the start of the stretch without a newline that it is in or ends."""
        return next((start for start, stop in self.endless if start < offset <= stop), offset)

    def _note_endless(self, start: int, stop: int) -> None:
        """The block [start, stop) has no newline: alone, or before the stretch that was found last."""
        if self.endless and start < self.endless[-1][0] <= stop:
            stop = self.endless.pop()[1]
        self.endless.append((start, stop))


class Budget:
    """How many bytes and lines one reading of the host may still take from files."""

    def __init__(self, limit_bytes: int, limit_lines: int = _MAX_LINES) -> None:
        self.left_bytes = limit_bytes
        self._left_lines = limit_lines

    def take(self, block: bytes) -> None:
        """`block` was read, and its lines are about to be."""
        self.left_bytes -= len(block)
        self._left_lines -= block.count(b"\n")

    @property
    def is_spent(self) -> bool:
        """Whether nothing more may be read."""
        return self.left_bytes <= 0 or self._left_lines <= 0


class Tail:
    """How far one file has been read."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.behind = False  # more is there than was read: the budget was spent
        self._offset = 0
        self._identity: tuple[int, int] | None = None
        self._seen: tuple[int, ...] = ()
        self._read_last = b""  # what stands before `_offset`
        self._splitter = LineSplitter()

    def changed(self) -> bool:
        """Whether there is anything new to read. Raises `OSError` when the file cannot be seen."""
        status = os.stat(self.path)
        seen = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
        if seen == self._seen and not self.behind:
            return False
        self._seen = seen
        return True

    def is_new(self, source: Source) -> bool:
        """Never read before, or another file in its place, or another text in it than was read."""
        if self._identity != source.identity or source.size < self._offset:
            return True
        return self._before_offset(source) != self._read_last

    def start(self, source: Source, offset: int) -> None:
        """Read from `offset` on, which is the start of a line."""
        self._identity, self._offset, self._splitter = source.identity, offset, LineSplitter()
        self._read_last = self._before_offset(source)

    def lines(self, source: Source, budget: Budget) -> Iterator[Line]:
        """The complete lines that were not read yet. A partial last line is held back until it is whole."""
        self.behind = False
        while self._offset < source.size:
            if budget.is_spent:
                self.behind = True
                break
            block = source.read(self._offset, min(_BLOCK_BYTES, source.size - self._offset, budget.left_bytes))
            if not block:
                break
            self._offset += len(block)
            budget.take(block)
            yield from self._splitter.feed(block)
            if self._splitter.cutting:
                self._offset = min(source.behind_endless(self._offset), source.size)
        if not self.behind:  # else the next reading goes on in the middle of this line
            self._offset -= self._splitter.release()
        self._read_last = self._before_offset(source)

    def _before_offset(self, source: Source) -> bytes:
        size_bytes = min(_SEEN_BYTES, self._offset)
        return source.read(self._offset - size_bytes, size_bytes)


def lines_from(source: Source, start: int, limit_bytes: int) -> Iterator[Line]:
    """The lines from `start` on, which is the start of a line, as many as end within `limit_bytes`."""
    splitter, offset, end = LineSplitter(), start, start + limit_bytes
    while offset < end and (block := source.read(offset, min(_BLOCK_BYTES, end - offset))):
        offset += len(block)
        yield from splitter.feed(block)
