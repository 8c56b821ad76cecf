"""What the homes of the real tools have in common: where the tool is, a place to run it in, and its end."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Self

from lab import procs
from lab.tmux import Tmux

ENDS_WITHIN_S = 5.0


def installed(tool: str, version: str) -> Path | None:
    """The tool's program of a pinned version where scripts/setup puts it; None if it is not there."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    path = cache / "fleet-dev" / f"{tool}-{version}" / "node_modules/.bin" / tool
    return path if path.exists() else None


def obstacle(tool: str, version: str) -> str | None:
    """Why this machine cannot run the real tool in a terminal, with the fix; None if it can."""
    if not sys.platform.startswith("linux"):
        return f"the {tool} lab needs Linux: it finds processes in /proc"
    missing = ["tmux"] if shutil.which("tmux") is None else []
    missing += [f"{tool} {version}"] if installed(tool, version) is None else []
    return f"{', '.join(missing)} not found: scripts/setup --test installs what is missing" if missing else None


class ToolHome:
    """A home of its own with a project, for any number of processes of one tool, all ended with it.

    tool      its name; `~/.TOOL` is its own directory
    variable  the environment variable that names this directory, in every process of this home
    others    what the variables begin with of a tool that runs these tests, say: none is handed on

    `project` is a git repository on branch `lab`, the directory in which the tool is run.
    """

    def __init__(self, tool: str, variable: str, *others: str) -> None:
        # Short, for the sockets inside; TMPDIR elsewhere, as Codex makes no helpers in a home below it.
        self._directory = tempfile.TemporaryDirectory(prefix=f"fleet-{tool}-")
        self.root = Path(self._directory.name)
        self._user, self.project, self._temp = (self.root / name for name in ("user", "project", "tmp"))
        self._own = self._user / f".{tool}"
        for directory in (self._user, self._own, self.project, self._temp):
            directory.mkdir()
        self._variable, self._others = variable, others
        self._terminals = 0

    def __enter__(self) -> Self:
        git = ["git", "-c", "user.name=lab", "-c", "user.email=lab@localhost", "-C", str(self.project)]
        subprocess.run([*git, "init", "-q", "-b", "lab"], check=True)
        subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "lab"], check=True)
        return self

    def __exit__(self, *exc: object) -> None:
        procs.end_carrying(timeout_s=ENDS_WITHIN_S, **{self._variable: str(self._own)})
        self._directory.cleanup()

    @property
    def env(self) -> dict[str, str]:
        """The environment in which the tool is run."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(self._others)}
        ours = {"HOME": self._user, self._variable: self._own, "TMPDIR": self._temp}
        return inherited | {name: str(path) for name, path in ours.items()}

    def _terminal(self, command: list[str]) -> Tmux:
        """Start a command in a terminal of its own."""
        self._terminals += 1
        return Tmux(self.root / f"tmux{self._terminals}", command, cwd=self.project, env=self.env)
