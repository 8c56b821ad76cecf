"""`fleet-agent control` of this machine, driven over its pipes, with runs of its own that are ended with it."""

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from lab import procs
from lab.waiting import wait_until

Reply = dict[str, Any]
ENDS = ("done", "refused")
READ_S = 30.0


class Control:
    """One agent, and the state directory `state` that it and others of the same test use.

    `env`: the environment that it runs in. All that runs with this state directory is ended on exit.
    """

    def __init__(self, state: Path, env: Mapping[str, str] = os.environ) -> None:
        self.state = state
        self._runtime = tempfile.TemporaryDirectory(prefix="f")  # short, for sockets
        self.env = {**env, "XDG_STATE_HOME": str(state), "XDG_RUNTIME_DIR": self._runtime.name}
        self._process: subprocess.Popen[bytes] | None = None
        self._held = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.kill()
        procs.end_carrying(XDG_STATE_HOME=str(self.state))
        self._runtime.cleanup()

    @property
    def runs(self) -> Path:
        """The directory of runs."""
        return self.state / "fleet-agent/runs"

    @property
    def process(self) -> "subprocess.Popen[bytes]":
        """The agent, started when it is first needed."""
        if self._process is None:
            command = [sys.executable, "-m", "fleet_agent", "control"]
            self._process = subprocess.Popen(
                command, env=self.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
            )
            assert self.read()["type"] == "hello"
        return self._process

    def write(self, verb: str, **request: Any) -> None:
        """Send a request, and wait for nothing."""
        self.write_line(json.dumps({"verb": verb, **request}))

    def write_line(self, line: str) -> None:
        """Send whatever it is, as a line."""
        assert self.process.stdin is not None
        data = memoryview(line.encode() + b"\n")
        while data:
            data = data[self.process.stdin.write(data) or 0 :]

    def read(self, timeout_s: float = READ_S) -> Reply:
        """The next line that comes."""
        assert self._process is not None
        assert self._process.stdout is not None
        until = time.monotonic() + timeout_s
        while b"\n" not in self._held:
            ready, _, _ = select.select([self._process.stdout], [], [], max(0.0, until - time.monotonic()))
            assert ready, f"the agent said nothing for {timeout_s:g} s"
            data = os.read(self._process.stdout.fileno(), 1 << 20)
            assert data, "the agent has ended"
            self._held += data
        line, _, self._held = self._held.partition(b"\n")
        return dict(json.loads(line))

    def ask(self, verb: str, **request: Any) -> list[Reply]:
        """Send a request; all its replies."""
        self.write(verb, **request)
        replies = [self.read()]
        while replies[-1]["type"] not in ENDS:
            replies.append(self.read())
        return replies

    def one(self, verb: str, **request: Any) -> Reply:
        """Send a request; its first reply."""
        return self.ask(verb, **request)[0]

    def start(self, prompt: str, **request: Any) -> Reply:
        """Start a run, which must work: its `run` line."""
        run, *_, last = self.ask("start", prompt=prompt, **request)
        assert last == {"type": "done"}, last
        return run

    def run(self, name: str) -> Reply:
        """The run of this name, as it is now."""
        return next(run for run in self.ask("list") if run.get("name") == name)

    def wait_for(self, name: str, state: str, *, timeout_s: float = 20.0) -> Reply:
        """The run, as soon as it is in this state."""

        def look() -> Reply | None:
            run = self.run(name)
            return run if run["state"] == state else None

        return wait_until(look, f"{name} is {state}", timeout_s=timeout_s)

    def events(self, name: str, **request: Any) -> list[Reply]:
        """All that a run has said."""
        return [said["event"] for said in self.ask("logs", target={"name": name}, **request)[:-1]]

    def hang_up(self) -> int:
        """Close its stdin, and wait for its end: its exit status."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        code = self.process.wait(10)
        self.kill()
        return code

    def kill(self) -> None:
        """End the agent as a lost connection may: kill -9."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                pipe.close()
        self._process, self._held = None, b""
