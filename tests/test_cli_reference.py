"""The reference of the command line."""

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fleet.cli.app import app

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("group", [[], ["hosts"], ["daemon"]])
def test_summaries_are_whole_on_a_narrow_terminal(group: list[str]) -> None:
    """No line of the list of commands is cut at 80 columns."""
    shown = CliRunner().invoke(app, [*group, "--help"], env={"COLUMNS": "80"}).stdout
    assert not [line for line in shown.partition("Commands:")[2].splitlines() if line.endswith("...")]


def test_the_reference_is_current() -> None:
    """docs/cli.md is what `--help` says. Write it with `python scripts/cli_reference.py > docs/cli.md`."""
    script = [sys.executable, str(ROOT / "scripts" / "cli_reference.py")]
    written = subprocess.run(script, capture_output=True, text=True, check=True, timeout=60).stdout
    assert (ROOT / "docs" / "cli.md").read_text("utf-8") == written
