"""fleet.client against servers that are sockets of this test."""

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fleet import client
from fleet.client import NoDaemon

Serve = Callable[[socket.socket], None]


@contextmanager
def server(path: Path, serve: Serve) -> Iterator[Path]:
    """One connection at `path` is given to `serve`, then closed."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(os.fspath(path))
        listening.listen(1)
        listening.settimeout(10)

        def run() -> None:
            connection, _ = listening.accept()
            with connection:
                serve(connection)

        thread = threading.Thread(target=run)
        thread.start()
        yield path
        thread.join(10)


def says(*parts: bytes, asked: list[bytes] | None = None) -> Serve:
    def serve(connection: socket.socket) -> None:
        request = connection.recv(65536)
        if asked is not None:
            asked.append(request)
        for part in parts:
            connection.sendall(part)

    return serve


def test_an_answer_in_pieces_is_whole(tmp_path: Path) -> None:
    """However it arrives: status, headers in lower case, body to the end."""
    asked: list[bytes] = []
    parts = (b"HTTP/1.1 20", b"0 OK\r\nFleet-Failed: 1/2\r\nX: a:b\r\n\r", b'\n{"a"', b":1}\r\n\r\n")
    with server(tmp_path / "s", says(*parts, asked=asked)) as path:
        answer = client.ask("/v1/fleet?host=a%2Cb", method="POST", socket_path=path)
    assert answer == (200, {"fleet-failed": "1/2", "x": "a:b"}, b'{"a":1}\r\n\r\n')
    assert asked == [b"POST /v1/fleet?host=a%2Cb HTTP/1.0\r\nHost: localhost\r\n\r\n"]


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (b"", "closed the connection without an answer"),
        (b"SSH-2.0-x\r\n\r\n", "no fleet daemon"),
        (b"HTTP/1.1 abc\r\n\r\n", "no fleet daemon"),
        (b"HTTP/1.1 200 OK\r\n", "closed the connection without an answer"),
    ],
)
def test_what_is_no_answer(tmp_path: Path, said: bytes, message: str) -> None:
    """Something else listens there, or it died: the caller goes on without a daemon."""
    with server(tmp_path / "s", says(said)) as path, pytest.raises(NoDaemon, match=message):
        client.ask("/", socket_path=path)


def test_a_daemon_that_does_not_answer_in_time(tmp_path: Path) -> None:
    """One that hangs must not hang `fleet status`."""
    with server(tmp_path / "s", lambda _: time.sleep(0.5)) as path, pytest.raises(NoDaemon, match="timed out"):
        client.ask("/", socket_path=path, timeout_s=0.1)


def test_no_daemon(tmp_path: Path) -> None:
    """No socket, a socket nobody listens at, and a file that is none: each says what is so."""
    with pytest.raises(NoDaemon, match="no daemon is running: there is no "):
        client.ask("/", socket_path=tmp_path / "none")
    with socket.socket(socket.AF_UNIX) as left_over:
        left_over.bind(os.fspath(tmp_path / "old"))
    with pytest.raises(NoDaemon, match=r"no daemon listens at .*old"):
        client.ask("/", socket_path=tmp_path / "old")
    (tmp_path / "file").touch()
    with pytest.raises(NoDaemon, match="is not this user's socket"):
        client.ask("/", socket_path=tmp_path / "file")


def test_a_stream_is_given_line_by_line(tmp_path: Path) -> None:
    """Lines as they come, whatever the pieces; its end is the daemon's end."""
    parts = (b"HTTP/1.1 200 OK\r\nA: b\r\n\r\nid: 1\nda", b"ta: x\n\n", b"id: 2\n")
    with server(tmp_path / "s", says(*parts)) as path:
        stream = client.stream("/", {"Last-Event-ID": "e-1"}, socket_path=path)
        assert [next(stream) for _ in range(4)] == [b"id: 1\n", b"data: x\n", b"\n", b"id: 2\n"]
        with pytest.raises(NoDaemon, match="has ended"):
            next(stream)


def test_a_stream_ends_at_its_time(tmp_path: Path) -> None:
    """`fleet wait --timeout` ends on time even if nothing comes."""

    def serve(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\nid: 1\n")
        connection.recv(65536)
        connection.recv(65536)

    with server(tmp_path / "s", serve) as path, pytest.raises(TimeoutError):
        for line in client.stream("/", {}, until_s=time.monotonic() + 0.2, socket_path=path):
            assert line == b"id: 1\n"


def test_the_process_at_the_other_end() -> None:
    """The kernel's word for who is asked to stop: no pid file can be out of date."""
    one, other = socket.socketpair(socket.AF_UNIX)
    with one, other:
        assert client.peer_pid(one) == os.getpid()


def test_chunks_in_any_pieces() -> None:
    """A body that comes in chunks is read whatever the pieces are in which it comes (RFC 9112, 7.1)."""
    sent = client.chunk(b"one\n") + client.chunk(b"\r\n" * 9) + client.chunk(b"")
    for size in range(1, len(sent) + 1):
        chunks = client.Chunks()
        pieces = [sent[at : at + size] for at in range(0, len(sent), size)]
        assert b"".join(map(chunks.feed, pieces)) == b"one\n" + b"\r\n" * 9
    with pytest.raises(client.NoDaemon):
        client.Chunks().feed(b"what?\r\n")
