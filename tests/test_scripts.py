"""scripts/: set-up on machines that lack something, and the launcher from anywhere."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# What a set-up is made from, in the order of its key.
KEY_FILES = ("requirements-dev.txt", "requirements.txt", "pyproject.toml", "agent/pyproject.toml")
SH = shutil.which("sh") or "sh"


def bare_path(directory: Path, *programs: str) -> str:
    """A PATH with these programs of this machine and nothing else."""
    directory.mkdir()
    for program in programs:
        found = shutil.which(program)
        assert found is not None, program
        (directory / program).symlink_to(found)
    return str(directory)


def checkout(directory: Path) -> Path:
    """What scripts/setup reads, without .venv."""
    for name in ("scripts/setup", "scripts/fleet", *KEY_FILES):
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, directory / name)
    return directory


def run(argv: list[str | Path], **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(argv, env=environment, cwd="/", capture_output=True, text=True, timeout=30)


@pytest.mark.parametrize("script", ["setup", "fleet"])
def test_without_python_the_message_says_so(tmp_path: Path, script: str) -> None:
    """A machine without Python 3.11 is told what is needed; nothing goes to stdout."""
    path = bare_path(tmp_path / "bin", "sh", "dirname", "cat", "cksum", "mkdir", "tail")
    done = run([SH, checkout(tmp_path / "top") / "scripts" / script], PATH=path)
    assert done.returncode == 1
    assert done.stdout == ""
    assert "setup: fleet needs Python 3.11 or newer" in done.stderr


def test_without_venv_the_message_names_the_package(tmp_path: Path) -> None:
    """Where Debian's python3 lacks its venv package and nobody may install it, the message names it."""
    path = bare_path(tmp_path / "bin", "sh", "dirname", "cat", "cksum", "mkdir", "tail", "id")
    python = tmp_path / "bin/python3"  # the real Python, kept from finding ensurepip as Debian's cannot
    python.write_text(f'#!{SH}\ncase "$2" in *ensurepip*) exit 1 ;; esac\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    done = run([SH, checkout(tmp_path / "top") / "scripts/setup"], PATH=path)
    package = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
    assert done.returncode == 1
    assert f"cannot make virtual environments: apt-get install {package}" in done.stderr


def test_unknown_options_are_refused() -> None:
    """A typo does not pass for a set-up."""
    done = run([ROOT / "scripts/setup", "--tset"], PATH=os.environ["PATH"])
    assert (done.returncode, done.stderr) == (1, "setup: usage: scripts/setup [--test]\n")


@pytest.fixture
def set_up_checkout(tmp_path: Path) -> Path:
    """A checkout whose set-up is done, with /bin/echo for fleet: what the launcher hands on is what is seen."""
    top = checkout(tmp_path / "the top")
    key = f"cat {' '.join(KEY_FILES)} scripts/setup | cksum"
    (top / ".venv/bin").mkdir(parents=True)
    for name, target in {"python": sys.executable, "fleet": "/bin/echo"}.items():
        (top / ".venv/bin" / name).symlink_to(target)
    done = subprocess.run(key, shell=True, cwd=top, capture_output=True, check=True)
    (top / ".venv/run.done").write_bytes(done.stdout)
    return top


def test_the_launcher_runs_from_anywhere(set_up_checkout: Path, tmp_path: Path) -> None:
    """Called by its path, through relative and absolute symlinks, from any directory; arguments stay whole."""
    launcher = set_up_checkout / "scripts/fleet"
    (tmp_path / "absolute").symlink_to(launcher)
    (tmp_path / "relative").symlink_to("absolute")
    for path in (launcher, tmp_path / "absolute", tmp_path / "relative"):
        done = run([path, "status", "--host", "a b"], PATH=os.environ["PATH"], CDPATH="/tmp")
        assert (done.returncode, done.stdout, done.stderr) == (0, "status --host a b\n", "")
