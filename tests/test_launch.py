"""fleet.launch: the command line that starts the agent."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from fleet import checks
from fleet.config import HostSpec
from fleet.launch import (
    KEPT_LAUNCHER,
    keep_command,
    local_command,
    probe_command,
    remote_command,
    remove_command,
    snapshot_arguments,
    stream_arguments,
)

SPEC = HostSpec("h")
SHELLS = [s for s in ("sh", "bash", "dash", "zsh", "fish", "csh", "tcsh", "ksh") if shutil.which(s)]


def agent(path: Path, says: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'#!/bin/sh\necho {says} "$@"\n')
    path.chmod(0o755)


def run(shell: str, command: str, home: Path, path: str = "/usr/bin:/bin") -> subprocess.CompletedProcess[str]:
    env = {"HOME": str(home), "PATH": path}
    return subprocess.run([shell, "-c", command], env=env, capture_output=True, text=True, timeout=10)


@pytest.mark.parametrize("shell", SHELLS)
def test_the_known_place_comes_before_path(shell: str, tmp_path: Path) -> None:
    """~/.local/bin wins over PATH, whatever the login shell, also with a space in $HOME."""
    home = tmp_path / "a home"
    agent(home / ".local/bin/fleet-agent", "ours")
    agent(tmp_path / "bin/fleet-agent", "other")
    done = run(shell, remote_command(SPEC, snapshot_arguments(SPEC)), home, f"{tmp_path}/bin:/usr/bin:/bin")
    assert done.stdout == "ours snapshot --privacy meta\n"


def test_path_is_the_last_resort(tmp_path: Path) -> None:
    """With nothing in the known places, PATH decides."""
    agent(tmp_path / "bin/fleet-agent", "other")
    done = run("sh", remote_command(SPEC, stream_arguments(SPEC)), tmp_path, f"{tmp_path}/bin:/usr/bin:/bin")
    assert done.stdout == "other stream --interval 2 --privacy meta\n"


def test_no_agent_exits_with_127(tmp_path: Path) -> None:
    """What a shell says of a missing command, so that every way of missing is one."""
    done = run("sh", remote_command(SPEC, snapshot_arguments(SPEC)), tmp_path)
    assert done.returncode == 127
    assert "fleet-agent: not found" in done.stderr


def test_a_configured_command_is_run_as_it_stands(tmp_path: Path) -> None:
    """`agent_command` is a command line: it may set variables and carry options."""
    agent(tmp_path / "my agent", "mine")
    spec = HostSpec("h", agent_command=f"env A=1 '{tmp_path}/my agent' -v", privacy="title")
    done = run("sh", remote_command(spec, snapshot_arguments(spec)), tmp_path)
    assert done.stdout == "mine -v snapshot --privacy title\n"
    assert local_command(spec, ("snapshot",)) == ("env", "A=1", f"{tmp_path}/my agent", "-v", "snapshot")


def test_this_machine_runs_the_agent_beside_fleet() -> None:
    """`local` needs nothing installed but fleet itself, and no PATH."""
    argv = local_command(SPEC, ("--version",))
    done = subprocess.run(argv, capture_output=True, text=True, env={"HOME": os.environ["HOME"]}, timeout=30)
    assert done.returncode == 0, done.stderr


def shipped(home: Path, name: str) -> Path:
    """What fleet has shipped to a home: a "Python" that says what it was started with."""
    directory = home / ".cache/fleet/agent" / name
    agent(directory / "python", "shipped")
    return directory


@pytest.mark.parametrize("shell", SHELLS)
def test_what_fleet_has_shipped_comes_first(shell: str, tmp_path: Path) -> None:
    """The bundle of exactly this name, for this machine, before what is installed, whatever the shell."""
    home = tmp_path / "a home"
    agent(home / ".local/bin/fleet-agent", "installed")
    machine = os.uname().machine
    for other in (f"other-{machine}-cp311-gnu", "ours-pdp11-cp311-gnu"):
        shipped(home, other)
    command = remote_command(SPEC, snapshot_arguments(SPEC), "ours")
    assert run(shell, command, home).stdout == "installed snapshot --privacy meta\n"
    ours = shipped(home, f"ours-{machine}-cp311-gnu")
    assert run(shell, command, home).stdout == f"shipped -ISB {ours} snapshot --privacy meta\n"
    (ours / "python").unlink()
    (ours / "python").symlink_to("/nonexistent/python3.11")
    assert run(shell, command, home).stdout == "installed snapshot --privacy meta\n"


@pytest.mark.parametrize("shell", SHELLS)
def test_a_host_without_an_agent_says_what_it_has(shell: str, tmp_path: Path) -> None:
    """One command, no second question: exit status 127, and a line of the report for each Python."""
    for name in ("python3", "python3.12"):
        agent(tmp_path / "bin" / name, "told")
    done = run(
        shell, remote_command(SPEC, snapshot_arguments(SPEC), "ours"), tmp_path, f"{tmp_path}/bin:/usr/bin:/bin"
    )
    assert done.returncode == 127
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert lines[0].startswith("fleet-probe Linux ")
    assert lines[-1] == "fleet-agent: not found"


def test_an_own_command_is_all_that_is_run(tmp_path: Path) -> None:
    """With `agent_command` nothing is looked for, and nothing could be shipped."""
    spec = HostSpec("h", agent_command="mine")
    assert remote_command(spec, ("snapshot",), "ours") == remote_command(spec, ("snapshot",))


@pytest.mark.parametrize("shell", SHELLS)
def test_what_was_shipped_is_removed_and_nothing_else(shell: str, tmp_path: Path) -> None:
    """Also when there is nothing; the rest of the cache stays."""
    home = tmp_path / "a home"
    (home / ".cache/other").mkdir(parents=True)
    for _ in range(2):
        assert run(shell, remove_command(), home).returncode == 0
        assert [p.name for p in (home / ".cache").iterdir()] == ["other"]
        shipped(home, "ours")
    (home / ".cache/fleet/wheels").mkdir()
    assert run(shell, remove_command(), home).returncode == 0
    assert [p.name for p in (home / ".cache/fleet").iterdir()] == ["wheels"]


@pytest.mark.parametrize("shell", SHELLS)
def test_a_probe_sees_both_agents(shell: str, tmp_path: Path) -> None:
    """The installed one and the shipped one, which is run first; of others, and of none, it says nothing."""
    home = tmp_path / "a home"
    machine = os.uname().machine
    shipped(home, f"other-{machine}-cp311-gnu")
    probed = checks.probed(run(shell, probe_command("ours"), home).stdout.encode())
    assert probed is not None
    assert (probed.agent, probed.shipped, probed.running) == ("", "", "")
    agent(home / ".local/bin/fleet-agent", "installed")
    ours = shipped(home, f"ours-{machine}-cp311-gnu")
    probed = checks.probed(run(shell, probe_command("ours"), home).stdout.encode())
    assert probed is not None
    assert probed.agent == f"{home}/.local/bin/fleet-agent installed --version"
    assert probed.shipped == f"shipped -ISB {ours} --version"
    assert probed.running == f"{probed.shipped} (shipped)"
    probed = checks.probed(run(shell, probe_command(), home).stdout.encode())
    assert probed is not None
    assert probed.running == probed.agent


def keep(shell: str, home: Path) -> subprocess.CompletedProcess[bytes]:
    env = {"HOME": str(home), "PATH": "/usr/bin:/bin", "k": "/etc"}
    command = [shell, "-c", keep_command("ours")]
    return subprocess.run(command, env=env, input=KEPT_LAUNCHER, capture_output=True, timeout=10)


@pytest.mark.parametrize("shell", SHELLS)
def test_a_shipped_agent_can_be_kept(shell: str, tmp_path: Path) -> None:
    """It is copied whole and found as an installed one when the shipped one is gone; it can be taken away."""
    home = tmp_path / "a home"
    home.mkdir()
    gone = keep(shell, home)
    assert (gone.returncode, gone.stderr) == (3, b"the shipped agent is gone\n")
    assert not list(home.iterdir())
    ours = shipped(home, f"ours-{os.uname().machine}-cp311-gnu")
    for _ in range(2):
        assert keep(shell, home).returncode == 0
    shutil.rmtree(ours)
    done = run(shell, remote_command(SPEC, snapshot_arguments(SPEC), "ours"), home)
    kept = home / ".local/share/fleet-agent"
    assert done.stdout == f"shipped -ISB {kept} snapshot --privacy meta\n"
    assert sorted(p.name for p in (home / ".local").glob("*/*")) == ["fleet-agent", "fleet-agent"]
    assert run(shell, remove_command(), home).returncode == 0
    assert not list((home / ".local").glob("*/*"))


def test_an_agent_that_was_installed_otherwise_is_not_removed(tmp_path: Path) -> None:
    """pipx puts its own into the same place."""
    agent(tmp_path / ".local/bin/fleet-agent", "installed")
    assert run("sh", remove_command(), tmp_path).returncode == 0
    assert (tmp_path / ".local/bin/fleet-agent").exists()
