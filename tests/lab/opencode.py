"""The real OpenCode, at one pinned version, offline against the mock model API of Claude Code."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Self

from lab import LabError, procs
from lab.tmux import Tmux

OPENCODE_VERSION = "1.18.33"  # scripts/setup reads this line
_MODEL = "claude-sonnet-4-6"
# Nothing but the model API is asked, and nothing is installed.
_OFFLINE = {
    "OPENCODE_DISABLE_AUTOUPDATE": "1",
    "OPENCODE_DISABLE_DEFAULT_PLUGINS": "1",
    "OPENCODE_DISABLE_LSP_DOWNLOAD": "1",
    "OPENCODE_DISABLE_MODELS_FETCH": "1",
}


def obstacle() -> str | None:
    """Why this machine cannot run the real OpenCode, with the fix; None if it can."""
    if not sys.platform.startswith("linux"):
        return "the OpenCode lab needs Linux: it finds processes in /proc"
    missing = ["tmux"] if shutil.which("tmux") is None else []
    missing += [f"opencode {OPENCODE_VERSION}"] if opencode_path() is None else []
    return f"{', '.join(missing)} not found: scripts/setup --test installs what is missing" if missing else None


def opencode_path() -> Path | None:
    """OpenCode where scripts/setup puts it; None if it is not there."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    path = cache / "fleet-dev" / f"opencode-{OPENCODE_VERSION}" / "node_modules/.bin/opencode"
    return path if path.exists() else None


class OpencodeHome:
    """A home of its own with a project, for any number of OpenCode processes, all ended with it.

    url  the mock model API's (mock_anthropic)

    It asks before it runs a command and before it edits a file. In `project`, a git repository on branch `lab`,
    it is run.
    """

    def __init__(self, url: str) -> None:
        opencode, reason = opencode_path(), obstacle()
        if opencode is None or reason is not None:
            raise LabError(reason or "")
        self.opencode = opencode
        self._directory = tempfile.TemporaryDirectory(prefix="fleet-opencode-")
        self.root = Path(self._directory.name)
        self._user, self.project, self._temp = (self.root / name for name in ("user", "project", "tmp"))
        config = self._user / ".config/opencode"
        for directory in (config, self.project, self._temp):
            directory.mkdir(parents=True)
        provider = {
            "npm": "@ai-sdk/anthropic",  # which it carries with it
            "name": "Mock",
            "options": {"baseURL": f"{url}/v1", "apiKey": "mock"},
            "models": {_MODEL: {"name": "Model", "limit": {"context": 200_000, "output": 8192}}},
        }
        settings = {
            "model": f"mock/{_MODEL}",
            "small_model": f"mock/{_MODEL}",
            "autoupdate": False,
            "share": "disabled",
            "permission": {"bash": "ask", "edit": "ask", "external_directory": "allow"},
            "provider": {"mock": provider},
        }
        (config / "opencode.json").write_text(json.dumps(settings))
        self._terminals = 0

    def __enter__(self) -> Self:
        git = ["git", "-c", "user.name=lab", "-c", "user.email=lab@localhost", "-C", str(self.project)]
        subprocess.run([*git, "init", "-q", "-b", "lab"], check=True)
        subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "lab"], check=True)
        return self

    def __exit__(self, *exc: object) -> None:
        procs.end_carrying(HOME=str(self._user))
        self._directory.cleanup()

    @property
    def env(self) -> dict[str, str]:
        """The environment in which it is run."""
        others = ("OPENCODE", "ANTHROPIC_", "XDG_")  # of one that runs these tests, say
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(others)}
        return inherited | {"HOME": str(self._user), "TMPDIR": str(self._temp)} | _OFFLINE

    def tui(self, *options: str) -> Tmux:
        """Start the terminal UI and wait for its prompt."""
        self._terminals += 1
        command = [str(self.opencode), *options]
        terminal = Tmux(self.root / f"tmux{self._terminals}", command, cwd=self.project, env=self.env)
        terminal.wait_for("Ask anything", timeout_s=60)
        return terminal
