"""README, "Add your machines": its five commands, word for word, by a new user on bare hosts."""

import os
import pty
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import wheels
from lab.sshfleet import SshFleet

pytestmark = [pytest.mark.sshd, pytest.mark.wheels]
README = Path(__file__).parents[2] / "README.md"
ADDRESS = "10.0.0.4"  # of gpu01, in README; the lab has another one


def commands() -> list[list[str]]:
    """The block of commands, as argument lists without `fleet`."""
    section = README.read_text().partition("## Add your machines")[2]
    block = re.search(r"watched fleet:\n\n((?:    fleet .*\n)+)", section)
    assert block is not None
    words = [shlex.split(line, comments=True) for line in block[1].splitlines()]
    return [arguments for _, *arguments in words]


class User:
    """A home with a key and an ssh_config; gpu02 and gpu03 were logged in to before, by ssh."""

    def __init__(self, home: Path, lab: SshFleet) -> None:
        self.home, self.lab = home, lab
        ssh = home / ".ssh"
        ssh.mkdir(parents=True)
        for end in ("", ".pub"):
            (ssh / f"id_ed25519{end}").write_bytes(Path(f"{lab.key}{end}").read_bytes())
        (ssh / "id_ed25519").chmod(0o600)
        (ssh / "known_hosts").write_text("".join(lab.known_hosts.read_text().splitlines(keepends=True)[1:]))
        aliases = zip(("gpu01", "gpu02", "gpu03"), lab.hosts.values(), strict=True)
        blocks = "".join(f"Host {alias}\n  HostName {host.address}\n" for alias, host in aliases)
        common = f"  Port {lab.port}\n  User {lab.user}\n  UserKnownHostsFile {ssh}/known_hosts\n"
        (ssh / "config").write_text(f"{blocks}Host *\n{common}")
        self.env = {
            "HOME": str(home),
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "FLEET_RUNTIME_DIR": str(home / "run"),
            "XDG_CACHE_HOME": str(wheels.CACHE),
        }

    def start(self, arguments: list[str], stdin: int = subprocess.DEVNULL) -> "subprocess.Popen[str]":
        first = next(iter(self.lab.hosts.values()))
        command = [sys.executable, "-m", "fleet", *(first.address if a == ADDRESS else a for a in arguments)]
        return subprocess.Popen(
            command,
            env=self.env,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, arguments: list[str], answer: str) -> tuple[int, str]:
        """Exit status and output; `answer` is typed when something is asked."""
        ours, theirs = pty.openpty()
        try:
            os.write(ours, f"{answer}\n".encode())
            process = self.start(arguments, theirs)
            said, _ = process.communicate(timeout=60)
            return process.returncode, said
        finally:
            os.close(ours)
            os.close(theirs)


@pytest.fixture
def user(tmp_path: Path) -> Iterator[User]:
    with SshFleet(tmp_path / "fleet", hosts=3) as lab:
        yield User(tmp_path / "home", lab)


def test_from_nothing_to_a_watched_fleet(user: User) -> None:
    """Nothing is configured, nothing installed, one host's key unknown: five commands later all are watched."""
    add, trust, import_, check, watch = commands()
    status, said = user.run(add, "")
    assert (status, "then run `fleet hosts trust gpu01`" in said) == (5, True), said
    status, said = user.run(trust, "yes")
    assert (status, "next: `fleet hosts check gpu01`" in said) == (0, True), said
    status, said = user.run(import_, "")
    assert (status, "gpu02, gpu03" in said) == (0, True), said
    status, said = user.run(check, "")
    assert (status, "4 of 4 hosts work" in said) == (0, True), said
    watching = user.start(watch)
    try:
        assert watching.stdout is not None
        for line in watching.stdout:
            if "4 hosts up" in line:
                break
        else:
            pytest.fail("it ended")
    finally:
        os.killpg(watching.pid, signal.SIGINT)
        watching.communicate(timeout=10)
    assert watching.returncode == 130
