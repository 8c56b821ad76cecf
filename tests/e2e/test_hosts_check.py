"""`fleet hosts check` and `add` over real sshd: the first step that fails, for every way to fail."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet.errors import HostFailure
from fleet.transport import Transport
from fleet.transport.commands import Ran
from fleet.transport.deadlines import Deadlines
from lab import inventory
from lab.fleetd import Fleetd
from lab.sshfleet import SshFleet, install_agent

pytestmark = pytest.mark.sshd

# fault of the lab -> the step that fails
STEPS = {
    "refused": "tcp",
    "synhole": "tcp",
    "blackhole": "ssh",
    "wrong-host-key": "host_key",
    "auth-failure": "auth",
    "command-missing": "agent",
    "no-shell": "hello",
    "crash": "hello",
    "garbage": "hello",
    "hang": "hello",
    "schema": "hello",
    "hello-only": "snapshot",
}
TIMEOUTS = {"connect_s": 3, "auth_s": 3, "hello_s": 4, "snapshot_s": 4}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshFleet]:
    root = tmp_path_factory.mktemp("check") / "fleet"
    with SshFleet(root, hosts=2, faults=dict.fromkeys(STEPS, 1)) as fleet:
        install_agent(fleet)
        yield fleet


def fleet(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "fleet", "hosts", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)


def test_the_first_step_that_fails_is_named_with_its_fix(lab: SshFleet) -> None:
    """All at once; the error is the one that `fleet status` would show. A host that works is ok to the end."""
    tables = inventory.tables(lab, timeouts=TIMEOUTS, install="never")
    tables["hosts"]["nowhere"] = {"address": "no-such-host.invalid"}
    config = inventory.write(lab.root / "hosts.toml", tables)
    started_s = time.monotonic()
    ran = fleet("check", "all,!local", "--json", "--config", str(config))
    assert time.monotonic() - started_s < 20  # one after the other they take a minute
    assert ran.returncode == 4, ran.stderr
    checks = {check["host"]: check for check in json.loads(ran.stdout)["checks"]}
    expected = {f"{fault}1": step for fault, step in STEPS.items()}
    assert {host: check["failed"] for host, check in checks.items()} == expected | {
        "h0001": None,
        "h0002": None,
        "nowhere": "resolve",
    }
    for check in checks.values():
        for step in check["steps"]:
            if step["status"] == "failed":
                assert step["hint"]
                assert step["note"] == check["error"]["message"]
    agent = next(step for step in checks["h0001"]["steps"] if step["name"] == "agent")
    assert "/home/h0001/.local/bin/fleet-agent fleet-agent " in agent["note"]


def test_a_host_is_added_checked_and_followed(lab: SshFleet, tmp_path: Path) -> None:
    """One command: it is in the file, works, and a running daemon follows it, until it is removed."""
    tables = inventory.tables(lab)
    tables["hosts"] = {"h0001": tables["hosts"]["h0001"]}
    with Fleetd(tmp_path, tables) as daemon:
        address = lab.hosts["h0002"].address
        added = daemon.run("hosts", "add", "second", "--address", address, "--config", str(daemon.config))
        assert added.returncode == 0, added.stdout + added.stderr
        assert "the daemon follows 3 hosts now" in added.stdout
        daemon.until_link("up", "second")
        removed = daemon.run("hosts", "remove", "second", "--config", str(daemon.config))
        assert "the daemon follows 2 hosts now" in removed.stdout
        assert "second" not in daemon.hosts()


def test_a_commands_output_and_time_are_bounded(lab: SshFleet) -> None:
    """What a probe prints is kept up to a limit, and one that does not end is given up."""
    spec = inventory.specs(lab, "h0001")[0]

    async def run(command: str, limit_s: float) -> Ran:
        async with Transport() as transport, transport.remote(spec, Deadlines(spec.timeouts)) as remote:
            return await remote.run(command, limit_bytes=1000, limit_s=limit_s)

    flood = asyncio.run(run("head -c 5000000 /dev/zero; exit 3", 10))
    assert (flood.status, len(flood.out)) == (3, 1000)
    with pytest.raises(HostFailure, match=r"did not end within 0\.5 s"):
        asyncio.run(run("sleep 60", 0.5))
