"""The SSH lab itself: every role does what its description says, and nothing is left behind."""

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest

from fleet_agent import wire
from lab import LabError, procs
from lab.sshfleet import FAULTS, SshFleet, install_agent
from lab.waiting import wait_until

pytestmark = pytest.mark.sshd

CONNECT_TIMEOUT_S = 2
PATIENCE_S = 5


class Answer(NamedTuple):
    status: int | None  # None: it still ran when our patience was over
    out: bytes
    err: str
    took_s: float


def ssh(fleet: SshFleet, host: str, command: str = "echo hi", *options: str) -> Answer:
    argv = ["ssh", "-F", str(fleet.ssh_config), "-o", f"ConnectTimeout={CONNECT_TIMEOUT_S}"]
    argv += ["-o", "KexAlgorithms=curve25519-sha256", *options, host, command]
    start = time.monotonic()
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE_S)
    except subprocess.TimeoutExpired as late:
        return Answer(None, late.stdout or b"", "", time.monotonic() - start)
    return Answer(done.returncode, done.stdout, done.stderr.decode(errors="replace"), time.monotonic() - start)


@contextlib.contextmanager
def ssh_client(fleet: SshFleet, host: str, command: str) -> Iterator["subprocess.Popen[bytes]"]:
    """An ssh that goes on in the background, and is ended whatever happens."""
    argv = ["ssh", "-F", str(fleet.ssh_config), host, command]
    pipe = subprocess.PIPE
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe) as client:
        try:
            yield client
        finally:
            client.kill()


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshFleet]:
    faults = dict.fromkeys(FAULTS, 1)
    with SshFleet(tmp_path_factory.mktemp("lab"), hosts=3, faults=faults, slow_s=0.5) as started:
        yield started


NO_SSH = ("reset", "not-ssh", "banner-only", "drip-banner")  # what ssh says of these depends on its version
ENDLESS = ("endless-lines", "endless-line", "endless-snapshot", "stderr-flood")
SEEN = [
    # role, exit status, in stdout, in stderr
    ("ok", 0, b"hi\n", ""),
    ("refused", 255, b"", "refused"),
    ("blackhole", 255, b"", "timed out"),
    ("synhole", 255, b"", "timed out"),
    ("slow-banner", 0, b"hi\n", ""),
    ("wrong-host-key", 255, b"", "HOST IDENTIFICATION HAS CHANGED"),
    ("auth-failure", 255, b"", "Permission denied"),
    ("command-missing", 127, b"", "not found"),
    ("no-shell", 1, b"not available", ""),
    ("crash", 3, b"", "MemoryError"),
    ("noise", 0, b"hi\n", ""),
    ("garbage", 0, b'{"hello": tru', ""),
    ("silent", 0, b"", ""),
    ("hang", None, b"", ""),
    ("stubborn", None, b"hi\n", ""),
    ("schema", 0, b'"schema":999', ""),
    ("hello-only", None, b'"hello"', ""),
    ("stall", None, b'"snapshot"', ""),
    ("die-midline", 255, b'"snap', ""),
    ("drop-midline", 255, b'"snap', "closed"),
    ("link", 0, b"hi\n", ""),
]


@pytest.fixture(scope="module")
def answers(fleet: SshFleet) -> dict[str, Answer]:
    """What each role answers to `echo hi`, all asked at once."""
    hosts = {role: "h0001" if role == "ok" else f"{role}1" for role, *_ in SEEN}
    with ThreadPoolExecutor(len(hosts)) as pool:
        return dict(zip(hosts, pool.map(lambda host: ssh(fleet, host), hosts.values()), strict=True))


def test_every_fault_is_tested() -> None:
    """A role without a line in the table above would be a claim that nobody checks."""
    assert {role for role, *_ in SEEN} | {*ENDLESS, *NO_SSH} == {"ok", *FAULTS}


@pytest.mark.parametrize(("role", "status", "out", "err"), SEEN, ids=[role for role, *_ in SEEN])
def test_role(answers: dict[str, Answer], role: str, status: int | None, out: bytes, err: str) -> None:
    """A role shows a client what its description says."""
    answer = answers[role]
    assert answer.status == status, answer
    assert out in answer.out, answer
    assert err in answer.err, answer


