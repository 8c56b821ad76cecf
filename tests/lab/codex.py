"""The real Codex CLI, at one pinned version, driven to a wanted state against the mock model API."""

import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

from lab import LabError, procs
from lab.home import ToolHome, installed
from lab.procs import Process
from lab.tmux import Tmux
from lab.waiting import wait_until

CODEX_VERSION = "0.169.0"  # scripts/setup reads this line,
OLD_CODEX_VERSIONS = ("0.145.0", "0.150.0", "0.155.0")  # and this
MODEL = "gpt-5.5"  # plain function tools; the gpt-6 family works in code mode

# The last two tables keep the terminal UI from showing advice before its prompt.
_CONFIG = """\
model = "{model}"
model_provider = "mock"
approval_policy = "{approval}"
sandbox_mode = "{sandbox}"
check_for_update_on_startup = false
{more}
[model_providers.mock]
name = "mock"
base_url = "{url}"
wire_api = "responses"
request_max_retries = 1
stream_max_retries = 1
stream_idle_timeout_ms = 300000

[analytics]
enabled = false

[projects."{project}"]
trust_level = "trusted"

[tui]
screen_reader_detection_done = true

[tui.model_availability_nux]
"gpt-6.1-sol" = 4

[notice.model_migrations]
"{model}" = "gpt-6-sol"
"""


def obstacle(*versions: str) -> str | None:
    """Why this machine cannot run the real Codex (of these versions), with the fix; None if it can."""
    if not sys.platform.startswith("linux"):
        return "the Codex lab needs Linux: it finds processes in /proc"
    missing = [program for program in ("tmux", "node") if shutil.which(program) is None]
    missing += [f"codex {version}" for version in versions or (CODEX_VERSION,) if codex_path(version) is None]
    return f"{', '.join(missing)} not found: scripts/setup --test installs what is missing" if missing else None


def codex_path(version: str = CODEX_VERSION) -> Path | None:
    """The Codex CLI of a pinned version where scripts/setup puts it; None if it is not there."""
    return installed("codex", version)


class CodexHome(ToolHome):
    """A CODEX_HOME with a trusted project, for any number of Codex processes, all ended with it.

    url       the mock model API's
    model     what config.toml names
    approval  approval_policy: never, on-request
    sandbox   sandbox_mode: danger-full-access (works everywhere), workspace-write (needs user namespaces)
    version   of the Codex CLI: one of the pinned ones
    config    more lines for config.toml: keys, then tables

    `home` is CODEX_HOME.
    """

    def __init__(
        self,
        url: str,
        *,
        model: str = MODEL,
        approval: str = "never",
        sandbox: str = "danger-full-access",
        version: str = CODEX_VERSION,
        config: str = "",
    ) -> None:
        codex, reason = codex_path(version), obstacle(version)
        if codex is None or reason is not None:
            raise LabError(reason or "")
        super().__init__("codex", "CODEX_HOME", "CODEX_", "OPENAI_")
        self.codex, self.version, self.home = codex, version, self._own
        settings = {"url": url, "model": model, "approval": approval, "sandbox": sandbox, "more": config}
        (self.home / "config.toml").write_text(_CONFIG.format(project=self.project, **settings))
        self._ended = ExitStack()

    def __exit__(self, *exc: object) -> None:
        procs.end_carrying(CODEX_HOME=str(self.home))
        self._remove_sockets()
        self._ended.close()
        super().__exit__(*exc)

    def exec(self, prompt: str, *options: str, timeout_s: float = 60.0) -> "subprocess.CompletedProcess[str]":
        """Run `codex exec` to its end."""
        return subprocess.run(
            [self.codex, "exec", *options, prompt],
            cwd=self.project,
            env=self.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )

    def start_exec(self, prompt: str, *options: str) -> "subprocess.Popen[bytes]":
        """Start `codex exec` in the background; its output goes to exec.log in the root."""
        log = self._ended.enter_context((self.root / "exec.log").open("ab"))
        started = subprocess.Popen(
            [self.codex, "exec", *options, prompt],
            cwd=self.project,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        self._ended.callback(started.wait)
        return started

    def tui(self, *options: str, daemon: bool = False) -> Tmux:
        """Start the terminal UI and wait for its prompt.

        With `daemon`, it uses Codex's shared background server as a plain `codex` does (which first copies
        440 MB into CODEX_HOME); without, the TUI process runs the session itself.
        """
        own = [] if daemon or self.version in OLD_CODEX_VERSIONS else ["--no-daemon"]  # they have no daemon
        terminal = self._terminal([str(self.codex), *own, *options])
        terminal.wait_for(f"· {self.project}", timeout_s=60)  # its status line, after the splash screen
        return terminal

    def rollouts(self) -> list[Path]:
        """The rollout files of this home, oldest first."""
        return sorted((self.home / "sessions").glob("*/*/*/rollout-*.jsonl"))

    def threads(self) -> set[str]:
        """The ids of this home's threads: those that are locked by a process (0.150 on), or have a rollout."""
        locks = [lock.stem for lock in (self.home / "thread-writer-locks").glob("[!.]*.lock")]
        return {*locks, *(rollout.stem[-36:] for rollout in self.rollouts())}

    def tools(self) -> list[Process]:
        """The processes of tool calls that run now."""
        ours = procs.carrying(CODEX_HOME=str(self.home))
        return [p for p in ours if any(v.startswith(b"CODEX_THREAD_ID=") for v in procs.environ(p.pid))]

    def wait_for_tool(self, *, timeout_s: float = 30.0) -> Process:
        """A tool call's process, as soon as one runs."""
        return wait_until(lambda: next(iter(self.tools()), None), "a tool call runs", timeout_s=timeout_s)

    def _remove_sockets(self) -> None:
        """Codex keeps the real sockets of a home in /tmp/codex-daemon-UID and leaves them there when killed."""
        for link in self.home.rglob("*.sock"):
            socket = link.resolve()
            socket.unlink(missing_ok=True)
            socket.with_name(f"{socket.name}.lock").unlink(missing_ok=True)
