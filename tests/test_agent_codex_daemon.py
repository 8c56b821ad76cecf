"""fleet_agent.tools.codex.daemon: real WebSocket servers on a Unix socket, good ones and bad ones."""

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.server import ServerConnection

from fake_daemon import Behave, FakeDaemon, well
from fleet_agent.tools.codex.daemon import ANSWER_S, FIRST_PAUSE_S, Connection, Daemons, own_socket
from fleet_agent.tools.codex.daemon_protocol import METHODS, Message

THREADS = ("01a1fbf9-219d-79d3-a5bb-b436bb856aec", "01a1fbfa-3180-7e70-ab60-6b51caf32b4f")
SLACK_S = 2.0  # of a busy machine


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def home(tmp_path: Path) -> Path:
    path = tmp_path / "h"
    path.mkdir()
    return path


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def daemons(clock: Clock) -> Iterator[Daemons]:
    asked = Daemons(clock)
    yield asked
    asked.words({})


@pytest.fixture
def serve(home: Path) -> Iterator[Callable[[Behave], FakeDaemon]]:
    with ExitStack() as started:
        yield lambda behave: started.enter_context(FakeDaemon(home, behave).running())


def test_a_daemon_is_asked_over_one_connection_and_nothing_but_reads(
    home: Path, daemons: Daemons, serve: Callable[[Behave], FakeDaemon]
) -> None:
    """PROMISES 10: the server writes down every method that it gets. One connection serves all readings."""
    server = serve(well)
    for _ in range(3):
        assert daemons.words({str(home): THREADS}) == dict.fromkeys(THREADS, "approval")
    assert daemons.problems == []
    assert len(server.connections) == 1
    assert server.methods == ["initialize", "initialized", *["thread/read"] * 6]
    assert set(server.methods) <= METHODS


def test_what_is_not_on_the_list_cannot_be_sent(
    home: Path, serve: Callable[[Behave], FakeDaemon], monkeypatch: pytest.MonkeyPatch
) -> None:
    """PROMISES 10: the sender itself refuses, even if the dialogue had a bug."""
    server = serve(well)
    resume = [Message("thread/resume", 1, {"threadId": THREADS[0]})]
    monkeypatch.setattr("fleet_agent.tools.codex.daemon.Dialogue.read", lambda *_: resume)
    path = own_socket(f"{home}/app-server-control/app-server-control.sock")
    assert path is not None
    connection = Connection(path, time.monotonic() + 5)
    with pytest.raises(ValueError, match="thread/resume is not among the methods that only read"):
        connection.statuses(THREADS, time.monotonic() + 5)
    connection.close()
    assert server.methods == []


def test_a_daemon_that_was_restarted_is_asked_at_once(home: Path, daemons: Daemons) -> None:
    """A lost connection is made again in the same reading; no problem is made of it."""
    for _ in range(2):
        with FakeDaemon(home, well).running():
            assert daemons.words({str(home): THREADS}) == dict.fromkeys(THREADS, "approval")
        assert daemons.problems == []
    assert daemons.words({str(home): THREADS}) == {}  # gone, and its socket with it


def silent(_: ServerConnection, __: dict[str, Any]) -> None:
    pass


def closing(connection: ServerConnection, _: dict[str, Any]) -> None:
    connection.close()


def huge(connection: ServerConnection, _: dict[str, Any]) -> None:
    connection.send("x" * (2 << 20))


def in_pieces(connection: ServerConnection, _: dict[str, Any]) -> None:
    connection.send("x" * (64 << 10) for _ in range(100))


def chatty(connection: ServerConnection, _: dict[str, Any]) -> None:
    until_s = time.monotonic() + 2 * ANSWER_S
    while time.monotonic() < until_s:
        connection.send('{"method":"noise"}')
        time.sleep(0.001)


def nonsense(connection: ServerConnection, _: dict[str, Any]) -> None:
    connection.send(b"\xff\x00")
    connection.send("[" * 1000)


