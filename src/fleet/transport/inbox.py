"""The inbox: open connections that are read together, a moment after the first of them has something.

A processor that was idle runs code several times more slowly than one that has just run the same code: on the
machine of docs/benchmarks.md a frame of 2 KiB takes 170 us by itself and 25 us after another. And the event
loop takes 60 us to wake up for one socket, or for fifty.
"""

import asyncio
import selectors
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol, cast

READ_BYTES = 256 << 10  # of one connection at a time
HURRIED_AFTER_S = 0.005


class Reader(Protocol):
    """One that reads a connection; the part of `asyncio.Protocol` that it needs for that."""

    def data_received(self, data: bytes) -> None:
        """Take what has arrived."""

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing more will."""


class Inbox:
    """Calls `arrived` when a connection has something, and then no more until `watch` is called.

    To watch costs two system calls for each time that something arrives, and a waking-up of its own. Who knows
    that something will soon have arrived anyway lets it be, and calls `read` then.
    """

    def __init__(self, arrived: Callable[[], None]) -> None:
        self._arrived = arrived
        self._selector = selectors.DefaultSelector()  # one descriptor, readable when any of its sockets is
        self._buffer = bytearray(READ_BYTES)
        self._hurries = 0
        self._is_watched = False
        self._is_closed = False

    def join(self, sock: socket.socket, reader: Reader) -> None:
        """Read this connection with the others. Nobody else may read it."""
        self._selector.register(sock, selectors.EVENT_READ, reader)
        self.watch()

    def leave(self, sock: socket.socket) -> None:
        """Read it no more."""
        if not self._is_closed:
            self._selector.unregister(sock)

    @contextmanager
    def hurried(self) -> Iterator[None]:
        """Somebody waits: read what arrives a few milliseconds later, and what is here now."""
        self._hurries += 1
        self._read_now()
        try:
            yield
        finally:
            self._hurries -= 1

    def read(self) -> int:
        """Read all connections that have something; how many they are."""
        if self._is_closed:
            return 0
        ready = self._selector.select(0)
        for key, _ in ready:
            self._read(cast(socket.socket, key.fileobj), key.data)
        return len(ready)

    def watch(self) -> None:
        """Tell when something arrives."""
        if not self._is_watched and not self._is_closed:
            self._is_watched = True
            asyncio.get_running_loop().add_reader(self._selector.fileno(), self._ready)

    def close(self) -> None:
        """Read nothing more; who leaves later than this has left."""
        self._unwatch()
        self._selector.close()
        self._is_closed = True

    def _read(self, sock: socket.socket, reader: Reader) -> None:
        try:
            size = sock.recv_into(self._buffer)
        except BlockingIOError:
            return
        except OSError as exc:
            reader.connection_lost(exc)
            return
        if size:
            reader.data_received(bytes(memoryview(self._buffer)[:size]))
        else:
            reader.connection_lost(None)

    def _read_now(self) -> None:
        self.read()
        self.watch()

    def _unwatch(self) -> None:
        if self._is_watched:
            self._is_watched = False
            asyncio.get_running_loop().remove_reader(self._selector.fileno())

    def _ready(self) -> None:
        self._unwatch()
        if self._hurries:
            asyncio.get_running_loop().call_later(HURRIED_AFTER_S, self._read_now)
        else:
            self._arrived()
