"""Zero install: any host with sshd and Python, and what stops it, over real sshd."""

import asyncio
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
import pytest

from fleet import collector
from fleet.bootstrap import bundle
from fleet.config import HostSpec, Timeouts
from fleet.errors import ErrorKind, HostError, HostFailure, Phase
from fleet.launch import PYTHONS, unpack_command
from fleet.model import Fleet, HostState
from fleet.streams import Streams
from fleet.transport import shipping
from fleet.transport.commands import Ran
from fleet.transport.deadlines import Deadlines
from fleet.transport.ssh import Dialer
from fleet_agent.wire import SCHEMA, Hello
from lab import inventory, wheels
from lab.sshfleet import SshFleet, install_agent
from lab.waiting import wait_until

pytestmark = [pytest.mark.sshd, pytest.mark.wheels]
FAULTS = {"noise": 1, "schema": 1, "command-missing": 1}
CACHE = ".cache/fleet/agent"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshFleet]:
    """Bare hosts: sshd and the machine's own Python, an empty home each; and three that will not let us."""
    with SshFleet(tmp_path_factory.mktemp("install") / "fleet", hosts=16, faults=FAULTS) as fleet:
        yield fleet


@pytest.fixture
def bare(lab: SshFleet) -> str:
    """A host that nobody has used yet."""
    return next(n for n in lab.hosts if n.startswith("h") and not any(lab.home(n).iterdir()))


@pytest.fixture(autouse=True)
def kept_wheels(monkeypatch: pytest.MonkeyPatch) -> None:
    """The collector's cache is the tests' own: nothing is fetched twice."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(wheels.CACHE))


def specs(lab: SshFleet, *names: str, **settings: object) -> list[HostSpec]:
    patient = {**inventory.TIMEOUTS, "install_s": 20}
    return inventory.specs(lab, *names, **{"install": "auto", "timeouts": patient, **settings})


def read(lab: SshFleet, *names: str, **settings: object) -> Fleet:
    return collector.run(collector.read_fleet(specs(lab, *names, **settings)))


def one(lab: SshFleet, name: str, **settings: object) -> HostState:
    return read(lab, name, **settings).hosts[name]


def error_of(lab: SshFleet, name: str, **settings: object) -> HostError:
    error = one(lab, name, **settings).error
    assert error is not None
    return error


def agents(lab: SshFleet, name: str) -> list[str]:
    """What lies where agents are shipped to."""
    directory = lab.home(name) / CACHE
    return sorted(os.listdir(directory)) if directory.exists() else []


@contextmanager
def mounted(path: Path, options: str) -> Iterator[None]:
    """A file system of its own, with limits that root has to keep, too."""
    path.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"cannot mount a tmpfs here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def script(path: Path, body: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(body)
    path.chmod(0o755)
    return path


def test_a_bare_host_works_and_the_second_time_costs_nothing_more(lab: SshFleet, bare: str) -> None:
    """sshd and python3 are enough; what was shipped is used again, and nothing but it is in the home."""
    first = one(lab, bare)
    assert first.error is None
    shipped = agents(lab, bare)
    assert [name.split("-")[0] for name in shipped] == [bundle.key()]
    before = (lab.home(bare) / CACHE / shipped[0]).stat().st_mtime_ns
    logins = lab.logins(bare)
    second = one(lab, bare)
    assert second.error is None
    assert (lab.home(bare) / CACHE / shipped[0]).stat().st_mtime_ns == before
    assert lab.logins(bare) - logins == 1
    assert {str(p.relative_to(lab.home(bare))).split("/agent")[0] for p in lab.home(bare).rglob("*")} == {
        ".cache",
        ".cache/fleet",
    }


def test_one_login_is_enough_to_ship_it(lab: SshFleet, bare: str) -> None:
    """The upload goes over the connection that found the agent missing."""
    logins = lab.logins(bare)
    assert one(lab, bare).error is None
    assert agents(lab, bare)
    assert lab.logins(bare) == logins + 1


def test_a_stream_ships_it_too(lab: SshFleet, bare: str) -> None:
    """A daemon's streams need nothing installed either."""

    async def follow() -> None:
        async with Streams(1) as followed, asyncio.timeout(40):
            followed.set_hosts(specs(lab, bare))
            while followed.fleet.hosts[bare].reading is None:
                state = (await followed.changed(followed.fleet.version)).hosts[bare]
                assert state.error is None, state.error

    collector.run(follow())
    assert len(agents(lab, bare)) == 1


