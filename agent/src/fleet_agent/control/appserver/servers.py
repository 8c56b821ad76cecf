"""Where a session's app-server comes from: the host's daemon, started if it is absent, or one of our own."""

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import msgspec

from fleet_agent.control import groups
from fleet_agent.control.appserver.connection import Connection, DaemonConnection, OwnServer
from fleet_agent.control.driver import SpawnFailed

START_S = 120.0  # the first start copies 440 MB into CODEX_HOME: seconds, but not on every disk
LISTEN_S = 10.0  # from "started" to a socket that answers
_POLL_S = 0.05
_MAX_WORDS_CHARS = 500
_STARTED = ("started", "alreadyRunning")


class Server(Protocol):
    """`survives`: it, and the session in it, go on when our connection ends."""

    survives: bool

    async def open(self, stderr: Callable[[bytes], None]) -> Connection:
        """Connect to it, starting it where it does not run. Raises `SpawnFailed` or `ConnectionError`."""


class HostDaemon:
    """The daemon of one CODEX_HOME, which every plain `codex` of that home uses (0.163 on).

    `environ`: what it is started in, and keeps for all its sessions. So the marks of a run must not be in it:
    whoever ends that run would end the daemon, and every session in it.
    """

    survives = True

    def __init__(self, home: str, program: str, environ: Mapping[str, str]) -> None:
        self._home, self._program = home, program
        self._environ = {**environ, "CODEX_HOME": home}

    async def open(self, stderr: Callable[[bytes], None]) -> Connection:
        """A connection to it."""
        if connection := await DaemonConnection.open(self._home):
            return connection
        await self._start(stderr)
        loop = asyncio.get_running_loop()
        until_s = loop.time() + LISTEN_S
        while loop.time() < until_s:
            if connection := await DaemonConnection.open(self._home):
                return connection
            await asyncio.sleep(_POLL_S)
        raise SpawnFailed(
            f"the Codex daemon of {self._home} was started and does not listen",
            "see `codex app-server daemon version` and app-server-daemon/daemon.stderr.log in that directory",
        )

    async def _start(self, stderr: Callable[[bytes], None]) -> None:
        argv = (self._program, "app-server", "daemon", "start")
        pipe, null = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
        at = self._environ.get("HOME", "/")  # it stays there for as long as it runs
        try:
            process = await asyncio.create_subprocess_exec(
                *argv, cwd=at, env=self._environ, stdin=null, stdout=pipe, stderr=pipe, start_new_session=True
            )
        except OSError as exc:
            raise SpawnFailed(f"{self._program} cannot be started: {exc.strerror or exc}") from exc
        try:
            out, errors = await asyncio.wait_for(process.communicate(), START_S)
        except asyncio.TimeoutError as exc:
            process.kill()
            await process.wait()
            raise SpawnFailed(f"`{' '.join(argv[1:])}` did not end within {START_S:.0f} s") from exc
        stderr(errors)
        if process.returncode or not started(out):
            raise SpawnFailed(
                f"the Codex daemon could not be started: {words(errors or out)}",
                "mode exec and mode tmux do without it",
            )


class OwnAppServer:
    """`codex app-server` for one session alone, for releases without a daemon. It ends with the session.

    `marks`: the part of `environ` that only this run has; `spawned`: told of the process once it is there.
    """

    survives = False

    def __init__(
        self,
        argv: Sequence[str],
        cwd: str | None,
        environ: Mapping[str, str],
        marks: Mapping[str, str],
        spawned: Callable[[groups.Started], None] = lambda _: None,
    ) -> None:
        self._argv, self._cwd, self._environ, self._marks = argv, cwd, environ, marks
        self._spawned = spawned

    async def open(self, stderr: Callable[[bytes], None]) -> Connection:
        """Start it, with a connection to it."""
        server = await OwnServer.open(self._argv, self._cwd, self._environ, self._marks, stderr)
        if server.leader is not None:
            self._spawned(server.leader)
        return server


class _Status(msgspec.Struct):
    status: str = ""


def started(out: bytes) -> bool:
    """Whether `codex app-server daemon start` says that a daemon runs now. Pure."""
    try:
        return msgspec.json.decode(out, type=_Status).status in _STARTED
    except ValueError:
        return False


def words(said: bytes) -> str:
    """Why a command failed, from what it said: its error if it marks one, else its last line. Pure."""
    lines = [line.strip() for line in said.decode(errors="replace").splitlines() if line.strip()]
    marked = [line for line in lines if line.lower().startswith("error")]
    return (marked[:1] or lines[-1:] or ["it did not say why"])[0][:_MAX_WORDS_CHARS]


def home_of(environ: Mapping[str, str]) -> str:
    """The CODEX_HOME that a Codex in this environment uses."""
    home = environ.get("HOME") or os.path.expanduser("~")
    return os.path.realpath(environ.get("CODEX_HOME") or os.path.join(home, ".codex"))
