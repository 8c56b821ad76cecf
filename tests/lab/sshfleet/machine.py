"""What this machine has to offer: an sshd, an account that it lets in, free addresses."""

import contextlib
import os
import pwd
import re
import secrets
import shutil
import socket
import subprocess
import sys

from lab import LabError
from lab.sshfleet.config import Host, plan_hosts

SBIN = "/usr/sbin:/usr/local/sbin:/sbin"  # where sshd is, and seldom in anybody's PATH


def obstacle() -> str | None:
    """Why this machine cannot run a fleet, with the fix; None if it can."""
    if not sys.platform.startswith("linux"):
        return "the SSH lab needs Linux: it uses /proc and the whole of 127.0.0.0/8"
    if sshd_path() is None or shutil.which("ssh-keygen") is None:
        return "sshd or ssh-keygen not found: install openssh-server"
    if _locked(account()):
        return (
            f"account {account()} is locked ('!' in /etc/shadow) and sshd refuses it:"
            f" `usermod -p '*' {account()}` allows keys and still no password"
        )
    return None


def account() -> str:
    """The name of the user who runs this."""
    return pwd.getpwuid(os.getuid()).pw_name


def sshd_path() -> str | None:
    """OpenSSH's server; it wants to be started by its absolute path."""
    return shutil.which("sshd", path=f"{SBIN}:{os.environ['PATH']}")


def sshd_version(path: str) -> tuple[int, ...]:
    """(9, 2) for OpenSSH_9.2p1."""
    text = subprocess.run([path, "-V"], capture_output=True, text=True, check=False).stderr
    found = re.search(r"OpenSSH_(\d+)\.(\d+)", text)
    return tuple(map(int, found.groups())) if found else (0, 0)


def free_place(
    healthy: int, faults: dict[str, int], net: str | None, port: int | None
) -> tuple[dict[str, Host], int]:
    """Hosts on a net where nobody listens on the port nor on the one above it, and that port.

    Chosen at random out of millions, so that fleets of other test processes are not met even while they start;
    below 32768, where Linux takes the ports of outgoing connections from.
    """
    for _ in range(50):
        candidate = port or 10_000 + secrets.randbelow(20_000)
        hosts = plan_hosts(healthy, faults, net or f"127.{16 + secrets.randbelow(230)}")
        addresses = [host.address for host in hosts.values()]
        if (net and port) or all(_free(a, p) for a in addresses for p in (candidate, candidate + 1)):
            return hosts, candidate
    raise LabError("no free loopback net and port found in 50 tries")


def accepts(address: str, port: int) -> bool:
    """Whether somebody listens there."""
    with socket.socket() as probe:
        probe.settimeout(2)
        return probe.connect_ex((address, port)) == 0


def _free(address: str, port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((address, port))
        except OSError:
            return False
    return True


def _locked(user: str) -> bool:
    with contextlib.suppress(OSError), open("/etc/shadow") as shadow:
        return any(line.startswith(f"{user}:!") for line in shadow)
    return False
