"""Processes that look like Codex from outside: a copy of bash named `codex` that holds real files open.

The real Codex is run by tests/e2e. These let a test of the agent choose exactly what a process holds and runs.
"""

import json
import os
import shutil
import signal
import subprocess
import time
import uuid
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path

import psutil

DATA = Path(__file__).parent / "data" / "codex"
_UTC = timezone(timedelta())
_SERVE = 'while read -r line; do eval "$line"; echo done; done'


def thread_id() -> str:
    return str(uuid.uuid4())


def rollout_path(home: Path, thread: str, day: str = "2026/11/21") -> Path:
    path = home / "sessions" / day / f"rollout-{day.replace('/', '-')}T02-33-43-{thread}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def lock_path(home: Path, thread: str) -> Path:
    path = home / "thread-writer-locks" / f"{thread}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def written(path: Path, at: float, data: bytes = b"") -> Path:
    """A file whose last change was at `at`, in a directory that is made for it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    os.utime(path, (at, at))
    return path


def named(thread: str, name: str | None) -> str:
    """A line of session_index.jsonl: what a thread is called from then on."""
    return json.dumps({"id": thread, "thread_name": name, "updated_at": "2026-11-21T02:33:43Z"}) + "\n"


def sample(name: str) -> bytes:
    """A rollout that a real Codex wrote."""
    return (DATA / f"{name}.jsonl").read_bytes()


def sample_at(name: str, last_line_at: float) -> bytes:
    """The same, with its times moved so that the last line was written at `last_line_at`."""
    lines = [json.loads(line) for line in sample(name).splitlines()]
    last = max(_parse(line["timestamp"]) for line in lines)
    shift = datetime.fromtimestamp(last_line_at, _UTC) - last
    for line in lines:
        line["timestamp"] = _format(_parse(line["timestamp"]) + shift)
    return b"".join(json.dumps(line, separators=(",", ":")).encode() + b"\n" for line in lines)


def event(at: float, kind: str, **payload: object) -> bytes:
    """One event_msg line."""
    stamp = _format(datetime.fromtimestamp(at, _UTC))
    line = {"timestamp": stamp, "type": "event_msg", "payload": {"type": kind, **payload}}
    return json.dumps(line, separators=(",", ":")).encode() + b"\n"


def begun(at: float) -> bytes:
    """The lines with which a turn begins: a model is asked next."""
    context = event(at, "x").replace(b'"event_msg"', b'"turn_context"', 1)
    return event(at, "task_started", turn_id="t") + context


def item(at: float, kind: str, **payload: object) -> bytes:
    """One response_item line."""
    return event(at, kind, **payload).replace(b'"event_msg"', b'"response_item"', 1)


def meta(at: float, thread: str, **fields: object) -> bytes:
    """A session_meta line."""
    stamp = _format(datetime.fromtimestamp(at, _UTC))
    payload = {"id": thread, "timestamp": stamp, "cli_version": "0.169.0", **fields}
    return json.dumps({"timestamp": stamp, "type": "session_meta", "payload": payload}).encode() + b"\n"


class FakeCodex:
    """A process whose program is named `codex`, with some files open for writing. Runs shell on demand."""

    def __init__(
        self,
        directory: Path,
        opened: Iterable[Path] = (),
        arguments: Iterable[str] = (),
        environ: Mapping[str, str] | None = None,
        readable: Iterable[Path] = (),
        program: str = "codex",
        user: int | None = None,
    ) -> None:
        self.program = program
        directory.mkdir(parents=True, exist_ok=True)
        binary = directory / program
        if not binary.exists():
            shutil.copy(shutil.which("bash") or "/bin/bash", binary)
        fds = [os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644) for path in opened]
        fds += [os.open(path, os.O_RDONLY) for path in readable]
        try:
            self.process = subprocess.Popen(
                [str(binary), "-c", _SERVE, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={"PATH": os.environ["PATH"], **(environ or {})},
                cwd=directory,
                pass_fds=fds,
                start_new_session=True,
                user=user,
            )
        finally:
            for fd in fds:
                os.close(fd)
        self.run("true")

    @property
    def pid(self) -> int:
        return self.process.pid

    def run(self, line: str) -> None:
        """Run one line of shell in it, to its end."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == b"done\n"

    def start(self, line: str) -> None:
        """Run one command as a child that stays. It has executed its program when this returns."""
        self.run(f"{line} &")
        deadline = time.monotonic() + 10
        while any(child.name() == self.program for child in psutil.Process(self.pid).children()):
            assert time.monotonic() < deadline
            time.sleep(0.005)

    def kill(self) -> None:
        """SIGKILL to it and everything it started."""
        os.killpg(self.pid, signal.SIGKILL)
        self.process.wait()

    def __enter__(self) -> "FakeCodex":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.kill()
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.close()
        self.process.stdout.close()


def _parse(stamp: str) -> datetime:
    return datetime.fromisoformat(stamp.replace("Z", "+00:00"))  # noqa: FURB162 - Python 3.10


def _format(at: datetime) -> str:
    return at.astimezone(_UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
