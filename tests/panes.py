"""Terminals in a tmux server of one test: what is run there, and the recorded screens painted into them."""

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fleet_agent.control import terminal, tmux
from fleet_agent.control.commands import Command, NotPossible
from fleet_agent.control.tmux import Begun, Terminal
from lab.waiting import wait_until
from screens import painter


def run(server: Path, *argv: str, tool: str = "any", prompt: str = "", cwd: Path | None = None) -> Begun:
    command = Command(argv, {"FLEET_RUN": "brave-bear"}, prompt.encode())
    directory = str(cwd or server)
    return tmux.start(tool, command, directory, "brave-bear", environ={}, socket=str(server / "s"), ready_s=10)


def painted(server: Path, *frames: tuple[str, str], tool: str = "codex") -> tuple[Terminal, Path]:
    argv, log = painter(server, *frames)
    started = run(server, *argv, tool=tool).terminal
    wait_until(lambda: terminal.look(started).text, "the screen is painted", timeout_s=10)
    time.sleep(0.1)
    return started, log


def tmux_says(server: Path, *words: str) -> str:
    done = subprocess.run(["tmux", "-S", str(server / "s"), *words], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def refused(act: Callable[[], object]) -> NotPossible:
    with pytest.raises(NotPossible) as caught:
        act()
    return caught.value
