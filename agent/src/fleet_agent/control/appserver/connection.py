"""Whole messages to and from an app-server: the host's daemon over its socket, or one of our own over pipes.

Both raise `ConnectionError` at the end, whoever ended it.
"""

import asyncio
import contextlib
import os
import socket
import struct
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from fleet_agent.control import groups
from fleet_agent.control.appserver.protocol import Unreadable
from fleet_agent.control.driver import SpawnFailed
from fleet_agent.tools.codex.daemon import own_socket

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

SOCKET = "app-server-control/app-server-control.sock"  # in CODEX_HOME
MAX_MESSAGE_BYTES = 32 << 20  # a long answer comes three times, and a diff with each turn
CONNECT_S = 5.0
DRAIN_S = 1.0  # for what is left of its stderr
_READ_BYTES = 256 << 10


class Connection(Protocol):
    """One client's way to an app-server. `server_pid`: the process at the other end, where that is known."""

    server_pid: int | None

    @property
    def exit_status(self) -> int | None:
        """Of a server of our own that has ended, as of `subprocess`: negative is a signal's number."""

    async def send(self, message: bytes) -> None:
        """Send one message."""

    async def receive(self) -> bytes | Unreadable:
        """The next message; what it was, if it is too long to be taken."""

    async def close(self, grace_s: float) -> None:
        """Hang up. A server of our own ends with it: by itself within `grace_s`, else by force."""


class DaemonConnection:
    """A client of the daemon of one CODEX_HOME. It goes on without us."""

    def __init__(self, websocket: "ClientConnection", server_pid: int | None) -> None:
        self._websocket = websocket
        self.server_pid = server_pid

    @classmethod
    async def open(cls, home: str) -> "DaemonConnection | None":
        """None if no daemon listens there. Raises `ConnectionError` if what listens cannot be spoken to."""
        path = own_socket(f"{home}/{SOCKET}")
        if path is None:
            return None
        from websockets.asyncio.client import unix_connect
        from websockets.exceptions import WebSocketException

        try:
            websocket = await unix_connect(
                path,
                "ws://localhost/",
                compression=None,
                open_timeout=CONNECT_S,
                ping_interval=None,  # whether a server on this machine is there, the kernel says
                close_timeout=0.2,
                max_size=MAX_MESSAGE_BYTES,
            )
        except (FileNotFoundError, ConnectionRefusedError):  # a link or a socket that was left behind
            return None
        except (OSError, TimeoutError, WebSocketException) as exc:
            why = str(exc) or f"no answer within {CONNECT_S:g} s"
            raise ConnectionError(f"the Codex daemon at {path} cannot be spoken to: {why}") from exc
        uid, pid = _peer(websocket.transport.get_extra_info("socket"))
        if uid not in (None, os.geteuid()):
            await websocket.close()
            raise ConnectionError(f"{path} is served by another user (uid {uid})")
        return cls(websocket, pid)

    @property
    def exit_status(self) -> int | None:
        """Not ours to know."""
        return None

    async def send(self, message: bytes) -> None:
        """Send one message."""
        with _as_connection_error():
            await self._websocket.send(message, text=True)

    async def receive(self) -> bytes:
        """The next message."""
        with _as_connection_error():
            return await self._websocket.recv(decode=False)

    async def close(self, grace_s: float) -> None:  # noqa: ARG002 - it is not ours to end
        """Hang up. What runs there goes on."""
        await self._websocket.close()


@contextlib.contextmanager
def _as_connection_error() -> Iterator[None]:
    from websockets.exceptions import ConnectionClosed

    try:
        yield
    except ConnectionClosed as exc:
        raise ConnectionError("the Codex daemon closed the connection") from exc


def _peer(connected: socket.socket) -> tuple[int | None, int | None]:
    """(uid, pid) of the process that listens at the other end; None where the system does not say."""
    if sys.platform.startswith("linux"):
        size = struct.calcsize("3i")
        pid, uid, _ = struct.unpack("3i", connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
        return uid, pid
    return None, None


class OwnServer:
    """`codex app-server` over stdio: a process, and a process group, of our own. Its threads end with it."""

    def __init__(
        self, process: asyncio.subprocess.Process, marks: Mapping[str, str], stderr: Callable[[bytes], None]
    ) -> None:
        assert process.stdin
        assert process.stdout
        assert process.stderr
        self.server_pid: int | None = process.pid
        self.leader = groups.started(process.pid)
        self._process, self._marks = process, marks
        self._stdin, self._stdout = process.stdin, process.stdout
        self._skipped_bytes = 0
        self._errors = asyncio.create_task(_pass_on(process.stderr, stderr))

    @classmethod
    async def open(
        cls,
        argv: Sequence[str],
        cwd: str | None,
        environ: Mapping[str, str],
        marks: Mapping[str, str],
        stderr: Callable[[bytes], None],
    ) -> "OwnServer":
        """Start it. `marks`: what in `environ` nobody else has. Raises `SpawnFailed`."""
        pipe = asyncio.subprocess.PIPE
        try:
            process = await asyncio.create_subprocess_exec(
                *argv,
                cwd=cwd,
                env=environ,
                stdin=pipe,
                stdout=pipe,
                stderr=pipe,
                limit=MAX_MESSAGE_BYTES,
                start_new_session=True,
            )
        except OSError as exc:
            where = f" in {cwd}" if cwd else ""
            raise SpawnFailed(f"{argv[0]} cannot be started{where}: {exc.strerror or exc}") from exc
        return cls(process, marks, stderr)

    @property
    def exit_status(self) -> int | None:
        """Negative is a signal's number. None while it runs."""
        return self._process.returncode

    async def send(self, message: bytes) -> None:
        """Send one message."""
        self._stdin.write(message + b"\n")
        await self._stdin.drain()

    async def receive(self) -> bytes | Unreadable:
        """The next line; what it was, if it is too long to be taken."""
        while True:
            try:
                line = await self._stdout.readuntil(b"\n")
            except asyncio.LimitOverrunError as exc:
                self._skipped_bytes += len(await self._stdout.readexactly(exc.consumed))
                continue
            except asyncio.IncompleteReadError as exc:
                raise ConnectionError("the app-server closed its stdout") from exc
            if not self._skipped_bytes:
                return line
            size_bytes, self._skipped_bytes = self._skipped_bytes + len(line), 0
            return Unreadable(f"a message of more than {MAX_MESSAGE_BYTES >> 20} MiB was skipped", size_bytes)

    async def close(self, grace_s: float) -> None:
        """End it: the end of its stdin is its sign to end, then TERM to all that belongs to it, then KILL."""
        self._stdin.close()
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._process.wait(), grace_s / 2)
        await asyncio.to_thread(groups.end, lambda: groups.members(self.leader, self._marks), grace_s / 2)
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.gather(self._process.wait(), self._errors), DRAIN_S)


async def _pass_on(stream: asyncio.StreamReader, take: Callable[[bytes], None]) -> None:
    while data := await stream.read(_READ_BYTES):
        take(data)
