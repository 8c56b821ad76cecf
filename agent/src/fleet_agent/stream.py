"""The stream: hello, then the host whenever it changed, until stdin closes.

Frames      readings in, lines out; pure
Commands    what a collector writes to stdin, read by a thread
run         the loop that joins them
"""

import os
import queue
import threading
import time
from collections.abc import Callable

import msgspec

from fleet_agent import encode
from fleet_agent.scan import Reading
from fleet_agent.wire import Head, Heartbeat, Hello

EOF_GRACE_S = 1.5  # how long the loop may take to end by itself once stdin has closed
NICENESS = 10
FIGURES_EVERY_S = 10.0  # CPU and memory alone: a person sees them move, and a host that idles stays quiet
_MAX_COMMAND_BYTES = 64 << 10
_READ_BYTES = 4096

REFRESH = "refresh"
END = "end"

_decode_head = msgspec.json.Decoder(Head).decode


class Frames:
    """Decides what to send for each reading: a snapshot if anything happened, else a heartbeat.

    Figures that always change (CPU, memory) make a snapshot only every `FIGURES_EVERY_S`.
    """

    def __init__(self) -> None:
        self._seq = 0
        self._last: Reading | None = None

    def of(self, reading: Reading, full: bool) -> list[bytes]:
        """The lines for one reading. `full` asks for a snapshot in any case."""
        self._seq += 1
        if not full and self._last and self._is_no_news(reading, self._last):
            return [encode.line(Heartbeat(self._seq, reading.now))]
        self._last = reading
        return encode.snapshot_lines(reading, self._seq)

    @staticmethod
    def _is_no_news(reading: Reading, sent: Reading) -> bool:
        recent = 0 <= reading.now - sent.now < FIGURES_EVERY_S  # by a clock that may be set
        return reading.says_the_same(sent) and (recent or reading.figures_as(sent))


class CommandSplitter:
    """Bytes of stdin in, commands out. A line that is none is passed over, one without an end is dropped."""

    def __init__(self) -> None:
        self._held = b""

    def feed(self, data: bytes) -> list[str]:
        """The commands that `data` completes: `REFRESH`."""
        *lines, self._held = (self._held + data).split(b"\n")
        if len(self._held) > _MAX_COMMAND_BYTES:
            self._held = b""
        return [REFRESH for line in lines if _type(line) == REFRESH]


class Commands:
    """What stdin says. Its thread also makes sure of the end: once stdin has closed, the process is gone soon.

    Even when a scan or a write is stuck: an agent must never outlive its collector.
    """

    def __init__(self, fd: int, end_process: Callable[[int], None] = os._exit) -> None:
        self._fd = fd
        self._end_process = end_process
        self._queue: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(target=self._read, name="stdin", daemon=True).start()

    def wait(self, timeout_s: float) -> set[str]:
        """What was commanded: at once if there is something, else in at most `timeout_s`."""
        commands = set()
        try:
            commands.add(self._queue.get(timeout=max(0.0, timeout_s)))
            while True:
                commands.add(self._queue.get_nowait())
        except queue.Empty:
            return commands

    def _read(self) -> None:
        splitter = CommandSplitter()
        while data := self._read_some():
            for command in splitter.feed(data):
                self._queue.put(command)
        self._queue.put(END)
        time.sleep(EOF_GRACE_S)
        self._end_process(0)

    def _read_some(self) -> bytes:
        try:
            return os.read(self._fd, _READ_BYTES)
        except OSError:
            return b""


def run(
    hello: Hello,
    scan: Callable[[], Reading],
    write: Callable[[bytes], None],
    wait: Callable[[float], set[str]],
    interval_s: float,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Write hello and a snapshot at once, then a frame each `interval_s`, and one at once for each refresh."""
    frames = Frames()
    write(encode.line(hello))
    commands: set[str] = {REFRESH}
    while END not in commands:
        due_s = clock() + interval_s
        for line in frames.of(scan(), full=REFRESH in commands):
            write(line)
        commands = wait(due_s - clock())


def write_all(fd: int, data: bytes) -> None:
    """Write all of `data`. Raises `OSError`."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _type(line: bytes) -> str:
    try:
        return _decode_head(line).type
    except (ValueError, RecursionError):
        return ""
