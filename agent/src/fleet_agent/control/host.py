"""What every verb works on: the runs of this host, its environment, this program, and whoever asks."""

import asyncio
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

import msgspec

from fleet_agent.control.store import Store, state_root
from fleet_agent.control.wire import MAX_REQUEST_BYTES, Reply
from fleet_agent.tail import LineSplitter

_READ_BYTES = 64 << 10

_encode = msgspec.json.Encoder().encode


class Host:
    """This host, for this user. `agent`: how this very program is started, without its arguments."""

    def __init__(self, environ: Mapping[str, str], agent: Sequence[str]) -> None:
        self.environ = environ
        self.agent = agent
        self.store = Store(state_root(environ))

    @property
    def home(self) -> str:
        """The user's home directory."""
        return self.environ.get("HOME") or os.path.expanduser("~")


class Asker:
    """Whoever asks: lines of its requests in, lines of replies out. `write` takes whole lines."""

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self.write = write
        self.gone = asyncio.Event()  # no more requests come
        self._lines: asyncio.Queue[bytes | None] = asyncio.Queue()

    def say(self, reply: Reply) -> None:
        """Send one reply."""
        self.write(_encode(reply) + b"\n")

    async def next(self) -> bytes | None:
        """The next request's line, empty if it is too long; None when no more come."""
        line = await self._lines.get()
        if line is None:
            self._lines.put_nowait(None)  # for whoever asks again
        return line

    def feed(self, line: bytes | None) -> None:
        """A request's line has come; None: the last one."""
        if line is None:
            self.gone.set()
        self._lines.put_nowait(line)

    def read(self, fd: int) -> None:
        """Take requests from a file descriptor from now on, in a thread: a pipe, a file, a terminal."""
        loop = asyncio.get_running_loop()

        def feed(line: bytes | None) -> None:
            loop.call_soon_threadsafe(self.feed, line)

        threading.Thread(target=_read_lines, args=(fd, feed), name="stdin", daemon=True).start()


def _read_lines(fd: int, feed: Callable[[bytes | None], None]) -> None:
    splitter = LineSplitter(MAX_REQUEST_BYTES)
    with suppress(OSError, RuntimeError):  # it hung up, or the loop has ended
        while data := os.read(fd, _READ_BYTES):
            for line in splitter.feed(data):
                feed(b"" if line.cut else line.data)
    with suppress(RuntimeError):  # the loop has ended before
        feed(None)
