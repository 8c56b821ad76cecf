"""Runs the daemon: streams, journal and API, until a signal ends it."""

import asyncio
import ipaddress
import logging
import os
import resource
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import uvicorn

from fleet import paths
from fleet.api.app import app
from fleet.api.guard import Guard, token
from fleet.daemon import notify
from fleet.daemon.lock import held, listening
from fleet.errors import ConfigError, DaemonError
from fleet.service import Service

DRAIN_S = 3.0  # for requests that are being answered; the rest of five seconds is for hosts to be let go
MAX_FILES = 32_768  # three for each of the most hosts that a configuration may have
_LAG_EVERY_S = 0.5

log = logging.getLogger("fleet.daemon")


class Listen(NamedTuple):
    """Where `--listen` listens."""

    host: str
    port: int

    @property
    def names(self) -> set[str] | None:
        """The Host headers by which it may be called; None for every address of this machine."""
        address = ipaddress.ip_address(self.host)
        if address.is_unspecified:
            return None
        name = f"[{self.host}]" if address.version == 6 else self.host
        local = ["localhost", "127.0.0.1", "[::1]"] if address.is_loopback else []
        return {f"{host}:{self.port}" for host in [name, *local]}


async def serve(given: Path | None, listen: Listen | None) -> None:
    """Serve until SIGTERM or SIGINT. Raises `ConfigError`, and `DaemonError` when another daemon runs."""
    os.umask(0o077)
    _allow_many_files()
    with ExitStack() as files:
        files.enter_context(held(paths.lock_path(os.environ)))
        service = Service(given)
        sockets = [files.enter_context(listening(paths.socket_path(os.environ)))]
        servers = [_server(app(service))]
        if listen is not None:
            sockets.append(files.enter_context(_tcp(listen)))
            servers.append(_server(_guarded(service, listen)))
        log.info(
            "serving %d hosts at %s, pid %d", len(service.config.hosts), sockets[0].getsockname(), service.pid
        )
        async with service.streams:
            service.begin()
            async with _until_told(service, servers):
                await asyncio.gather(*(s.serve([sock]) for s, sock in zip(servers, sockets, strict=True)))
            notify.stopping()
    log.info("ended")


def _allow_many_files() -> None:
    """A connection takes one. The usual limit, 1,024, is there for programs that call select(2)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(ValueError, OSError):  # macOS has another limit below the hard one
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _server(application: object) -> "_Server":
    return _Server(
        uvicorn.Config(
            application,  # type: ignore[arg-type]
            loop="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=int(DRAIN_S),
            ws="none",
        )
    )


class _Server(uvicorn.Server):
    """One that leaves signals to us, and does not look ten times a second whether it should end."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._told = asyncio.Event()

    def end(self) -> None:
        """Let `serve` return, once the requests that are being answered are."""
        self.should_exit = True
        self._told.set()

    async def main_loop(self) -> None:
        """Until `end`; meanwhile the Date header is set each second."""
        while not await self.on_tick(0):
            with suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await self._told.wait()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Nothing: there may be two servers, and SIGHUP, and hosts to let go."""
        yield


def _guarded(service: Service, listen: Listen) -> Guard:
    path, control_path = paths.token_path(os.environ), paths.control_token_path(os.environ)
    try:
        secret, control_secret = token(path), token(control_path)
    except OSError as exc:
        raise DaemonError(f"{exc.filename or path}: no token can be read or made: {exc.strerror}") from None
    log.info("the token for http://%s:%d is in %s", listen.host, listen.port, path)
    return Guard(app(service), secret, listen.names, control_secret)


@contextmanager
def _tcp(listen: Listen) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((listen.host, listen.port))
    except OSError as exc:
        sock.close()
        raise DaemonError(f"cannot listen on {listen.host}:{listen.port}: {exc.strerror}") from None
    sock.listen(128)
    with sock:
        yield sock


@asynccontextmanager
async def _until_told(service: Service, servers: list[_Server]) -> AsyncIterator[None]:
    """Signals, the watchdog and the measuring of lag, for as long as the block runs."""
    loop = asyncio.get_running_loop()

    def stop() -> None:
        if service.is_stopping:
            log.warning("a second signal: ending at once")
            os._exit(1)
        service.stop()
        for server in servers:
            server.end()

    for number, act in _actions(service, stop):
        loop.add_signal_handler(number, act)
    tasks = [asyncio.create_task(_measure_lag(service)), asyncio.create_task(_tell_systemd(servers))]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


def _actions(service: Service, stop: Callable[[], None]) -> Iterator[tuple[int, Callable[[], None]]]:
    yield signal.SIGTERM, stop
    yield signal.SIGINT, stop
    yield signal.SIGHUP, lambda: _reload(service)


def _reload(service: Service) -> None:
    """A configuration that is wrong changes nothing, and is said to be."""
    notify.reloading()
    try:
        service.reload()
        log.info(
            "read %s again: %d hosts", service.config.path or "the configuration", len(service.config.hosts)
        )
    except ConfigError as exc:
        log.error("the configuration stays as it was: %s", exc)  # noqa: TRY400 - the user's mistake, not ours
    notify.ready()


async def _tell_systemd(servers: list[_Server]) -> None:
    while not all(server.started for server in servers):  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.01)
    notify.ready()
    every_s = notify.watchdog_s()
    while every_s is not None:
        notify.alive()
        await asyncio.sleep(every_s)


async def _measure_lag(service: Service) -> None:
    """How late the loop wakes us, as a window of the newest measurements."""
    while True:
        due_s = time.monotonic() + _LAG_EVERY_S
        await asyncio.sleep(_LAG_EVERY_S)
        service.lags_s.append(max(0.0, time.monotonic() - due_s))
