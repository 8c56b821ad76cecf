"""A private tmux server with one window: a terminal that a test can type into and read."""

import contextlib
import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from lab import LabError

COLUMNS, LINES = 120, 40
ECHO_CHARS = 8
ECHO_WITHIN_S = 15.0


class Tmux:
    """Runs one command in a terminal of its own, on a server that nobody else uses.

    `socket` must not exist and be shorter than 100 characters (the limit of a Unix socket's path).
    """

    def __init__(self, socket: Path, command: Sequence[str], *, cwd: Path, env: Mapping[str, str]) -> None:
        self._socket = socket
        # tmux takes TERM of its clients for the terminal outside; inside it sets its own
        self._env = dict(env) | {"TERM": "xterm-256color", "LC_ALL": "C.UTF-8"}
        self._env.pop("TMUX", None)
        size = ("-x", str(COLUMNS), "-y", str(LINES))
        self._tmux("new-session", "-d", *size, "-c", str(cwd), "--", *command)

    def type(self, text: str, *, enter: bool = True) -> None:
        """Type text as if by hand, and Enter after it."""
        self._tmux("send-keys", "-l", "--", text)
        if enter:  # a TUI takes an Enter that comes with the text for a pasted newline
            self._wait_for_echo(text[-ECHO_CHARS:])
            time.sleep(0.2)
            self.press("Enter")

    def press(self, *keys: str) -> None:
        """Press keys by tmux's names: Enter, Escape, C-c, Up."""
        self._tmux("send-keys", *keys)

    def screen(self) -> str:
        """What is on the screen now, without trailing blanks; empty when the command has ended."""
        with contextlib.suppress(subprocess.CalledProcessError):
            return self._tmux("capture-pane", "-p").rstrip()
        return ""

    def wait_for(self, text: str, *, timeout_s: float = 40.0) -> str:
        """The screen, as soon as this text is on it."""
        until = time.monotonic() + timeout_s
        while text not in (screen := self.screen()):
            if time.monotonic() > until:
                raise LabError(f"{text!r} was not on the screen within {timeout_s:g} s; it shows:\n{screen}")
            time.sleep(0.05)
        return screen

    def title(self) -> str:
        """The title that the program gave its window."""
        return self._tmux("display-message", "-p", "#{pane_title}").strip()

    def pid(self) -> int:
        """The pid of the command."""
        return int(self._tmux("display-message", "-p", "#{pane_pid}"))

    def close(self) -> None:
        """Hang up: the server and its command end."""
        with contextlib.suppress(subprocess.CalledProcessError):
            self._tmux("kill-server")

    def _wait_for_echo(self, end: str) -> None:
        """A busy machine may take a while to show what was typed; what wraps a line is not found at all."""
        until = time.monotonic() + ECHO_WITHIN_S
        while end not in self.screen() and time.monotonic() < until:
            time.sleep(0.05)

    def _tmux(self, *arguments: str) -> str:
        argv = ["tmux", "-S", str(self._socket), "-f", os.devnull, *arguments]
        done = subprocess.run(argv, env=self._env, capture_output=True, text=True, check=True, timeout=10)
        return done.stdout
