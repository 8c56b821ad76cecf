"""fleet.control.by_daemon and relayed: a real daemon's API over its socket, and agents that are scripts."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvicorn

import fleet
from fleet.api.app import app
from fleet.client import NoDaemon
from fleet.config import HostSpec, load
from fleet.control import verbs
from fleet.control.by_daemon import ByDaemon, check_daemon
from fleet.control.relayed import relayed
from fleet.errors import ErrorKind, HostFailure, Phase, RequestRefused
from fleet.service import Service
from fleet_agent.control.events import Message
from fleet_agent.control.wire import Decide, Done, List, Logs, Said, Target
from serving import IDLE, RUN, WAITING, served, write_config

LOGS = Logs(target=Target(name="calm-otter"), follow=True)
Scene = Callable[[Path, Service], Awaitable[None]]


@asynccontextmanager
async def daemon(config: Path, runtime: Path) -> AsyncIterator[tuple[Path, Service]]:
    """The API at the place of a daemon's socket."""
    socket = runtime / "fleet.sock"
    async with served(config) as service:
        settings = uvicorn.Config(app(service), uds=str(socket), log_config=None, lifespan="off", loop="none")
        server = uvicorn.Server(settings)
        serving = asyncio.create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0.01)
        try:
            yield socket, service
        finally:
            service.stop()
            server.should_exit = True
            await serving


def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scene: Scene, hosts: str = "") -> None:
    """The scene beside such a daemon; `hosts`: more for its hosts.toml."""
    config = write_config(tmp_path / "hosts.toml", WAITING, IDLE)
    config.write_text(config.read_text() + hosts)

    async def bounded() -> None:
        with tempfile.TemporaryDirectory(prefix="fleetd-") as runtime:
            monkeypatch.setenv("FLEET_RUNTIME_DIR", runtime)
            async with asyncio.timeout(30), daemon(config, Path(runtime)) as (socket, service):
                await scene(socket, service)

    asyncio.run(bounded())


def test_the_wire_is_relayed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One channel for all that is asked of a host: its clock, its replies, what it refuses; by whom."""

    async def scene(socket: Path, _: Service) -> None:
        async with relayed(socket, "local") as channel:
            assert verbs.clock_at(channel) == 100.0
            assert [reply async for reply in channel.ask(List())] == [RUN, Done("so it is")]
            with pytest.raises(RequestRefused, match="it was approved by you@there"):
                decide = Decide(target=Target(id="x"), decision="accept", request_id="old", by="me@elsewhere")
                [_ async for _ in channel.ask(decide)]
            assert await anext(channel.ask(LOGS)) == Said(Message("hello"), 50.0, 1)

    run(tmp_path, monkeypatch, scene)
    asked = (tmp_path / "agent.asked").read_text()
    assert verbs.asker() in asked
    assert "me@elsewhere" not in asked  # the daemon says who asks, not whoever does


def test_what_the_daemon_does_not_relay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that is down is that host's own trouble, with its phase; what it does not know is no error."""

    async def scene(socket: Path, _: Service) -> None:
        with pytest.raises(HostFailure) as caught:
            async with relayed(socket, "down"):
                pass
        assert (caught.value.error.kind, caught.value.error.phase) == (ErrorKind.UNREACHABLE, Phase.CONNECT)
        for host in ("dead", "nohost"):  # may only be looked at; is none of its hosts
            with pytest.raises(NoDaemon):
                async with relayed(socket, host):
                    pass

    down = '[hosts.down]\naddress = "127.0.0.1"\nport = 1\nssh_config = "none"\ncontrol = true\n'
    run(tmp_path, monkeypatch, scene, down)


def test_a_daemon_that_ends_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who follows a session is told that the daemon ended, not that the host did."""

    async def scene(socket: Path, service: Service) -> None:
        async with relayed(socket, "local") as channel:
            service.stop()
            with pytest.raises(HostFailure, match="the daemon has ended"):
                await channel.reply()

    run(tmp_path, monkeypatch, scene)


def test_who_may_be_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon of our own release that has read the same hosts.toml; of any other, the reason is told."""

    async def scene(_: Path, service: Service) -> None:
        check = asyncio.to_thread
        await check(check_daemon, service.config)
        path = service.config.path
        assert path is not None
        path.write_text(path.read_text().replace("[hosts.dead]", "[hosts.dead]\ncontrol = true"))
        with pytest.raises(NoDaemon, match=r"another hosts\.toml"):
            await check(check_daemon, load(path))
        service.reload()
        await check(check_daemon, load(path))
        config = load(path)
        with monkeypatch.context() as patched:
            patched.setattr("fleet.control.by_daemon.fleet", type("Other", (), {"__version__": "0.0"}))
            with pytest.raises(NoDaemon, match=f"another release .{fleet.__version__}"):
                await check(check_daemon, config)

    run(tmp_path, monkeypatch, scene)


def test_without_a_daemon_hosts_are_logged_in_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And it is said why."""
    monkeypatch.setenv("FLEET_RUNTIME_DIR", str(tmp_path / "none"))
    config = load(write_config(tmp_path / "hosts.toml", WAITING))
    told: list[str] = []

    async def scene() -> None:
        async with ByDaemon(config, told.append) as reach:
            assert not reach.asks_daemon
            async with reach.control(config.hosts["local"]) as channel:
                assert [reply async for reply in channel.ask(List())] == [RUN, Done("so it is")]
            with pytest.raises(HostFailure, match="unreachable"):
                async with reach.control(HostSpec("dead", "127.0.0.1", port=1, control=True)):
                    pass

    asyncio.run(scene())
    assert told == [
        f"no daemon is running: there is no {tmp_path}/none/fleet.sock; logging in without a daemon"
    ]
