"""Fixtures that more than one test module uses; the lab's own are explained in tests/lab."""

import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from lab.claude import ClaudeHome
from lab.codex import CodexHome
from lab.control import Control
from lab.driven import home_with_daemon
from lab.mock_anthropic import MockAnthropic
from lab.mock_responses import MockResponses
from lab.opencode import OpencodeHome
from lab.sshfleet import SshFleet
from stand_in import stand_in_control

pytest_plugins = ("lab.plugin", "lab.truth_report")

if (
    signal.getsignal(signal.SIGINT) is signal.SIG_IGN
):  # as in the background of a script; all children inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def mock_api() -> Iterator[MockResponses]:
    """The mock model API."""
    with MockResponses() as api:
        yield api


@pytest.fixture
def codex_home(mock_api: MockResponses) -> Iterator[CodexHome]:
    """A CODEX_HOME of its own for the real Codex, with everything that runs in it ended afterwards."""
    with CodexHome(mock_api.url) as home:
        yield home


@pytest.fixture(scope="module")
def daemon_home(mock_api: MockResponses) -> Iterator[CodexHome]:
    """A home with a Codex daemon, which a module's tests share: the daemon's first start copies 440 MB."""
    with home_with_daemon(mock_api.url) as home:
        yield home


@pytest.fixture(scope="session")
def mock_anthropic() -> Iterator[MockAnthropic]:
    """The mock model API of Claude Code."""
    with MockAnthropic() as api:
        yield api


@pytest.fixture
def claude_home(mock_anthropic: MockAnthropic) -> Iterator[ClaudeHome]:
    """A home of its own for the real Claude Code, with everything that runs in it ended afterwards."""
    with ClaudeHome(mock_anthropic.url) as home:
        yield home


@pytest.fixture
def opencode_home(mock_anthropic: MockAnthropic) -> Iterator[OpencodeHome]:
    """A home of its own for the real OpenCode, with everything that runs in it ended afterwards."""
    with OpencodeHome(mock_anthropic.url) as home:
        yield home


@pytest.fixture
def control(tmp_path: Path) -> Iterator[Control]:
    """`fleet-agent control` with a stand-in for Codex; its runs are ended afterwards."""
    with stand_in_control(tmp_path) as control:
        yield control


@pytest.fixture
def tmux_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory for the socket, `s`, of a tmux server of this test alone; a home without configuration."""
    with tempfile.TemporaryDirectory(prefix="fleet-tmux-") as directory:
        root = Path(directory)
        (root / "home").mkdir()
        monkeypatch.setenv("HOME", str(root / "home"))
        monkeypatch.setenv("TMUX", "/nowhere,1,0")  # as for whoever runs fleet in tmux
        yield root
        subprocess.run(["tmux", "-S", str(root / "s"), "kill-server"], capture_output=True)


@pytest.fixture
def ssh_fleet(tmp_path: Path) -> Iterator[Callable[..., SshFleet]]:
    """Starts an SshFleet with the given options: `ssh_fleet(hosts=2, faults={"hang": 1})`; ended afterwards."""
    with ExitStack() as started:

        def start(**options: Any) -> SshFleet:
            root = tmp_path / f"fleet{len(list(tmp_path.glob('fleet*')))}"
            return started.enter_context(SshFleet(root, **options))

        yield start