def test_never_means_never(lab: SshFleet, bare: str) -> None:
    """`install = "never"`: the host is asked for its agent, and not touched."""
    error = error_of(lab, bare, install="never")
    assert error.kind is ErrorKind.AGENT_MISSING
    assert "fleet-agent: not found" in error.message
    assert not list(lab.home(bare).iterdir())


def test_an_agent_that_is_installed_is_left_alone(lab: SshFleet, bare: str) -> None:
    """One of the same wire schema does, whoever installed it."""
    install_agent(lab, bare)
    assert one(lab, bare).error is None
    assert agents(lab, bare) == []


@pytest.mark.parametrize(
    "body",
    [
        "#!/nonexistent/venv/bin/python\n",
        "#!/usr/bin/python3 -IS\nimport msgspec_that_is_not_there\n",
        f"#!/bin/sh\necho '{msgspec.json.encode(Hello(schema=SCHEMA + 1)).decode()}'\n",
    ],
    ids=["interpreter gone", "no dependency", "another schema"],
)
def test_an_agent_that_cannot_serve_is_passed_over(lab: SshFleet, bare: str, body: str) -> None:
    """Broken, without its dependencies, of another schema: ours is shipped beside it, and used from then on."""
    script(lab.home(bare) / ".local/bin/fleet-agent", body)
    assert one(lab, bare).error is None
    assert len(agents(lab, bare)) == 1
    logins = lab.logins(bare)
    assert one(lab, bare).error is None
    assert lab.logins(bare) == logins + 1


def test_a_chatty_shell_is_no_obstacle(lab: SshFleet) -> None:
    """What login scripts print stands before every answer."""
    state = one(lab, "noise1")
    assert state.error is None
    assert len(agents(lab, "noise1")) == 1


@pytest.mark.parametrize(
    ("name", "kind"), [("schema1", ErrorKind.SCHEMA), ("command-missing1", ErrorKind.AGENT_MISSING)]
)
def test_a_key_that_runs_one_command_only(lab: SshFleet, name: str, kind: ErrorKind) -> None:
    """A forced command answers whatever is asked: the error is its own, and nothing was shipped."""
    error = error_of(lab, name)
    assert error.kind is kind
    assert error.phase is Phase.HELLO
    assert not list(lab.home(name).iterdir())


@pytest.mark.parametrize(
    ("options", "reason", "fix"),
    [
        ("ro", "Read-only file system", "writable"),
        ("size=512k", "No space left on device", "make room"),
        ("noexec", "failed to map segment", "noexec"),
    ],
)
def test_a_home_that_does_not_take_it(lab: SshFleet, bare: str, options: str, reason: str, fix: str) -> None:
    """Read-only, full, noexec: the error names the path, the reason and the fix; nothing stays there."""
    with mounted(lab.home(bare), options):
        error = error_of(lab, bare)
        assert (error.kind, error.phase) == (ErrorKind.AGENT_MISSING, Phase.INSTALL)
        assert reason in error.message
        assert str(lab.home(bare) / ".cache") in error.message
        assert fix in error.hint
        assert agents(lab, bare) == []
    script(lab.home(bare) / "used", "")


