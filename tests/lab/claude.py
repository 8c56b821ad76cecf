"""The real Claude Code, at one pinned version, offline against the mock model API."""

import json
from pathlib import Path

from lab import LabError, home
from lab.home import ToolHome, installed
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
    return home.obstacle("claude", CLAUDE_VERSION)


def claude_path() -> Path | None:
    """Claude Code where scripts/setup puts it; None if it is not there."""
    return installed("claude", CLAUDE_VERSION)


class ClaudeHome(ToolHome):
    """A home with a trusted project, for any number of Claude Code processes, all ended with it.

    url      the mock model API's
    trusted  whether the project's folder was trusted before, and the first questions answered

    `config` is CLAUDE_CONFIG_DIR.
    """

    def __init__(self, url: str, *, trusted: bool = True) -> None:
        claude, reason = claude_path(), obstacle()
        if claude is None or reason is not None:
            raise LabError(reason or "")
        super().__init__("claude", "CLAUDE_CONFIG_DIR", "CLAUDE", "ANTHROPIC_", "CODEX_")
        self.claude = claude
        self.config = self._own
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

    @property
    def env(self) -> dict[str, str]:
        """The environment in which it is run."""
        return super().env | {"ANTHROPIC_BASE_URL": self._url, "ANTHROPIC_API_KEY": _KEY} | _OFFLINE

    def tui(self, *options: str) -> Tmux:
        """Start the terminal UI and wait for its prompt. It asks before it acts, unless `options` say other."""
        mode = () if "--permission-mode" in options else ("--permission-mode", "default")
        terminal = self._terminal([str(self.claude), *mode, *options])
        terminal.wait_for("\u276f", timeout_s=60)
        return terminal

    def transcripts(self) -> list[Path]:
        """The transcripts of this home's sessions, each named by its session."""
        return sorted((self.config / "projects").glob("*/*.jsonl"))