def first_bytes(fleet: SshFleet, host: str, *, within_s: float) -> bytes:
    """What a host sends by itself, without a client that speaks SSH."""
    found = b""
    with socket.create_connection((fleet.hosts[host].address, fleet.port), timeout=within_s) as raw:
        raw.sendall(b"SSH-2.0-lab\r\n")
        until = time.monotonic() + within_s
        with contextlib.suppress(TimeoutError):
            while chunk := raw.recv(4096):
                found += chunk
                raw.settimeout(max(0.01, until - time.monotonic()))
    return found


def test_reset(fleet: SshFleet) -> None:
    """The connection is made, and reset."""
    with pytest.raises(ConnectionResetError):
        first_bytes(fleet, "reset1", within_s=5)


def test_not_ssh(fleet: SshFleet) -> None:
    """A web server answers."""
    assert first_bytes(fleet, "not-ssh1", within_s=5).startswith(b"HTTP/1.1 400 ")


def test_banner_only(fleet: SshFleet) -> None:
    """The version line comes, and nothing else, however long one waits."""
    assert first_bytes(fleet, "banner-only1", within_s=1.0) == b"SSH-2.0-lab\r\n"


def test_drip_banner(fleet: SshFleet) -> None:
    """The version line comes one byte per second."""
    assert first_bytes(fleet, "drip-banner1", within_s=1.5) in (b"S", b"SS")


@pytest.mark.parametrize("role", ENDLESS)
def test_endless(fleet: SshFleet, role: str) -> None:
    """Endless roles do not stop: 5 MB come as easily as the first line."""
    with ssh_client(fleet, f"{role}1", "x") as client:
        assert client.stdout is not None
        assert client.stderr is not None
        if role == "stderr-flood":
            assert b'"hello"' in client.stdout.readline()
        flood = client.stderr if role == "stderr-flood" else client.stdout
        assert len(flood.read(5_000_000)) == 5_000_000


def test_identity_and_home(fleet: SshFleet) -> None:
    """A host knows its name and has a home of its own."""
    answer = ssh(fleet, "h0002", "echo $SSHFLEET_HOST $HOME")
    assert answer.out.decode().split() == ["h0002", str(fleet.home("h0002"))]


def test_install_agent(fleet: SshFleet) -> None:
    """`install_agent` puts the real agent where its user would have it, on the named hosts only."""
    (agent,) = install_agent(fleet, "h0002")
    argv = agent.read_text().splitlines()[-1].split()
    assert argv == ["exec", sys.executable, "-m", "fleet_agent", '"$@"']
    assert ssh(fleet, "h0002", "test -x ~/.local/bin/fleet-agent").status == 0
    assert ssh(fleet, "h0001", "test -e ~/.local/bin/fleet-agent").status == 1


def test_known_hosts_variants(fleet: SshFleet, tmp_path: Path) -> None:
    """Tests can have a host key be unknown, changed or revoked; the other hosts stay known."""
    written = fleet.write_known_hosts(
        tmp_path / "known", unknown=["h0001"], changed=["h0002"], revoked=["link1"]
    )
    option = f"-oUserKnownHostsFile={written}"
    assert "No ED25519 host key is known" in ssh(fleet, "h0001", "true", option).err
    assert "IDENTIFICATION HAS CHANGED" in ssh(fleet, "h0002", "true", option).err
    assert "REVOKED" in ssh(fleet, "link1", "true", option).err
    assert ssh(fleet, "h0003", "true", option).status == 0


def test_drop_kill_revive_freeze(fleet: SshFleet) -> None:
    """Sessions can be cut, hosts can vanish, come back, and stop answering."""
    with ssh_client(fleet, "h0003", "echo up; exec sleep 4242") as client:
        assert client.stdout is not None
        assert client.stdout.readline() == b"up\n"
        assert fleet.sessions()["h0003"] == 1
        (sleeper,) = fleet.processes("h0003")
        assert fleet.drop("h0003") == 1
        assert client.wait(3) == 255
        assert procs.wait_gone([sleeper], timeout_s=2) == []
    fleet.kill("h0003")
    assert "refused" in ssh(fleet, "h0003").err
    fleet.revive("h0003")
    assert ssh(fleet, "h0003").status == 0
    fleet.freeze("h0003")
    assert "timed out" in ssh(fleet, "h0003").err
    fleet.thaw("h0003")
    assert ssh(fleet, "h0003").status == 0


def test_link(fleet: SshFleet) -> None:
    """A link can be slow, cut and healed."""
    fast_s = ssh(fleet, "link1").took_s
    fleet.link("link1", delay_ms=60)
    assert ssh(fleet, "link1").took_s > fast_s + 0.4
    fleet.link("link1", delay_ms=0, cut=True)
    assert "timed out" in ssh(fleet, "link1").err
    fleet.link("link1", cut=False)
    assert ssh(fleet, "link1").status == 0


