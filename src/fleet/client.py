"""Asks the running daemon, over its Unix socket: HTTP/1.0, one request a connection.

Written on bare sockets because it is on the way of every `fleet status`: importing http.client, or an HTTP
library, takes longer than the daemon's answer. Imports neither asyncio nor msgspec.
"""

import os
import socket
import stat
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from fleet import paths

CONNECT_TIMEOUT_S = 2.0
ANSWER_TIMEOUT_S = 30.0
_MAX_HEAD_BYTES = 64 << 10
_READ_BYTES = 256 << 10
_LOCAL_PEERPID = 2


class NoDaemon(Exception):
    """No daemon answers; the text says why."""


class Answer(NamedTuple):
    """What the daemon said: HTTP status, headers with lower-case names, body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def ask(
    path: str, *, method: str = "GET", timeout_s: float = ANSWER_TIMEOUT_S, socket_path: Path | None = None
) -> Answer:
    """One request and its whole answer. Raises `NoDaemon`."""
    with connected(socket_path or paths.socket_path(os.environ), timeout_s) as sock:
        try:
            sock.sendall(request(method, path))
            raw = bytearray()
            while data := sock.recv(_READ_BYTES):
                raw += data
        except OSError as exc:
            raise NoDaemon(f"the daemon did not answer: {exc}") from None
    head, separator, body = bytes(raw).partition(b"\r\n\r\n")
    if not separator:
        raise NoDaemon("the daemon closed the connection without an answer")
    return Answer(*parse_head(head), body)


def stream(
    path: str, headers: Mapping[str, str], *, until_s: float | None = None, socket_path: Path | None = None
) -> Iterator[bytes]:
    """The lines of an answer that has no end, as they come. Raises `NoDaemon` when it cannot begin, or ends.

    With `until_s`, a time of the monotonic clock, raises `TimeoutError` then.
    """
    with connected(socket_path or paths.socket_path(os.environ), None) as sock:
        try:
            sock.sendall(request("GET", path, headers))
            lines = _lines(sock, until_s)
            status, _ = parse_head(_head(lines))
            if status != 200:
                raise NoDaemon(f"the daemon answered {status}")
            yield from lines
        except TimeoutError:
            raise
        except OSError as exc:
            raise NoDaemon(f"the connection to the daemon was lost: {exc}") from None
    raise NoDaemon("the daemon has ended")


def _lines(sock: socket.socket, until_s: float | None) -> Iterator[bytes]:
    held = bytearray()
    while True:
        if until_s is not None:
            left_s = until_s - time.monotonic()
            if left_s <= 0:
                raise TimeoutError
            sock.settimeout(left_s)
        data = sock.recv(_READ_BYTES)
        if not data:
            return
        held += data
        *whole, rest = held.split(b"\n")
        held = bytearray(rest)
        for line in whole:
            yield bytes(line) + b"\n"


@contextmanager
def connected(path: Path, timeout_s: float | None) -> Iterator[socket.socket]:
    """A connection to the socket at `path`, which must be this user's own. Raises `NoDaemon`."""
    check_own(path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(CONNECT_TIMEOUT_S)
        try:
            sock.connect(os.fspath(path))
        except OSError as exc:
            raise NoDaemon(f"no daemon listens at {path}: {exc.strerror or exc}") from None
        sock.settimeout(timeout_s)
        yield sock


def check_own(path: Path) -> None:
    """Raises `NoDaemon` unless there is a socket at `path`, and it is this user's."""
    try:
        status = os.lstat(path)
    except OSError:
        raise NoDaemon(f"no daemon is running: there is no {path}") from None
    if not stat.S_ISSOCK(status.st_mode) or status.st_uid not in (os.getuid(), 0):
        raise NoDaemon(f"{path} is not this user's socket; remove it, or set FLEET_RUNTIME_DIR")


def request(method: str, path: str, headers: Mapping[str, str] | None = None, version: str = "1.0") -> bytes:
    """The bytes of a request up to its body (RFC 1945); one whose body comes in chunks is of version 1.1."""
    lines = [
        f"{method} {path} HTTP/{version}",
        "Host: localhost",
        *(f"{name}: {value}" for name, value in (headers or {}).items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode("ascii")


def chunk(data: bytes) -> bytes:
    """A piece of a body that comes in chunks (RFC 9112, 7.1); of no data, its end."""
    return b"%x\r\n%b\r\n" % (len(data), data)


class Chunks:
    """The reading side of it: feed it bytes as they come."""

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, data: bytes) -> bytes:
        """What the chunks say that `data` completes. Raises `NoDaemon` for what is no chunk."""
        self._held += data
        body = bytearray()
        while (at := self._held.find(b"\r\n")) >= 0:
            try:
                size = int(self._held[:at], 16)
            except ValueError:
                raise NoDaemon("what listens there is no fleet daemon") from None
            begin, end = at + 2, at + 2 + size
            if len(self._held) < end + 2:
                break
            body += self._held[begin:end]
            del self._held[: end + 2]
        return bytes(body)


def parse_head(head: bytes) -> tuple[int, dict[str, str]]:
    """Status and headers of an answer. Raises `NoDaemon` for what is no HTTP."""
    first, *rest = head.decode("latin-1").split("\r\n")
    version, _, after = first.partition(" ")
    if not version.startswith("HTTP/") or not after[:3].isdigit():
        raise NoDaemon("what listens there is no fleet daemon")
    fields = (line.partition(":") for line in rest)
    return int(after[:3]), {name.strip().lower(): value.strip() for name, _, value in fields}


def _head(lines: Iterable[bytes]) -> bytes:
    head = bytearray()
    for line in lines:
        if line == b"\r\n":
            return bytes(head[:-2])
        head += line
        if len(head) > _MAX_HEAD_BYTES:
            break
    raise NoDaemon("what listens there is no fleet daemon")


def peer_pid(sock: socket.socket) -> int:
    """The process at the other end, as the kernel knows it. Raises `NoDaemon` where it cannot tell."""
    try:
        if hasattr(socket, "SO_PEERCRED"):
            credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
            return int.from_bytes(credentials[:4], sys.byteorder)
        raw = sock.getsockopt(0, _LOCAL_PEERPID, 4)  # macOS: SOL_LOCAL, sys/un.h
        return int.from_bytes(raw, sys.byteorder)
    except OSError as exc:
        raise NoDaemon(f"its process cannot be told: {exc}") from None
