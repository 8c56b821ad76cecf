"""`fleet status` as a person runs it: the real command, over real sshd, with the real agent."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import pytest

from lab import inventory
from lab.sshfleet import SshFleet, install_agent
from lab.waiting import wait_until

pytestmark = pytest.mark.sshd

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshFleet]:
    """Two machines that can be read, and five that cannot, three of them for one reason."""
    faults = {"refused": 3, "auth-failure": 1, "command-missing": 1, "noise": 1}
    with SshFleet(tmp_path_factory.mktemp("status") / "fleet", hosts=2, faults=faults) as fleet:
        install_agent(fleet, "h0001", "h0002", "noise1")
        inventory.write(fleet.root / "hosts.toml", inventory.tables(fleet))
        yield fleet


def status(lab: SshFleet, *arguments: str) -> "subprocess.CompletedProcess[str]":
    argv = [sys.executable, "-m", "fleet", "status", "--config", str(lab.root / "hosts.toml"), *arguments]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)


def test_every_host_is_in_the_table_and_failures_are_folded_by_cause(lab: SshFleet) -> None:
    """Hosts that could not be read stand below, each cause once, with what mends it; exit code 4."""
    done = status(lab)
    assert done.returncode == 4, done.stderr
    assert "refused[1-3]: unreachable (connect): " in done.stdout
    assert "auth-failure1: auth (auth): permission denied for " in done.stdout
    assert "command-missing1: agent_missing (hello): " in done.stdout
    assert "pipx install fleet-sessions-agent" in done.stdout
    assert "4 hosts up, 5 down" in done.stdout
    assert "Welcome to Debian" in done.stdout  # the warning about the noisy host
    assert done.stderr == ""


def test_json_has_every_host_and_follows_its_schema(lab: SshFleet) -> None:
    """One document, valid by the schema that `fleet schema` prints; what failed is in host_errors[]."""
    document = json.loads(status(lab, "--json").stdout)
    printed = subprocess.run([sys.executable, "-m", "fleet", "schema"], capture_output=True, check=True).stdout
    jsonschema.validate(document, json.loads(printed))
    assert {host["name"] for host in document["hosts"]} == {"local", *lab.hosts}
    failed = {error["host"]: (error["kind"], error["phase"]) for error in document["host_errors"]}
    assert failed == {
        "refused1": ("unreachable", "connect"),
        "refused2": ("unreachable", "connect"),
        "refused3": ("unreachable", "connect"),
        "auth-failure1": ("auth", "auth"),
        "command-missing1": ("agent_missing", "hello"),
    }
    counts = {host["name"]: host["session_count"] for host in document["hosts"]}
    assert counts["refused1"] is None
    assert counts["h0001"] is not None


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["-H", "h0001,h0002"], 0),
        (["-H", "h[0001-0002],refused1"], 4),
        (["-H", "refused[1-3]"], 5),
        (["-H", "refused[1-3]", "--fail-on", "none"], 0),
        (["-H", "h0001,refused1", "--fail-on", "all"], 0),
        (["-H", "refused1", "--fail-on", "all"], 5),
        (["-x", "refused[1-3],auth-failure1,command-missing1"], 0),
        (["-H", "h9"], 2),
        (["--config", "/no/such/hosts.toml"], 2),
    ],
)
def test_exit_codes(lab: SshFleet, arguments: list[str], code: int) -> None:
    """0 well, 2 wrong command line or configuration, 4 some hosts failed, 5 all failed; --fail-on decides."""
    done = status(lab, *arguments)
    assert done.returncode == code, done.stdout + done.stderr
    assert bool(done.stderr) == (code == 2)


def test_a_key_that_can_only_observe_is_enough(tmp_path: Path) -> None:
    """The restricted line of deploy/ gives fleet all it needs, and nobody anything else."""
    line = (ROOT / "deploy/authorized_keys.example").read_text().splitlines()[-1]
    options = line.split(" ssh-ed25519 ")[0]
    with SshFleet(tmp_path / "fleet", hosts=1) as lab:
        install_agent(lab)
        keys = lab.root / "authorized_keys"
        keys.write_text(f"{options} {keys.read_text()}")
        inventory.write(lab.root / "hosts.toml", inventory.tables(lab))
        done = status(lab, "-H", "h0001")
        assert done.returncode == 0, done.stdout
        for attempt in (["id"], ["-N", "-o", "ExitOnForwardFailure=yes", "-R", "127.0.0.1:0:127.0.0.1:1"]):
            ssh = ["ssh", "-F", str(lab.ssh_config), "h0001", *attempt]
            tried = subprocess.run(ssh, capture_output=True, text=True, timeout=20, stdin=subprocess.DEVNULL)
            assert "uid=" not in tried.stdout
            assert tried.returncode != 0 or '"type":"hello"' in tried.stdout


def test_a_killed_fleet_leaves_no_agent_behind(tmp_path: Path) -> None:
    """kill -9 of the collector: the agents on its hosts are gone within 3 s (PROMISES 11)."""
    with SshFleet(tmp_path / "fleet", hosts=2) as lab:
        install_agent(lab)
        config = inventory.write(lab.root / "hosts.toml", inventory.tables(lab))
        argv = [sys.executable, "-m", "fleet", "status", "--config", str(config), "-x", "local", "--watch", "1"]
        watching = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
        try:
            wait_until(lambda: all(lab.processes(name) for name in lab.hosts), "the agents run", timeout_s=20)
        finally:
            watching.kill()
            watching.wait()
        wait_until(lambda: not any(lab.processes(name) for name in lab.hosts), "they are gone", timeout_s=3)
