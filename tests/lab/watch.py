"""fleet's agent as a collector runs it, in the environment of one home: a stream, and single snapshots."""

import subprocess
import sys
import threading
from typing import Any, Self

import msgspec

from fleet.stream import FrameStream
from fleet_agent.wire import Session, Snapshot
from lab import LabError
from lab.codex import CodexHome

INTERVAL_S = 0.5
FRAME_WITHIN_S = 20.0

_AGENT = (sys.executable, "-m", "fleet_agent")

Row = dict[str, Any]


class Watch:
    """A running `fleet-agent stream`, and any number of `fleet-agent snapshot`. Only this home's rows count."""

    def __init__(self, home: CodexHome) -> None:
        self._home = home
        self._changed = threading.Condition()
        self._rows: tuple[Session, ...] = ()
        self._now = 0.0

    def __enter__(self) -> Self:
        argv = [*_AGENT, "stream", "--interval", str(INTERVAL_S)]
        pipe = subprocess.PIPE
        self._agent = subprocess.Popen(argv, env=self._home.env, stdin=pipe, stdout=pipe, bufsize=0)
        self._reader = threading.Thread(target=self._read, name="watch")
        self._reader.start()
        return self

    def __exit__(self, *exc: object) -> None:
        if self._agent.stdin:
            self._agent.stdin.close()  # an agent ends with its collector
        self._reader.join(10)
        if self._agent.stdout:
            self._agent.stdout.close()
        self._agent.wait(10)

    def streamed(self, since_at: float) -> list[Row]:
        """The rows of the first frame that was read since then (epoch seconds)."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._now >= since_at, timeout=FRAME_WITHIN_S):
                raise LabError(f"no frame of the stream within {FRAME_WITHIN_S:g} s")
            return self._ours(self._rows)

    def snapshot(self) -> list[Row]:
        """The rows of one `fleet-agent snapshot`."""
        done = subprocess.run([*_AGENT, "snapshot"], env=self._home.env, capture_output=True, timeout=60)
        if done.returncode:
            raise LabError(f"fleet-agent snapshot failed: {done.stderr.decode(errors='replace')}")
        frames = [frame for frame in FrameStream().feed(done.stdout) if isinstance(frame, Snapshot)]
        return self._ours(frames[-1].sessions)

    def _ours(self, rows: tuple[Session, ...]) -> list[Row]:
        return [msgspec.structs.asdict(row) for row in rows if row.home == str(self._home.home)]

    def _read(self) -> None:
        """Keep the newest frame; a heartbeat says that the last snapshot still holds."""
        frames = FrameStream()
        while self._agent.stdout and (data := self._agent.stdout.read(1 << 16)):
            for frame in frames.feed(data):
                with self._changed:
                    self._now = frame.now
                    self._rows = frame.sessions if isinstance(frame, Snapshot) else self._rows
                    self._changed.notify_all()
        frames.close()
