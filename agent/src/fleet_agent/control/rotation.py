"""A log of bounded size: what is written last stays, what was lost is counted.

The log PATH is kept in segments PATH.START, START being how many bytes of the log came before. The newest is
appended to; once it is full another begins, and all but the newest two are removed. So a position in the log
means the same for ever, a reader follows across segments, and the start of the oldest one says exactly how much
is gone. One process writes; any number read.
"""

import os
from collections.abc import Callable

import msgspec

from fleet_agent.files import open_regular

KEPT_SEGMENTS = 2
READ_BYTES = 256 << 10  # a good piece to read at once
_MODE = 0o600


class Appender:
    """Appends to the log at `path`, in segments of at most `segment_bytes`.

    `lost_bytes`: what could not be written, as on a full disk. Such data is dropped whole: what is in the log
    is never a part of what was appended.
    """

    def __init__(self, path: str, segment_bytes: int) -> None:
        self.lost_bytes = 0
        self._path = path
        self._segment_bytes = segment_bytes
        self._start, self._size = _end(path)
        self._fd: int | None = None

    def append(self, data: bytes) -> bool:
        """Whether it was written."""
        try:
            if self._size and self._size + len(data) > self._segment_bytes:
                self._begin_segment()
            if self._fd is None:
                self._fd = _open(_segment(self._path, self._start))
            self._write(self._fd, data)
        except OSError:
            self.lost_bytes += len(data)
            return False
        self._size += len(data)
        return True

    def close(self) -> None:
        """Nothing more comes."""
        if self._fd is not None:
            os.close(self._fd)
        self._fd = None

    def _begin_segment(self) -> None:
        self.close()
        self._start, self._size = self._start + self._size, 0
        for start in segments(self._path)[: 1 - KEPT_SEGMENTS]:
            os.unlink(_segment(self._path, start))

    def _write(self, fd: int, data: bytes) -> None:
        written_bytes = 0
        try:
            written_bytes = os.write(fd, data)
        finally:
            if written_bytes != len(data):
                os.ftruncate(fd, self._size)
        if written_bytes != len(data):
            raise OSError("it was written in part only")


class Piece(msgspec.Struct, frozen=True):
    """What a reader got. `dropped_bytes` are missing before it: they came and went unread."""

    data: bytes = b""
    dropped_bytes: int = 0


class Reader:
    """Reads the log at `path` from `position` on, the log's first byte being 0."""

    def __init__(self, path: str, position: int = 0) -> None:
        self.position = position
        self._path = path

    def read(self, limit_bytes: int) -> Piece:
        """The next bytes, none if there are none yet."""
        starts = segments(self._path)
        if not starts:
            return Piece()
        dropped_bytes = max(0, starts[0] - self.position)
        self.position += dropped_bytes
        start = max(start for start in starts if start <= self.position)
        data = _read(_segment(self._path, start), self.position - start, limit_bytes)
        self.position += len(data)
        return Piece(data, dropped_bytes)


class Lines:
    """The whole lines of a log, from `position` on; after a gap it goes on with the next whole line."""

    def __init__(self, path: str, position: int = 0, on_gap: Callable[[int], bytes] | None = None) -> None:
        self._reader = Reader(path, position)
        self._held = b""
        self._on_gap = on_gap

    def read(self, limit_bytes: int) -> list[bytes]:
        """The next lines, without their ends; none only if there are none yet.

        About `limit_bytes` of them, or one that is longer. In the place of a gap: what `on_gap` makes of it.
        """
        found: list[bytes] = []
        while not found:
            piece = self._reader.read(limit_bytes)
            if piece.dropped_bytes:
                self._held = b""
                found += [self._on_gap(piece.dropped_bytes)] if self._on_gap else []
            *whole, self._held = (self._held + piece.data).split(b"\n")
            found += whole
            if not piece.data:
                break
        return found


def segments(path: str) -> list[int]:
    """Where the segments of the log start, oldest first."""
    directory, name = os.path.split(path)
    prefix = f"{name}."
    try:
        names = os.listdir(directory)
    except OSError:
        return []
    ends = (found.removeprefix(prefix) for found in names if found.startswith(prefix))
    return sorted(int(end) for end in ends if end.isdecimal())


def total_bytes(path: str) -> int:
    """How many bytes were appended so far."""
    return sum(_end(path))


def _end(path: str) -> tuple[int, int]:
    """Start and size of the newest segment."""
    start = max(segments(path), default=0)
    try:
        return start, os.stat(_segment(path, start)).st_size
    except OSError:
        return start, 0


def _segment(path: str, start: int) -> str:
    return f"{path}.{start}"


def _open(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, _MODE)


def _read(path: str, offset: int, limit_bytes: int) -> bytes:
    try:
        fd = open_regular(path)
    except OSError:
        return b""
    try:
        return os.pread(fd, limit_bytes, offset)
    except OSError:
        return b""
    finally:
        os.close(fd)
