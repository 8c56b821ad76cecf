"""Messages to and from an app-server, over the daemon's socket or the pipes of a server of our own."""

import asyncio
import json
import os
import socket
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from fake_daemon import FakeDaemon, well
from fleet_agent.control.appserver import connection
from fleet_agent.control.appserver.connection import DaemonConnection, OwnServer
from fleet_agent.control.appserver.protocol import Unreadable
from fleet_agent.control.appserver.servers import HostDaemon
from fleet_agent.control.driver import SpawnFailed

ECHO = "import sys\nfor line in sys.stdin: sys.stdout.write(line); sys.stdout.flush()"
DEAF = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("{}", flush=True)
time.sleep(600)
"""


def run(story: Awaitable[None]) -> None:
    async def bounded() -> None:
        await asyncio.wait_for(story, 20.0)

    asyncio.run(bounded())


async def own(tmp_path: Path, program: str, stderr: Callable[[bytes], None] = lambda _: None) -> OwnServer:
    marks = {"FLEET_RUN_ID": f"test-{os.getpid()}-{tmp_path.name}"}
    argv = (sys.executable, "-c", program)
    return await OwnServer.open(argv, str(tmp_path), {**os.environ, **marks}, marks, stderr)


def test_a_daemon_is_spoken_to_over_its_socket(tmp_path: Path) -> None:
    """Whole messages both ways, and which process is at the other end."""

    async def story(home: Path) -> None:
        opened = await DaemonConnection.open(str(home))
        assert opened
        assert opened.server_pid == os.getpid()
        await opened.send(b'{"id":1,"method":"initialize"}')
        said = [await opened.receive(), await opened.receive()]
        assert [json.loads(one).get("id") for one in said if isinstance(one, bytes)] == [None, 1]
        await opened.close(0.0)

    with FakeDaemon(tmp_path / "home", well, tmp_path / "s").running() as daemon:
        run(story(daemon.home))


def test_a_daemon_that_ends_ends_the_connection(tmp_path: Path) -> None:
    """Whoever waits for a message is told."""

    async def story(daemon: FakeDaemon) -> None:
        opened = await DaemonConnection.open(str(daemon.home))
        assert opened
        await opened.send(b'{"id":1,"method":"initialize"}')
        await opened.receive()
        daemon.connections[0].socket.shutdown(socket.SHUT_RDWR)
        with pytest.raises(ConnectionError, match="closed the connection"):
            while True:
                await opened.receive()
        with pytest.raises(ConnectionError):
            await opened.send(b"{}")

    with FakeDaemon(tmp_path / "home", well, tmp_path / "s").running() as daemon:
        run(story(daemon))


def test_where_no_daemon_listens_there_is_none(tmp_path: Path) -> None:
    """No link, a link to nothing, a socket that was left behind, a plain file: none of them is an error."""

    async def story() -> None:
        home = tmp_path / "home"
        assert await DaemonConnection.open(str(home)) is None
        link = home / "app-server-control/app-server-control.sock"
        link.parent.mkdir(parents=True)
        link.symlink_to(tmp_path / "s")
        assert await DaemonConnection.open(str(home)) is None
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(str(tmp_path / "s"))
        assert await DaemonConnection.open(str(home)) is None
        (tmp_path / "s").unlink()
        (tmp_path / "s").write_text("")
        assert await DaemonConnection.open(str(home)) is None

    run(story())


def test_what_listens_and_is_no_daemon_is_told(tmp_path: Path) -> None:
    """It answers something else: that is a reason, with the socket's path."""

    async def story() -> None:
        async def nonsense(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"SSH-2.0-no\r\n\r\n")
            writer.close()

        link = tmp_path / "home/app-server-control/app-server-control.sock"
        link.parent.mkdir(parents=True)
        link.symlink_to(tmp_path / "s")
        async with await asyncio.start_unix_server(nonsense, str(tmp_path / "s")):
            with pytest.raises(ConnectionError, match=f"{tmp_path}/s cannot be spoken to"):
                await DaemonConnection.open(str(tmp_path / "home"))

    run(story())


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo 'Error: no daemon for you' >&2; exit 1", "Error: no daemon for you"),
        ('echo \'{"status":"stopped"}\'', "stopped"),
    ],
)
def test_a_daemon_that_does_not_start_is_refused_in_its_own_words(
    tmp_path: Path, script: str, said: str
) -> None:
    """What its start command said, and what else would work."""
    program = tmp_path / "codex"
    program.write_text(f"#!/bin/sh\n[ \"$*\" = 'app-server daemon start' ] || exit 9\n{script}\n")
    program.chmod(0o700)

    async def story() -> None:
        with pytest.raises(SpawnFailed) as refused:
            await HostDaemon(str(tmp_path), str(program), {"PATH": "/bin", "HOME": "/"}).open(lambda _: None)
        assert said in refused.value.message
        assert "mode exec" in refused.value.hint

    run(story())


def test_a_line_that_is_too_long_is_skipped_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its size; the line behind it is read, and nothing of it is kept."""
    monkeypatch.setattr(connection, "MAX_MESSAGE_BYTES", 4096)

    async def story() -> None:
        server = await own(tmp_path, ECHO)
        await server.send(b'{"a":1}')
        assert await server.receive() == b'{"a":1}\n'
        for size in (4097, 100_000):
            await server.send(b"x" * size)
            skipped = await server.receive()
            assert isinstance(skipped, Unreadable)
            assert skipped.size_bytes == size + 1
        await server.send(b'{"b":2}')
        assert await server.receive() == b'{"b":2}\n'
        await server.close(2.0)
        assert server.exit_status == 0

    run(story())


def test_a_server_of_our_own_ends_at_the_end_of_its_stdin(tmp_path: Path) -> None:
    """By itself; what it said on stderr until then is passed on, and whoever waits is told of the end."""
    errors: list[bytes] = []

    async def story() -> None:
        server = await own(tmp_path, f"{ECHO}\nsys.stderr.write('farewell')", errors.append)
        await server.close(10.0)
        assert server.exit_status == 0
        with pytest.raises(ConnectionError, match="closed its stdout"):
            await server.receive()

    run(story())
    assert b"".join(errors) == b"farewell"


def test_a_server_that_does_not_want_to_end_is_killed(tmp_path: Path) -> None:
    """It hears neither the end of its stdin nor TERM."""

    async def story() -> None:
        server = await own(tmp_path, DEAF)
        assert await server.receive() == b"{}\n"
        await server.close(0.4)
        assert server.leader
        assert not server.leader.lives()

    run(story())


def test_a_program_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """By name; so is a directory that is not there."""

    async def story(argv: tuple[str, ...], cwd: Path) -> None:
        with pytest.raises(SpawnFailed, match=f"{argv[0]} cannot be started in {cwd}"):
            await OwnServer.open(argv, str(cwd), {}, {}, lambda _: None)

    run(story(("/nowhere/codex",), tmp_path))
    run(story((sys.executable,), tmp_path / "none"))
