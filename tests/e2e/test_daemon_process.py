"""The daemon as a process: one of it, private files, signals, and a configuration that is taken whole."""

import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fleet import client
from lab import inventory, procs
from lab.emitters import steady
from lab.fleetd import Fleetd
from lab.sshfleet import SshFleet
from lab.waiting import wait_until

HUNG = {
    "blackhole": 2,
    "synhole": 2,
    "drip-banner": 2,
    "hang": 1,
    "hello-only": 1,
    "stall": 1,
    "stubborn": 1,
    "link": 2,
}
LONG = dict.fromkeys(("connect_s", "auth_s", "hello_s", "snapshot_s"), 60)
UNKNOWN_USER = 65534  # nobody, on Linux and macOS


def local_only(root: Path, **extra: Any) -> dict[str, Any]:
    """hosts.toml of this machine alone."""
    return {"defaults": {"agent_command": str(steady(root / "emitter"))} | extra, "hosts": {}}


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Fleetd]:
    """One that follows this machine alone."""
    with Fleetd(tmp_path / "daemon", local_only(tmp_path)) as fleetd:
        fleetd.until_link("up")
        yield fleetd


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_second_daemon_is_refused_and_the_first_goes_on(daemon: Fleetd) -> None:
    """One daemon per runtime directory: exit code 6, the pid in the message (PROMISES 23).

    Nor does one take its socket when somebody has removed its lock.
    """
    second = daemon.run("daemon", "--config", str(daemon.config))
    assert second.returncode == 6
    assert f"another daemon is running (pid {daemon.process.pid})" in second.stderr
    (daemon.runtime / "daemon.lock").unlink()
    third = daemon.run("daemon", "--config", str(daemon.config))
    assert (third.returncode, "another daemon listens at" in third.stderr) == (6, True)
    assert daemon.json("/v1/daemon")["pid"] == daemon.process.pid
    assert daemon.stop() == 0


def test_what_a_killed_daemon_left_does_not_hinder_the_next(daemon: Fleetd) -> None:
    """After kill -9 the socket file and the lock file are there still; the next daemon takes their place."""
    daemon.signal(signal.SIGKILL)
    assert daemon.ended(5) == -signal.SIGKILL
    assert daemon.socket.exists()
    missed = daemon.run("daemon", "status")
    assert missed.returncode == 6
    assert "no daemon listens at" in missed.stderr
    first = daemon.process.pid
    daemon.start()
    assert daemon.json("/v1/daemon")["pid"] not in (None, first)
    assert daemon.stop() == 0
    assert not daemon.socket.exists()


def test_only_its_owner_can_read_its_state(tmp_path: Path) -> None:
    """Directory 0700, socket and lock 0600, though the umask is 0 and the directory was open (PROMISES 22)."""
    fleetd = Fleetd(tmp_path / "daemon", local_only(tmp_path), prefix=("sh", "-c", 'umask 0; exec "$@"', "sh"))
    fleetd.runtime.chmod(0o777)
    with fleetd:
        assert mode(fleetd.runtime) == 0o700
        assert mode(fleetd.socket) == 0o600
        assert mode(fleetd.runtime / "daemon.lock") == 0o600
        assert {path.name for path in fleetd.runtime.iterdir()} == {"fleet.sock", "daemon.lock"}


@pytest.mark.skipif(os.getuid() != 0, reason="NOT TESTED: becoming another user takes root")
@pytest.mark.parametrize("is_open", [False, True], ids=["as made", "directory opened afterwards"])
def test_another_user_is_refused(daemon: Fleetd, is_open: bool) -> None:
    """Neither the directory nor the socket lets another uid in (PROMISES 22)."""
    if is_open:
        daemon.runtime.chmod(0o777)
    knock = (
        "import os, socket, sys\n"
        f"os.setgroups([]); os.setgid({UNKNOWN_USER}); os.setuid({UNKNOWN_USER})\n"
        "try:\n"
        "    socket.socket(socket.AF_UNIX).connect(sys.argv[1])\n"
        "except PermissionError:\n"
        "    sys.exit(13)\n"
    )
    assert subprocess.run([sys.executable, "-c", knock, str(daemon.socket)]).returncode == 13


