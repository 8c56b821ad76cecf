"""What the lab does to pytest, seen from outside: a pytest of its own runs a small test file."""

import os
import re
import subprocess
import sys
from pathlib import Path

from lab import procs

TESTS = Path(__file__).parent

NEEDS_CODEX = """
import pytest

@pytest.mark.codex
def test_it():
    pass
"""
LEAVES_A_PROCESS = """
import subprocess
import time

def test_it():
    subprocess.Popen(["sleep", "4244"], start_new_session=True)
    time.sleep(0.2)  # for a moment after exec a process has no environment to be known by
"""


def run_pytest(directory: Path, test: str, **variables: str) -> tuple[int, str]:
    """The exit status and output of pytest over one test file."""
    (directory / "test_inner.py").write_text(test)
    argv = [sys.executable, "-m", "pytest", "-p", "lab.plugin", "test_inner.py"]
    environment = os.environ | {"PYTHONPATH": str(TESTS), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    environment |= {"FLEET_REQUIRE_REAL": "0"} | variables
    done = subprocess.run(argv, cwd=directory, env=environment, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout + done.stderr


def test_a_missing_part_is_skipped_and_said(tmp_path: Path) -> None:
    """Without Codex its tests are skipped, and the summary names the part and how to get it."""
    status, said = run_pytest(tmp_path, NEEDS_CODEX, XDG_CACHE_HOME=str(tmp_path))
    assert status == 0
    assert "NOT TESTED: codex" in said
    assert re.search(r"1 tests did not run. .*codex [\d.]+ not found: scripts/setup --test installs", said)


def test_a_missing_part_fails_where_it_is_required(tmp_path: Path) -> None:
    """With FLEET_REQUIRE_REAL=1, as in CI, the same is a failure."""
    status, said = run_pytest(tmp_path, NEEDS_CODEX, XDG_CACHE_HOME=str(tmp_path), FLEET_REQUIRE_REAL="1")
    assert status == 1
    assert re.search("FLEET_REQUIRE_REAL=1, and .*codex", said)


def test_a_process_left_behind_fails_its_module(tmp_path: Path) -> None:
    """A test that leaves a process behind is told so, and the process is ended."""
    status, said = run_pytest(tmp_path, LEAVES_A_PROCESS)
    assert status == 1
    found = re.search(r"test_inner.py left behind:\npid (\d+): sleep 4244", said)
    assert found is not None, said
    assert procs.born(int(found[1])) == 0