@pytest.mark.parametrize(
    ("behave", "why"),
    [
        (silent, "timed out"),
        (nonsense, "timed out"),
        (chatty, "time|not within"),
        (closing, "closed"),
        (huge, "1048576"),
        (in_pieces, "1048576"),
    ],
)
def test_a_daemon_that_misbehaves_is_a_problem_in_bounded_time(
    behave: Behave, why: str, home: Path, daemons: Daemons, clock: Clock, serve: Callable[[Behave], FakeDaemon]
) -> None:
    """Silent, talking nonsense, endless, closing, too big: a problem that stays, a pause, and another try."""
    server = serve(behave)
    begun_s = time.monotonic()
    assert daemons.words({str(home): THREADS}) == {}
    assert time.monotonic() - begun_s < ANSWER_S + SLACK_S
    (problem,) = daemons.problems
    assert problem.kind == "unreadable"
    assert problem.path == f"{home}/app-server-control/app-server-control.sock"
    assert any(word in problem.message for word in why.split("|")), problem.message
    assert daemons.words({str(home): THREADS}) == {}  # left in peace
    assert (len(server.connections), len(daemons.problems)) == (1, 1)
    clock.now_s += FIRST_PAUSE_S
    server.behave = well
    assert daemons.words({str(home): THREADS}) == dict.fromkeys(THREADS, "approval")
    assert daemons.problems == []


def test_a_slow_daemon_is_heard_as_far_as_it_gets(
    home: Path, daemons: Daemons, serve: Callable[[Behave], FakeDaemon]
) -> None:
    """What it said in time counts; of the rest nothing is known."""

    def slow(connection: ServerConnection, message: dict[str, Any]) -> None:
        if message.get("params", {}).get("threadId") == THREADS[1]:
            time.sleep(2 * ANSWER_S)
        well(connection, message)

    serve(slow)
    assert daemons.words({str(home): THREADS}) == {THREADS[0]: "approval"}
    assert daemons.problems == []


@pytest.mark.parametrize("reply", [b"", b"\x00garbage\r\n\r\n", b"HTTP/1.1 404 Not Found\r\n\r\n"])
def test_what_is_no_websocket_is_a_problem(reply: bytes, home: Path, tmp_path: Path, daemons: Daemons) -> None:
    """Something else listens at that place: it takes the connection, and does not speak the protocol."""
    link = home / "app-server-control/app-server-control.sock"
    link.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as listening:
        link.symlink_to(tmp_path / "s")
        listening.bind(str(tmp_path / "s"))
        listening.listen()

        def answer() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(reply)

        thread = threading.Thread(target=answer)
        thread.start()
        assert daemons.words({str(home): THREADS}) == {}
        thread.join()
    assert [problem.kind for problem in daemons.problems] == ["unreadable"]


def test_without_a_socket_there_is_nothing_to_say(home: Path, tmp_path: Path, daemons: Daemons) -> None:
    """No socket, a link to nothing, a plain file in its place: no connection, no problem."""
    link = home / "app-server-control/app-server-control.sock"
    assert daemons.words({str(home): THREADS}) == {}
    link.parent.mkdir()
    link.symlink_to(tmp_path / "nothing")
    assert daemons.words({str(home): THREADS}) == {}
    (tmp_path / "nothing").write_text("x")
    assert daemons.words({str(home): THREADS}) == {}
    assert daemons.problems == []


def test_a_socket_left_behind_costs_a_pause(home: Path, tmp_path: Path, daemons: Daemons, clock: Clock) -> None:
    """The socket of a daemon that was killed refuses; while a live process holds threads, that is a problem."""
    link = home / "app-server-control/app-server-control.sock"
    link.parent.mkdir()
    link.symlink_to(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "s"))
    begun_s = time.monotonic()
    assert daemons.words({str(home): THREADS}) == {}
    assert time.monotonic() - begun_s < ANSWER_S + SLACK_S
    (problem,) = daemons.problems
    assert "refused" in problem.message
    clock.now_s += FIRST_PAUSE_S
    (tmp_path / "s").unlink()
    assert daemons.words({str(home): THREADS}) == {}  # no socket, nothing that could answer
    assert daemons.problems == []


def test_a_problem_ends_with_its_daemon(
    home: Path, daemons: Daemons, serve: Callable[[Behave], FakeDaemon]
) -> None:
    """It is the problem of a process that holds threads: without one nothing is wrong."""
    serve(silent)
    assert daemons.words({str(home): THREADS}) == {}
    assert len(daemons.problems) == 1
    assert daemons.words({}) == {}  # no process holds a thread any more: nothing is wrong
    assert daemons.problems == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_socket_of_somebody_else_is_never_connected_to(
    home: Path, tmp_path: Path, daemons: Daemons, serve: Callable[[Behave], FakeDaemon]
) -> None:
    """Another local user could have put it there: it must belong to the user of the agent."""
    server = serve(well)
    os.chown(tmp_path / "s", 65534, 65534)
    assert daemons.words({str(home): THREADS}) == {}
    assert (server.connections, daemons.problems) == ([], [])
