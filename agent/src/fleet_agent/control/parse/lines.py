"""A tool's output, in whatever pieces it comes -> lines -> session events. Pure."""

from collections.abc import Callable, Iterator

from fleet_agent.control.events import Event
from fleet_agent.control.parse.values import unreadable
from fleet_agent.tail import Line, LineSplitter

MAX_LINE_BYTES = 4 << 20  # codex writes the whole output of a command, which may be MiBs, into one line


class SizedLines:
    """Bytes in, lines out, each with how long it was: of one that is too long, a splitter keeps only the head.

    Nothing is kept but the line that is not complete yet; `held_bytes` is how long that is so far.
    """

    def __init__(self, max_line_bytes: int = MAX_LINE_BYTES) -> None:
        self.held_bytes = 0
        self._splitter = LineSplitter(max_line_bytes)

    def feed(self, data: bytes) -> Iterator[tuple[Line, int]]:
        """The lines that `data` completes, and their sizes without the newline."""
        return zip(self._splitter.feed(data), self._sizes(data), strict=True)

    def _sizes(self, data: bytes) -> Iterator[int]:
        start = 0
        while (end := data.find(b"\n", start)) >= 0:
            yield self.held_bytes + end - start
            start, self.held_bytes = end + 1, 0
        self.held_bytes += len(data) - start


class LineReader:
    """Hands each line to a parser. A line of more than `max_line_bytes` is a `Failure` that counts its bytes.

    reader = LineReader(ExecJson().feed)
    events = reader.feed(pipe.read())        # ... and reader.end() when the tool has closed it
    """

    def __init__(self, parse: Callable[[bytes], list[Event]], max_line_bytes: int = MAX_LINE_BYTES) -> None:
        self._parse = parse
        self._lines = SizedLines(max_line_bytes)

    def feed(self, data: bytes) -> list[Event]:
        """The events of the lines that `data` completes."""
        lines = self._lines.feed(data)
        return [event for line, size_bytes in lines for event in events_of(line, size_bytes, self._parse)]

    def end(self) -> list[Event]:
        """The events of a last line without a newline: what a tool had written when it was killed."""
        return self.feed(b"\n") if self._lines.held_bytes else []


def events_of(line: Line, size_bytes: int, parse: Callable[[bytes], list[Event]]) -> list[Event]:
    """What a parser makes of a line, which was so long; an error of one that was too long."""
    if line.cut:
        return [unreadable("A line was too long", line.data, size_bytes)]
    return parse(line.data) if line.data.strip() else []
