"""A tool's output, in whatever pieces it comes -> lines -> session events. Pure."""

from collections.abc import Callable, Iterator

from fleet_agent.control.parse.values import unreadable
from fleet_agent.control.wire import Event
from fleet_agent.tail import Line, LineSplitter

MAX_LINE_BYTES = 4 << 20  # codex writes the whole output of a command, which may be MiBs, into one line


class LineReader:
    """Hands each line to a parser. A line of more than `max_line_bytes` is a `Failure` that counts its bytes.

        reader = LineReader(ExecJson().feed)
        events = reader.feed(pipe.read())        # ... and reader.end() when the tool has closed it

    Nothing is kept but the line that is not complete yet.
    """

    def __init__(self, parse: Callable[[bytes], list[Event]], max_line_bytes: int = MAX_LINE_BYTES) -> None:
        self._parse = parse
        self._splitter = LineSplitter(max_line_bytes)
        self._line_bytes = 0  # of the line that is not complete yet

    def feed(self, data: bytes) -> list[Event]:
        """The events of the lines that `data` completes."""
        lines = zip(self._splitter.feed(data), self._sizes(data), strict=True)
        return [event for line, size_bytes in lines for event in self._events(line, size_bytes)]

    def end(self) -> list[Event]:
        """The events of a last line without a newline: what a tool had written when it was killed."""
        return self.feed(b"\n") if self._line_bytes else []

    def _sizes(self, data: bytes) -> Iterator[int]:
        """How long each completed line was; of a long one, a splitter keeps only the head."""
        start = 0
        while (end := data.find(b"\n", start)) >= 0:
            yield self._line_bytes + end - start
            start, self._line_bytes = end + 1, 0
        self._line_bytes += len(data) - start

    def _events(self, line: Line, size_bytes: int) -> list[Event]:
        if line.cut:
            return [unreadable("A line was too long", line.data, size_bytes)]
        return self._parse(line.data) if line.data.strip() else []
