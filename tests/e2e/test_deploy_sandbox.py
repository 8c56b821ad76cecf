"""The real daemon as the system unit would run it: its environment, its notifications, its system calls."""

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet import client
from lab import inventory, systemd
from lab.sshfleet import SshFleet, install_agent
from lab.waiting import wait_until

pytestmark = [pytest.mark.sshd, pytest.mark.systemd]

TESTS = Path(__file__).parents[1]
UNIT = TESTS.parent / "deploy/systemd/system/fleet.service"
SETTINGS = systemd.settings(UNIT)
SANDBOX = [sys.executable, "-m", "lab.seccomp", str(UNIT)]

REFUSED = {  # each of them something that any user may do
    "code that is written while it runs": "import mmap; mmap.mmap(-1, 4096, prot=7)",
    "a socket to the kernel": "import socket; socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)",
    "a choice of processors": "import os; os.sched_setaffinity(0, os.sched_getaffinity(0))",
}


@pytest.mark.parametrize("attempt", REFUSED)
def test_the_sandbox_refuses(attempt: str) -> None:
    """What the unit forbids fails here as well: the next test runs under rules that bite."""
    done = subprocess.run(
        [*SANDBOX, sys.executable, "-c", REFUSED[attempt]],
        env=os.environ | {"PYTHONPATH": str(TESTS)}, capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    assert done.returncode == 1
    assert "PermissionError: [Errno 1]" in done.stderr


@pytest.fixture
def manager() -> Iterator[socket.socket]:
    """systemd's end of sd_notify. Its directory's path is short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="fleet-") as directory, socket.socket(
        socket.AF_UNIX, socket.SOCK_DGRAM
    ) as notified:  # fmt: skip
        notified.bind(f"{directory}/notify")
        notified.settimeout(15)
        yield notified


def fleet_of(line: str) -> list[str]:
    """The command of an Exec line, with the fleet of this checkout."""
    return [*SANDBOX, sys.executable, "-m", "fleet", *shlex.split(line)[1:]]


def environment(notify: str, inventory_file: Path) -> dict[str, str]:
    """What systemd sets for this unit, and what marks the lab's processes."""
    base = Path(notify).parent
    for name in ("run", "state"):
        (base / name).mkdir(mode=0o700)
    return {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": f"{base}/state",
        "RUNTIME_DIRECTORY": f"{base}/run",
        "STATE_DIRECTORY": f"{base}/state",
        "NOTIFY_SOCKET": notify,
        "WATCHDOG_USEC": "1000000",
        "FLEET_CONFIG": str(inventory_file),
        "PYTHONPATH": str(TESTS),
        **{name: value for name, value in os.environ.items() if name.startswith("FLEET_LAB")},
    }


def heard(manager: socket.socket, *, after: str = "WATCHDOG=1") -> str:
    """The next notification that is not `after`."""
    while (message := manager.recv(256).decode()) == after:
        pass
    return message.split("\n")[0]


def links(api: Path) -> dict[str, str] | None:
    """Host -> state, once the daemon has something to say of each."""
    if client.ask("/readyz", socket_path=api).status != 200:
        return None
    hosts = json.loads(client.ask("/v1/hosts", socket_path=api).body)["hosts"]
    return {host["name"]: host["link"] for host in hosts}


def test_the_daemon_needs_nothing_that_the_unit_forbids(manager: socket.socket, tmp_path: Path) -> None:
    """Under the unit's system calls it gets ready, reads this machine and one over SSH, feeds the watchdog,
    reloads by command and by SIGHUP, and ends on SIGTERM within the unit's time."""
    with SshFleet(tmp_path / "fleet", hosts=1) as lab:
        install_agent(lab)
        hosts = inventory.write(tmp_path / "hosts.toml", inventory.tables(lab))
        env = environment(manager.getsockname(), hosts)
        api = Path(env["RUNTIME_DIRECTORY"]) / "fleet.sock"
        with subprocess.Popen(fleet_of(SETTINGS["ExecStart"][0]), env=env) as daemon:
            try:
                assert heard(manager) == "READY=1"
                states = wait_until(lambda: links(api), "every host has answered", timeout_s=20)
                assert states == {"local": "up"} | dict.fromkeys(lab.hosts, "up")
                assert heard(manager, after="") == "WATCHDOG=1"
                reload = subprocess.run(
                    fleet_of(SETTINGS["ExecReload"][0]), env=env, capture_output=True, text=True, timeout=20
                )
                assert (reload.stdout, reload.stderr) == ("following 2 hosts\n", "")
                daemon.send_signal(signal.SIGHUP)
                assert [heard(manager), heard(manager)] == ["RELOADING=1", "READY=1"]
                daemon.send_signal(signal.SIGTERM)
                assert heard(manager) == "STOPPING=1"
                assert daemon.wait(timeout=float(SETTINGS["TimeoutStopSec"][0])) == 0
            finally:
                daemon.kill()