def test_another_users_directory_is_not_used(tmp_path: Path) -> None:
    """A runtime directory that is not ours is refused, with the way out."""
    if os.getuid() != 0:
        pytest.skip("NOT TESTED: giving a directory away takes root")
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    os.chown(theirs, UNKNOWN_USER, UNKNOWN_USER)
    environ = os.environ | {"FLEET_RUNTIME_DIR": str(theirs)}
    command = [sys.executable, "-m", "fleet", "daemon"]
    done = subprocess.run(command, env=environ, capture_output=True, timeout=20)
    assert done.returncode == 6
    assert b"belongs to another user; set FLEET_RUNTIME_DIR" in done.stderr
    assert not list(theirs.iterdir())


def test_a_shared_directory_is_left_as_it_is(tmp_path: Path) -> None:
    """FLEET_RUNTIME_DIR=/tmp, by root: it is refused, not closed to everybody else."""
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "somebody's").touch()
    shared.chmod(0o1777)
    command = [sys.executable, "-m", "fleet", "daemon"]
    environ = os.environ | {"FLEET_RUNTIME_DIR": str(shared)}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=20)
    assert done.returncode == 6
    assert f"{shared} is open to others and holds other files; set FLEET_RUNTIME_DIR" in done.stderr
    assert (mode(shared), len(list(shared.iterdir()))) == (0o1777, 1)


@pytest.mark.sshd
def test_sigterm_ends_it_in_five_seconds_whatever_hangs(tmp_path: Path) -> None:
    """Frozen and cut hosts, handshakes and hellos that never end, bad clients: exit 0 (PROMISES 24)."""
    with SshFleet(tmp_path / "fleet", hosts=2, faults=HUNG) as lab:
        tables = inventory.tables(lab, agent_command=str(steady(tmp_path / "emitter")), timeouts=LONG)
        with Fleetd(tmp_path / "daemon", tables) as daemon:
            daemon.until_link("up", "h0001", "h0002", "link1", "link2", "stubborn1", "stall1")
            lab.freeze("h0001")
            lab.link("link1", cut=True)
            with daemon.events() as listener, hung_clients(daemon.socket):
                hosts = daemon.hosts()
                assert all(hosts[f"{role}1"]["link"] == "pending" for role in ("blackhole", "synhole", "hang"))
                started_s = time.monotonic()
                assert daemon.stop(within_s=5) == 0, daemon.log()
                assert time.monotonic() - started_s < 5
                assert listener.ended(1)
        lab.thaw("h0001")
        assert procs.wait_gone(lab.processes("h0002"), timeout_s=3) == []


class hung_clients:  # noqa: N801 - reads as the context manager that it is
    """Those who read nothing, those who never end their request, and one whose answer takes a minute."""

    REQUESTS = (
        client.request("GET", "/v1/events"),
        b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 200,  # more than the socket's buffers take
        b"GET /v1/fle",
        b"GET /v1/fleet?fresh=1&timeout_s=60 HTTP/1.1\r\nHost: x\r\n\r\n",
    )

    def __init__(self, path: Path) -> None:
        self._path = path
        self._sockets: list[socket.socket] = []

    def __enter__(self) -> None:
        for request in self.REQUESTS:
            sock = socket.socket(socket.AF_UNIX)
            sock.connect(str(self._path))
            sock.setblocking(False)
            sock.send(request)
            self._sockets.append(sock)
        time.sleep(0.3)  # let them be begun

    def __exit__(self, *exc: object) -> None:
        for sock in self._sockets:
            sock.close()


def test_a_second_sigterm_ends_it_at_once(daemon: Fleetd) -> None:
    """The first waits for an answer that is being sent, the second does not (PROMISES 24)."""
    with hung_clients(daemon.socket):
        daemon.signal(signal.SIGTERM)
        wait_until(lambda: accepts_no_more(daemon), "it drains", timeout_s=3)
        daemon.signal(signal.SIGTERM)
        assert daemon.ended(1) == 1
    assert "a second signal" in daemon.log()


def accepts_no_more(daemon: Fleetd) -> bool:
    try:
        daemon.ask("/healthz")
    except client.NoDaemon:
        return True
    return False