def test_two_fleets_do_not_meet(fleet: SshFleet, tmp_path: Path) -> None:
    """Fleets choose nets and ports of their own, so that tests run in parallel; `match` is one host's."""
    with SshFleet(tmp_path / "other", hosts=2, match={"h0001": ["ForceCommand echo other"]}) as other:
        assert (other.hosts["h0001"].address, other.port) != (fleet.hosts["h0001"].address, fleet.port)
        assert ssh(other, "h0001").out == b"other\n"
        assert ssh(other, "h0002").out == b"hi\n"
        assert ssh(fleet, "h0001").out == b"hi\n"


def test_stop_ends_what_commands_left_behind(tmp_path: Path) -> None:
    """A command that left its session and its parent is found by its host, and ended with the fleet."""
    with SshFleet(tmp_path / "lab") as fleet:
        ssh(fleet, "h0001", "(setsid sleep 4343 >/dev/null 2>&1 &) ; true")
        sleeper = wait_until(
            lambda: next((p for p in fleet.processes("h0001") if "sleep 4343" in p.describe()), None),
            "the command runs",
            timeout_s=10,
        )
    assert not sleeper.alive()
    assert procs.carrying(SSHFLEET_ROOT=str(fleet.root)) == []


def test_hosts_share_sshds(tmp_path: Path) -> None:
    """Above 64 hosts (or on request) up to 16 share an sshd, and then cannot be killed alone."""
    with SshFleet(tmp_path / "lab", hosts=20, per_sshd=16) as fleet:
        assert len(fleet.sshds) == 2
        assert ssh(fleet, "h0020", "echo $SSHFLEET_HOST").out == b"h0020\n"
        with pytest.raises(LabError, match="per_sshd=1"):
            fleet.kill("h0001")


def lab(*arguments: str | Path) -> "subprocess.Popen[str]":
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
    argv = [sys.executable, "-m", "lab.sshfleet", *map(str, arguments)]
    return subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def said(*arguments: str | Path) -> str:
    return lab(*arguments).communicate(timeout=30)[0]


def test_command_line(tmp_path: Path) -> None:
    """A fleet started by one command can be asked, troubled and stopped by others."""
    root = tmp_path / "lab"
    assert '"hosts": 2' in said("up", root, "-n", "1", "--fault", "link=1")
    try:
        assert said("status", root).startswith("2 hosts, 2/2 sshds up")
        assert "already" in said("up", root)
        assert said("link", root, "link1", "--delay-ms", "1") == ""
        assert "no host 'h9'" in said("kill", root, "h9")
        assert ssh(SshFleet.load(root), "h0001").out == b"hi\n"
    finally:
        assert said("stop", root) == ""
    assert said("status", root).startswith("2 hosts, 0/2 sshds up")


def test_run_stops_the_fleet_when_it_is_ended(tmp_path: Path) -> None:
    """`run` ends its hosts also when it is itself ended by SIGTERM."""
    with lab(
        "run", tmp_path, "--", "sh", "-c", "test -f $SSHFLEET_DIR/fleet.json && echo in; exec sleep 60"
    ) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "in\n"
        run.terminate()
        assert run.wait(10) == 143
    assert SshFleet.load(tmp_path).running() == 0


def test_refusals(tmp_path: Path) -> None:
    """What cannot work is refused with the reason."""
    with pytest.raises(LabError, match="127"):
        SshFleet(tmp_path, net="10.0")
    with pytest.raises(LabError, match="unknown fault"):
        SshFleet(tmp_path, faults={"nope": 1})
    with pytest.raises(LabError, match="per_sshd"):
        SshFleet(tmp_path, per_sshd=17)
    with pytest.raises(LabError, match="plainer"):
        SshFleet(tmp_path / "a b")
    with pytest.raises(LabError, match="no host 'h7'"):
        SshFleet(tmp_path, match={"h7": ["PermitTTY no"]})
    with pytest.raises(LabError, match="no fleet here"):
        SshFleet.load(tmp_path)


def test_roles_speak_the_wire(answers: dict[str, Answer]) -> None:
    """Roles that play an agent print frames of today's schema, so that only their fault is wrong."""
    hello, snapshot = answers["stall"].out.splitlines()
    assert msgspec.json.decode(hello, type=wire.Hello).schema == wire.SCHEMA
    assert msgspec.json.decode(snapshot, type=wire.Snapshot).sessions == ()
