"""Prometheus's own checker. scripts/setup --test takes it out of Debian's `prometheus` package."""

import os
import shutil
import subprocess
from pathlib import Path


def obstacle() -> str | None:
    """Why this machine cannot check Prometheus's files, with the fix; None if it can."""
    return None if promtool_path() else "promtool not found: scripts/setup --test installs it"


def promtool_path() -> str | None:
    """promtool where scripts/setup puts it, or on PATH."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return shutil.which(cache / "fleet-dev/promtool") or shutil.which("promtool")


def promtool(*arguments: str | Path) -> str:
    """What promtool says, all of it; an AssertionError with that if it objects."""
    done = subprocess.run(
        [promtool_path() or "promtool", *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    return done.stdout
