"""SSH hosts on which `fleet` may start, answer and stop sessions of the real Codex, and `fleet` beside them."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from lab import inventory
from lab.codex import CodexHome, codex_path
from lab.mock_responses import MockResponses
from lab.sshfleet import SshFleet, install_agent

_FLEET = (sys.executable, "-m", "fleet")
Ran = subprocess.CompletedProcess[str]


class Controlled:
    """Hosts h0001 ... with Codex, running while it is entered.

    `permitted`: those that have `control = true`. `config`: more for each host's own config.toml of Codex.
    """

    def __init__(
        self, root: Path, api: MockResponses, *, hosts: int = 1, permitted: int = 1, **codex: str
    ) -> None:
        self.fleet = SshFleet(root / "fleet", hosts=hosts)
        self._codex = CodexHome(api.url, **codex)
        self._root = root
        self._permitted = [f"h{number:04}" for number in range(1, permitted + 1)]
        self._runtime = tempfile.TemporaryDirectory(prefix="fleetd-")  # a test's path may be long for a socket
        self.environ = os.environ | {
            "XDG_STATE_HOME": str(root / "state"),
            "FLEET_RUNTIME_DIR": self._runtime.name,
            "FLEET_CONFIG": str(root / "hosts.toml"),
            "COLUMNS": "80",
        }

    def __enter__(self) -> Self:
        self._codex.__enter__()
        self.fleet.__enter__()
        for agent in install_agent(self.fleet):  # a tmux server of their own, which nobody else's end ends
            agent.write_text(agent.read_text().replace("exec ", f"TMUX_TMPDIR={self._runtime.name} exec ", 1))
        for name in self.fleet.hosts:
            self._install_codex(self.fleet.home(name))
        self.write_config()
        return self

    def __exit__(self, *exc: object) -> None:
        tmux = ["tmux", "-S", f"{self._runtime.name}/tmux-{os.getuid()}/default", "kill-server"]
        subprocess.run(tmux, capture_output=True, check=False)
        self.fleet.__exit__(*exc)
        self._codex.__exit__(*exc)
        self._runtime.cleanup()

    @property
    def project(self) -> Path:
        """A git repository that Codex trusts, on every host."""
        return self._codex.project

    def write_config(self, **more: Mapping[str, Any]) -> Path:
        """hosts.toml anew; `more`: keys of hosts."""
        tables = inventory.tables(self.fleet)
        tables["hosts"]["local"] = {"control": False}
        for name in self._permitted:
            tables["hosts"][name]["control"] = True
        for name, keys in more.items():
            tables["hosts"][name] |= keys
        return inventory.write(self._root / "hosts.toml", tables)

    def run(self, *arguments: str, given: str | None = None, timeout_s: float = 60.0) -> Ran:
        """A command of fleet, to its end."""
        return subprocess.run(
            [*_FLEET, *arguments], env=self.environ, capture_output=True, text=True, timeout=timeout_s,
            input=given, stdin=subprocess.DEVNULL if given is None else None,
        )  # fmt: skip

    def out(self, *arguments: str, given: str | None = None) -> str:
        """What a command prints that must succeed."""
        ran = self.run(*arguments, given=given)
        assert ran.returncode == 0, (arguments, ran.returncode, ran.stdout, ran.stderr)
        return ran.stdout

    def begin(self, *arguments: str, given: int = subprocess.DEVNULL) -> "subprocess.Popen[str]":
        """A command of fleet that goes on; whoever begins it ends it. `given`: its standard input."""
        return subprocess.Popen(
            [*_FLEET, *arguments], env=self.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            stdin=given,
        )  # fmt: skip

    def _install_codex(self, home: Path) -> None:
        (home / ".local/bin").mkdir(parents=True, exist_ok=True)
        codex = codex_path(self._codex.version)
        assert codex is not None
        (home / ".local/bin/codex").symlink_to(codex)
        (home / ".codex").mkdir()
        (home / ".codex/config.toml").write_text((self._codex.home / "config.toml").read_text())
