"""The real OpenCode, at one pinned version, offline against the mock model API of Claude Code."""

import json

from lab import LabError, home
from lab.home import ToolHome

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
    return home.obstacle("opencode", OPENCODE_VERSION)


class OpencodeHome(ToolHome):
    """A home of its own with a project, for any number of OpenCode processes, all ended with it.

    url  the mock model API's (mock_anthropic)

    It asks before it runs a command and before it edits a file.
    """

    def __init__(self, url: str) -> None:
        opencode, reason = home.installed("opencode", OPENCODE_VERSION), obstacle()
        if opencode is None or reason is not None:
            raise LabError(reason or "")
        super().__init__("opencode", "OPENCODE_CONFIG_DIR", "OPENCODE", "ANTHROPIC_", "XDG_")
        self.opencode = opencode
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
        (self._own / "opencode.json").write_text(json.dumps(settings))

    @property
    def env(self) -> dict[str, str]:
        """The environment in which it is run."""
        return super().env | _OFFLINE