@pytest.mark.skipif(os.getuid() != 0, reason="NOT TESTED: a resolv.conf of its own takes root")
def test_a_dead_name_server_does_not_keep_it(tmp_path: Path) -> None:
    """getaddrinfo is not waited for, neither by a host's deadline nor at the end (PROMISES 6 and 24)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as deaf:
        deaf.bind((f"127.77.{os.getpid() % 250}.9", 53))
        (tmp_path / "resolv.conf").write_text(
            f"nameserver {deaf.getsockname()[0]}\noptions timeout:30 attempts:2\n"
        )
        mount = f'mount --bind {tmp_path}/resolv.conf /etc/resolv.conf && exec "$@"'
        tables = local_only(tmp_path, ssh_config="none", timeouts={"dns_s": 1})
        tables["hosts"] = {"far": {"address": "far.example"}}
        with Fleetd(tmp_path / "d", tables, prefix=("unshare", "-m", "sh", "-c", mount, "sh")) as daemon:
            daemon.until_link("down", "far", timeout_s=10)
            assert daemon.errors()["far"]["phase"] == "dns"
            assert daemon.stop(within_s=5) == 0


WRONG = {
    "a key": ("[defaults]\nintervall_s = 2\n", ("[defaults]", "'intervall_s'", "did you mean 'interval_s'?")),
    "a value": ('[hosts.h0001]\nport = "x"\n', ("[hosts.h0001]", "port = 'x'", "a number from 1 to 65535")),
    "no TOML": ("[hosts", ("is not TOML",)),
    "a group": ('[groups]\ngpu = ["nowhere"]\n', ("[groups]", "nowhere")),
}


@pytest.mark.parametrize("how", ["SIGHUP", "POST"])
def test_a_wrong_configuration_changes_nothing(daemon: Fleetd, how: str) -> None:
    """File, key, value and fix are logged, or answered; the old one stays in force (PROMISES 24 and 25)."""
    before = daemon.hosts()["local"]["since_at"]
    for text, words in WRONG.values():
        daemon.config.write_text("[hosts.new]\naddress = '127.0.0.1'\n" + text)
        if how == "SIGHUP":
            daemon.log_file.write_text("")
            daemon.signal(signal.SIGHUP)
            wait_until(lambda: "stays as it was" in daemon.log(), "it is logged", timeout_s=20)
            told = daemon.log()
        else:
            answer = daemon.ask("/v1/reload", "POST")
            assert answer.status == 422
            told = answer.body.decode()
        assert all(word in told for word in (str(daemon.config), *words)), told
        assert list(daemon.hosts()) == ["local"]
    assert daemon.hosts()["local"]["since_at"] == before
    refused = daemon.run("daemon", "reload")
    assert (refused.returncode, str(daemon.config) in refused.stderr) == (2, True)


@pytest.mark.sshd
@pytest.mark.parametrize("how", ["SIGHUP", "fleet daemon reload"])
def test_a_reload_keeps_the_connections_of_unchanged_hosts(tmp_path: Path, how: str) -> None:
    """One host goes, one comes, one has other settings: only these connect; the server counts the logins."""
    with SshFleet(tmp_path / "fleet", hosts=4) as lab:
        tables = inventory.tables(lab, agent_command=str(steady(tmp_path / "emitter")))
        added = tables["hosts"].pop("h0004")
        with Fleetd(tmp_path / "daemon", tables) as daemon:
            kept = daemon.until_link("up")["h0001"]
            del tables["hosts"]["h0003"]
            tables["hosts"]["h0002"]["interval_s"] = 3
            inventory.write(daemon.config, {**tables, "hosts": tables["hosts"] | {"h0004": added}})
            if how == "SIGHUP":
                daemon.signal(signal.SIGHUP)
            else:
                assert daemon.run("daemon", "reload").stdout == "following 4 hosts\n"
            hosts = daemon.until(lambda hosts: "h0004" in hosts, "h0004 is followed", 5)
            assert list(hosts) == ["local", "h0001", "h0002", "h0004"]
            assert daemon.until_link("up")["h0001"]["since_at"] == kept["since_at"]
            logins = {name: lab.logins(name) for name in lab.hosts}
            assert logins == {"h0001": 1, "h0002": 2, "h0003": 1, "h0004": 1}
            wait_until(lambda: "h0003" not in lab.sessions(), "h0003 is let go", timeout_s=3)
