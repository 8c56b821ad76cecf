"""fleet.daemon.notify: what systemd is told."""

import os
import socket
from pathlib import Path

import pytest

from fleet.daemon import notify


def test_what_is_sent(tmp_path: Path) -> None:
    """One datagram each; reloading with the monotonic time that Type=notify-reload wants."""
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(os.fspath(path))
        environ = {"NOTIFY_SOCKET": str(path)}
        for tell in (notify.ready, notify.alive, notify.reloading, notify.stopping):
            tell(environ)
        said = [systemd.recv(4096).decode() for _ in range(4)]
    assert (said[0], said[1], said[3]) == ("READY=1", "WATCHDOG=1", "STOPPING=1")
    reloading, usec = said[2].split("\nMONOTONIC_USEC=")
    assert reloading == "RELOADING=1"
    assert int(usec) > 0


def test_the_abstract_name_and_nobody(tmp_path: Path) -> None:
    """A name with @ is abstract; without the variable, or with nobody listening, nothing happens."""
    name = f"fleet-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(f"\0{name}")
        notify.ready({"NOTIFY_SOCKET": f"@{name}"})
        assert systemd.recv(4096) == b"READY=1"
    notify.ready({})
    notify.ready({"NOTIFY_SOCKET": str(tmp_path / "none")})


@pytest.mark.parametrize(
    ("environ", "every_s"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "x"}, None),
    ],
)
def test_the_watchdog(environ: dict[str, str], every_s: float | None) -> None:
    """Twice as often as systemd waits, and only where it watches this very process."""
    assert notify.watchdog_s(environ) == every_s
