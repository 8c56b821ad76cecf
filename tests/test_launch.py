"""fleet.launch: the command line that starts the agent."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from fleet.config import HostSpec
from fleet.launch import local_command, remote_command, snapshot_arguments, stream_arguments

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
