"""`fleet hosts restrict --install` where no agent is installed: fleet leaves one there that stays."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import inventory, wheels
from lab.sshfleet import SshFleet

pytestmark = [pytest.mark.sshd, pytest.mark.wheels]
FLEET = [sys.executable, "-m", "fleet"]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshFleet]:
    """Hosts with sshd and Python, and nothing else."""
    with SshFleet(tmp_path_factory.mktemp("bare") / "fleet", hosts=2, faults={"garbage": 1}) as fleet:
        yield fleet


@pytest.fixture(scope="module")
def observer(lab: SshFleet) -> Path:
    key = lab.root / "observer"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    return key


def fleet(config: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    env = os.environ | {"XDG_CACHE_HOME": str(wheels.CACHE)}
    command = [*FLEET, *arguments, "--config", str(config)]
    return subprocess.run(
        command, env=env, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL
    )


def restrict(lab: SshFleet, config: Path, name: str, key: Path) -> "subprocess.CompletedProcess[str]":
    file = str(lab.root / "authorized_keys")
    return fleet(
        config, "hosts", "restrict", name, "--key", str(key), "--install", "--yes", "--file", file
    )  # fmt: skip


@pytest.mark.parametrize("used_before", [False, True])
def test_a_bare_host_gets_an_agent_that_stays(
    lab: SshFleet, observer: Path, tmp_path: Path, used_before: bool
) -> None:
    """The forced command names an agent that no release replaces: it works without what fleet ships."""
    name = "h0001" if used_before else "h0002"
    full = inventory.write(tmp_path / "full.toml", inventory.tables(lab, install="auto"))
    if used_before:
        assert fleet(full, "status", "-H", name).returncode == 0
        assert re.search(r"agent +ok +fleet-agent \S+ \(shipped\)", fleet(full, "hosts", "check", name).stdout)
    done = restrict(lab, full, name, observer)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{name} has no installed agent, and gets fleet's: ~/.local/share/fleet-agent" in done.stdout
    line = (lab.root / "authorized_keys").read_text().splitlines()[-1]
    assert line.startswith('command="~/.local/bin/fleet-agent serve --privacy meta",restrict ssh-ed25519 ')
    shutil.rmtree(lab.home(name) / ".cache")
    observing = inventory.write(tmp_path / "observer.toml", inventory.tables(lab, identity=str(observer)))
    assert fleet(observing, "status", "-H", name).returncode == 0
    assert not (lab.home(name) / ".cache").exists()
    assert fleet(full, "hosts", "uninstall", name).returncode == 0
    assert not list((lab.home(name) / ".local").glob("*/*"))
    (lab.root / "authorized_keys").write_text(f"{lab.key.with_suffix('.pub').read_text()}")


def test_never_says_what_to_do(lab: SshFleet, observer: Path, tmp_path: Path) -> None:
    """Where fleet may not install, it changes nothing and names both ways out."""
    before = (lab.root / "authorized_keys").read_text()
    config = inventory.write(tmp_path / "never.toml", inventory.tables(lab, install="never"))
    done = restrict(lab, config, "h0001", observer)
    assert done.returncode == 2
    assert "pipx install fleet-sessions-agent" in done.stderr
    assert "agent_command" in done.stderr
    assert (lab.root / "authorized_keys").read_text() == before


def test_what_does_not_answer_is_not_touched(lab: SshFleet, observer: Path, tmp_path: Path) -> None:
    """A forced command in the way is no host without an agent: nothing is sent there."""
    config = inventory.write(tmp_path / "hosts.toml", inventory.tables(lab, install="auto"))
    done = restrict(lab, config, "garbage1", observer)
    assert done.returncode == 2
    assert "runs no command of ours" in done.stderr
    assert not list(lab.home("garbage1").iterdir())