def test_a_collector_without_internet(
    lab: SshFleet, bare: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With an empty cache it says what to bring and how; with that, the host works."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("FLEET_WHEELS", str(tmp_path / "wheels"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    error = error_of(lab, bare)
    assert (error.kind, error.phase) == (ErrorKind.AGENT_MISSING, Phase.INSTALL)
    assert "`fleet hosts wheels ./wheels --for " in error.hint
    assert str(tmp_path / "wheels") in error.hint
    assert not list(lab.home(bare).iterdir())
    shutil.copytree(wheels.directory((3, 11)), tmp_path / "wheels")
    assert one(lab, bare).error is None


def test_many_hosts_at_once(
    ssh_fleet: Callable[..., SshFleet], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One archive is made for all of them, and more hosts than are sent to at a time all get theirs."""
    made: list[int] = []
    archive = bundle.archive

    def counted(given: list[bytes]) -> bytes:
        made.append(len(given))
        return archive(given)

    monkeypatch.setattr(bundle, "archive", counted)
    monkeypatch.setattr(shipping, "UPLOADS_AT_ONCE", 2)
    fleet = read(ssh_fleet(hosts=4))
    assert [state.error for state in fleet.hosts.values()] == [None] * 4
    assert made == [3]


def test_two_collectors_at_once(lab: SshFleet, bare: str) -> None:
    """Both ship, both read, one agent is there."""

    async def both() -> list[Fleet]:
        wanted = specs(lab, bare)
        return await asyncio.gather(*(collector.read_fleet(wanted) for _ in range(2)))

    assert [fleet.hosts[bare].error for fleet in collector.run(both())] == [None, None]
    assert len(agents(lab, bare)) == 1


def test_an_upload_that_is_killed_in_the_middle(lab: SshFleet, bare: str) -> None:
    """What came is not taken for an agent, and the next reading ships one."""
    archive = bundle.archive(wheels.collected((3, 11)))
    program = bundle.program(f"{bundle.key()}-x86_64-cp311-gnu", archive)
    command = ["ssh", "-F", str(lab.ssh_config), bare, unpack_command(PYTHONS[0], len(program))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as upload:
        assert upload.stdin is not None
        upload.stdin.write(program + archive[: len(archive) // 2])
        upload.stdin.flush()
        wait_until(lambda: lab.processes(bare), "the upload has begun", timeout_s=10)
        upload.kill()
        with suppress(BrokenPipeError):
            upload.stdin.close()
    wait_until(lambda: not lab.processes(bare), "its Python is gone", timeout_s=10)
    assert agents(lab, bare) == []
    assert one(lab, bare).error is None
    assert len(agents(lab, bare)) == 1


def run(lab: SshFleet, name: str, command: str, stdin: bytes, install_s: float) -> Ran:
    async def over_ssh() -> Ran:
        deadlines = Deadlines(Timeouts(install_s=install_s))
        async with Dialer(1) as dialer:
            connection = await dialer.connect(specs(lab, name)[0], deadlines)
            try:
                return await shipping.run(connection, command, stdin, deadlines)
            finally:
                connection.close()

    return collector.run(over_ssh())


SLOWLY = "import os, time\nwhile os.read(0, 1 << 16): print(flush=True); time.sleep(0.05)"


def test_an_upload_lives_as_long_as_bytes_move(lab: SshFleet) -> None:
    """A slow host takes longer than the deadline in all, and is given it; one that takes nothing is not."""
    begun_s = time.monotonic()
    assert run(lab, "h0001", f"/usr/bin/python3 -c '{SLOWLY}'", bytes(4 << 20), install_s=1.5).status == 0
    assert time.monotonic() - begun_s > 3
    with pytest.raises(HostFailure) as caught:
        run(lab, "h0001", "exec sleep 30", bytes(4 << 20), install_s=0.5)
    error = caught.value.error
    assert (error.kind, error.phase) == (ErrorKind.TIMEOUT, Phase.INSTALL)
    assert "install_s" in error.hint


def test_a_connection_that_is_lost_meanwhile(lab: SshFleet) -> None:
    """It is the network's failure, tried again soon, and none of the host's home."""

    def drop() -> None:
        wait_until(lambda: lab.processes("h0002"), "the command has begun", timeout_s=10)
        lab.drop("h0002")

    dropping = threading.Thread(target=drop)
    dropping.start()
    try:
        with pytest.raises(HostFailure) as caught:
            run(lab, "h0002", "exec sleep 30", bytes(4 << 20), install_s=20)
    finally:
        dropping.join()
    assert (caught.value.error.kind, caught.value.error.phase) == (ErrorKind.DISCONNECTED, Phase.INSTALL)


def test_install_and_uninstall(lab: SshFleet, bare: str, fleet_toml: Callable[[SshFleet], Path]) -> None:
    """`fleet hosts install` puts it beside an installed one, `uninstall` takes it away and nothing else."""
    install_agent(lab, bare)
    (lab.home(bare) / ".cache/other").mkdir(parents=True)
    command = [sys.executable, "-m", "fleet", "hosts", "{verb}", bare, "--config", str(fleet_toml(lab))]
    for verb, left in (("install", 1), ("install", 1), ("uninstall", 0), ("uninstall", 0)):
        done = subprocess.run(
            [w.format(verb=verb) for w in command], capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stdout.startswith(f"{bare}: ")
        assert len(agents(lab, bare)) == left
    assert [p.name for p in (lab.home(bare) / ".cache").iterdir()] == ["other"]
    assert (lab.home(bare) / ".local/bin/fleet-agent").exists()


@pytest.fixture
def fleet_toml(tmp_path: Path) -> Callable[[SshFleet], Path]:
    return lambda lab: inventory.write(tmp_path / "hosts.toml", inventory.tables(lab, install="auto"))
