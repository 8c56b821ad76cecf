"""What a tool itself has written down of a session, read from near its end, or since a time, and followed.

Files of gigabytes are taken as they are: what is held is a block and one line. An event's number is where its
line ends in the file, so it means the same for every reader, and whoever was cut off goes on behind it.
"""

from typing import Any, Protocol

import msgspec

from fleet_agent.control.events import Event, Failure
from fleet_agent.control.parse.lines import SizedLines, events_of
from fleet_agent.control.parse.rollout import RolloutLines
from fleet_agent.control.parse.transcript import Transcript
from fleet_agent.control.wire import Said
from fleet_agent.fields import epoch
from fleet_agent.tail import Source, lines_from

TAIL_BYTES = 8 << 20  # of a longer file only so much of its end is told, unless a time is asked for
READ_BYTES = 256 << 10
BEGIN_BYTES = 1 << 20  # in which it says whose it is
CONTEXT_BYTES = 1 << 20  # read again before a number: the start of a call whose end comes behind it
_NEAR_BYTES = 256 << 10  # lines so near to each other are read, not searched by time: a few are out of order
_PROBE_BYTES = 1 << 20  # in which a line with a time is looked for


class Parser(Protocol):
    """Lines -> events. `at`: the time of the last line."""

    at: float | None

    def begin(self, line: bytes) -> list[Event]:
        """Which session it is, by a line of its start."""

    def feed(self, line: bytes) -> list[Event]:
        """The events of a line."""


PARSERS: dict[str, type[Parser]] = {"codex": RolloutLines, "claude": Transcript}


class Recorded:
    """The record of one session at `path`. Close it, or use it as a context. Raises `OSError`.

    Without more the end of it; with `since_at` (epoch seconds) or `after_seq` what came later, however long;
    with `from_now` what is appended from now on.
    """

    def __init__(
        self, path: str, tool: str, *, since_at: float | None = None, after_seq: int = 0, from_now: bool = False
    ) -> None:
        self._source = Source(path)
        self._parser = PARSERS[tool]()
        self._since_at = since_at
        known = after_seq <= self._source.size  # else it is a number of another record
        self._after_seq = self._source.end_of_lines() if from_now else after_seq * known
        self._lines = SizedLines()
        start = self._start()
        self._begun = self._begin(start, is_tail=since_at is None and not self._after_seq)
        self._offset = self._line_end = start

    def __enter__(self) -> "Recorded":
        return self

    def __exit__(self, *exc: Any) -> None:
        self._source.__exit__(None, None, None)

    def read(self) -> list[Said] | None:
        """What comes next, which may be nothing of use; None if there is no more yet."""
        begun, self._begun = self._begun, []
        data = self._source.read(self._offset, READ_BYTES)
        if not data:
            return begun or None
        self._offset += len(data)
        said = []
        for line, size_bytes in self._lines.feed(data):
            self._line_end += size_bytes + 1
            said += self._numbered(events_of(line, size_bytes, self._parser.feed))
        return begun + [one for one in said if self._is_wanted(one)]

    def _numbered(self, events: list[Event]) -> list[Said]:
        """The last event of a line has the line's end for its number. No line is shorter than its events."""
        first = self._line_end - len(events) + 1
        return [Said(event, self._at, seq) for seq, event in enumerate(events, first)]

    @property
    def _at(self) -> float:
        return self._parser.at or self._source.modified_at

    def _is_wanted(self, said: Said) -> bool:
        return said.seq > self._after_seq and (self._since_at is None or said.at >= self._since_at)

    def _start(self) -> int:
        """Where the line begins that is to be read first."""
        if self._after_seq:
            return self._source.line_start(max(0, self._after_seq - CONTEXT_BYTES))
        if self._since_at is not None:
            return start_of(self._source, self._since_at)
        size_bytes = self._source.size
        return self._source.line_start(size_bytes - TAIL_BYTES) if size_bytes > TAIL_BYTES else 0

    def _begin(self, start: int, *, is_tail: bool) -> list[Said]:
        """What is to be known of the session before that line; told of a tail, with what is left out."""
        if not start:
            return []
        end = 0
        for line in lines_from(self._source, 0, min(start, BEGIN_BYTES)):
            end += len(line.data) + 1
            if events := [] if line.cut else self._parser.begin(line.data):
                break
        else:
            events = []
        if not is_tail:
            return []
        gap = Failure(
            f"what was said before is only in the record itself, its first {start} bytes",
            source="stream",
            dropped_bytes=start,
        )
        return [*(Said(event, self._at, end) for event in events), Said(gap, self._at)]


def start_of(source: Source, since_at: float) -> int:
    """Where to begin to find all lines since a time: they are nearly in order, so it is found by halves."""
    low, high = 0, source.end_of_lines()
    while high - low > _NEAR_BYTES:
        middle = source.line_start((low + high) // 2)
        if middle <= low:
            break  # one line is longer than all the rest
        at = _time_at(source, middle)
        low, high = (low, middle) if at is None or at >= since_at else (middle, high)
    return source.line_start(max(0, low - _NEAR_BYTES))


class _Stamped(msgspec.Struct):
    timestamp: Any = None


_decode = msgspec.json.Decoder(_Stamped).decode


def _time_at(source: Source, start: int) -> float | None:
    """The time of the first line from `start` on that has one."""
    for line in lines_from(source, start, _PROBE_BYTES):
        try:
            at = None if line.cut else epoch(_decode(line.data).timestamp)
        except (ValueError, RecursionError):
            continue
        if at is not None:
            return at
    return None
