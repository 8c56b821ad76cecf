"""The real Claude Code, at one pinned version, offline against the mock model API."""

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

CLAUDE_VERSION = "2.1.329"  # scripts/setup reads this line
_KEY = "sk-ant-api03-" + "mock" * 10
# Nothing but the model API is asked, and nothing is installed.
_OFFLINE = {
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "CLAUDE_CODE_DISABLE_OFFICIAL_MARKETPLACE_AUTOINSTALL": "1",
    "DISABLE_AUTOUPDATER": "1",
    "DISABLE_ERROR_REPORTING": "1",
    "DISABLE_TELEMETRY": "1",
}


def obstacle() -> str | None:
    """Why this machine cannot run the real Claude Code, with the fix; None if it can."""
    if not sys.platform.startswith("linux"):
        return "the Claude lab needs Linux: it finds processes in /proc"
    missing = ["tmux"] if shutil.which("tmux") is None else []
    missing += [f"claude {CLAUDE_VERSION}"] if claude_path() is None else []
    return f"{', '.join(missing)} not found: scripts/setup --test installs what is missing" if missing else None


def claude_path() -> Path | None:
    """Claude Code where scripts/setup puts it; None if it is not there."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    path = cache / "fleet-dev" / f"claude-{CLAUDE_VERSION}" / "node_modules/.bin/claude"
    return path if path.exists() else None


class ClaudeHome:
    """A home of its own with a trusted project, for any number of Claude Code processes, all ended with it.

    url      the mock model API's
    trusted  whether the project's folder was trusted before, and the first questions answered

    `config` is CLAUDE_CONFIG_DIR; in `project`, a git repository on branch `lab`, it is run.
    """

    def __init__(self, url: str, *, trusted: bool = True) -> None:
        claude, reason = claude_path(), obstacle()
        if claude is None or reason is not None:
            raise LabError(reason or "")
        self.claude = claude
        self._directory = tempfile.TemporaryDirectory(prefix="fleet-claude-")
        self.root = Path(self._directory.name)
        self._user, self.project, self._temp = (self.root / name for name in ("user", "project", "tmp"))
        self.config = self._user / ".claude"
        for directory in (self._user, self.config, self.project, self._temp):
            directory.mkdir()
        accepted = {"hasTrustDialogAccepted": trusted, "hasCompletedProjectOnboarding": True}
        answered = {
            "hasCompletedOnboarding": True,
            "lastOnboardingVersion": CLAUDE_VERSION,
            "theme": "dark",
            "customApiKeyResponses": {"approved": [_KEY[-20:]], "rejected": []},
            "officialMarketplaceAutoInstallAttempted": True,
            "projects": {str(self.project): accepted},
        }
        (self.config / ".claude.json").write_text(json.dumps(answered))
        self._url = url
        self._terminals = 0

    def __enter__(self) -> Self:
        git = ["git", "-c", "user.name=lab", "-c", "user.email=lab@localhost", "-C", str(self.project)]
        subprocess.run([*git, "init", "-q", "-b", "lab"], check=True)
        subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "lab"], check=True)
        return self

    def __exit__(self, *exc: object) -> None:
        procs.end_carrying(CLAUDE_CONFIG_DIR=str(self.config))
        self._directory.cleanup()

    @property
    def env(self) -> dict[str, str]:
        """The environment in which it is run."""
        others = ("CLAUDE", "ANTHROPIC_", "CODEX_")  # of one that runs these tests, say
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(others)}
        places = {"HOME": self._user, "CLAUDE_CONFIG_DIR": self.config, "TMPDIR": self._temp}
        ours = {"ANTHROPIC_BASE_URL": self._url, "ANTHROPIC_API_KEY": _KEY}
        return inherited | {name: str(path) for name, path in places.items()} | ours | _OFFLINE

    def tui(self, *options: str) -> Tmux:
        """Start the terminal UI and wait for its prompt. It asks before it acts, unless `options` say other."""
        self._terminals += 1
        mode = () if "--permission-mode" in options else ("--permission-mode", "default")
        command = [str(self.claude), *mode, *options]
        terminal = Tmux(self.root / f"tmux{self._terminals}", command, cwd=self.project, env=self.env)
        terminal.wait_for("\u276f", timeout_s=60)
        return terminal

    def transcripts(self) -> list[Path]:
        """The transcripts of this home's sessions, each named by its session."""
        return sorted((self.config / "projects").glob("*/*.jsonl"))
