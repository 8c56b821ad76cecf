"""The reference of the command line."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_reference_is_current() -> None:
    """docs/cli.md is what `--help` says. Write it with `python scripts/cli_reference.py > docs/cli.md`."""
    script = [sys.executable, str(ROOT / "scripts" / "cli_reference.py")]
    written = subprocess.run(script, capture_output=True, text=True, check=True, timeout=60).stdout
    assert (ROOT / "docs" / "cli.md").read_text("utf-8") == written
