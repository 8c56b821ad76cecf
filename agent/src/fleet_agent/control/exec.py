"""A run of mode exec: one process of the tool that takes one prompt to its end, and says what it does.

Its prompt goes to its stdin, which is then closed; its stdout is events, a line each. It has a session and a
process group of its own. When the supervisor is killed the tool gets SIGTERM: nobody would read it any more.
"""

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import IO, Protocol

from fleet_agent.control import groups
from fleet_agent.control.driver import Action, Outcome, SpawnFailed
from fleet_agent.control.events import MAX_OUTPUT_CHARS, Event, Prompted
from fleet_agent.control.parse.exec_json import ExecJson
from fleet_agent.control.parse.lines import LineReader
from fleet_agent.control.wire import Done, Interrupt, Pending, Refused

READ_BYTES = 64 << 10
DRAIN_S = 2.0  # what its children hold open is read for so long after the tool itself has ended
_PR_SET_PDEATHSIG = 1  # prctl(2)


class Parser(Protocol):
    """What a tool prints -> events; fed in pieces of any size."""

    def feed(self, data: bytes) -> list[Event]:
        """The events that this piece completes."""

    def end(self) -> list[Event]:
        """The events of what was left incomplete."""


def parser(tool: str) -> Parser:
    """For what a tool of `commands.exec_command` prints."""
    if tool == "claude":
        from fleet_agent.control.parse.claude import ClaudeStream

        return LineReader(ClaudeStream().feed)
    return LineReader(ExecJson().feed)


class ExecDriver:
    """A `Driver` of one such process.

    `argv`, `cwd`, `environ`: what is run; `prompt`: for its stdin; `marks`: the part of `environ` that only
    this run has; `spawned`: told of the process as soon as it is there.
    """

    def __init__(
        self,
        argv: tuple[str, ...],
        cwd: str,
        environ: Mapping[str, str],
        prompt: bytes,
        parser: Parser,
        marks: Mapping[str, str],
        spawned: Callable[[groups.Started], None],
    ) -> None:
        self._argv = argv
        self._cwd = cwd
        self._environ = dict(environ)
        self._prompt = prompt
        self._parser = parser
        self._marks = marks
        self._spawned = spawned
        self._leader: groups.Started | None = None

    async def run(self, say: Callable[[Event], None], stderr: Callable[[bytes], None]) -> Outcome:
        """The process from its start to its end."""
        process = self._spawn()
        self._leader = groups.started(process.pid)
        if self._leader is not None:
            self._spawned(self._leader)
        say(Prompted(self._prompt.decode("utf-8", "replace")[-MAX_OUTPUT_CHARS:]))
        threading.Thread(target=_give, args=(process.stdin, self._prompt), daemon=True).start()

        def read(data: bytes) -> None:
            _say_all(say, self._parser.feed(data))

        takers = ((process.stdout, read), (process.stderr, stderr))
        pumps = [asyncio.create_task(_pump(pipe, take)) for pipe, take in takers if pipe is not None]
        code = await asyncio.to_thread(process.wait)
        _, unfinished = await asyncio.wait(pumps, timeout=DRAIN_S)
        for pump in unfinished:
            pump.cancel()
        _say_all(say, self._parser.end())
        return Outcome(exit_code=code) if code >= 0 else Outcome(signal=-code)

    async def act(self, request: Action) -> Done | Refused:
        """It takes one prompt and asks nothing, so all it can be told is to leave off."""
        if not isinstance(request, Interrupt):
            return Refused(
                "not_possible",
                "a run of mode exec takes one prompt and answers no further ones",
                "resume it when it has ended, go on with a copy of it (fleet run --fork), or start another with"
                " mode app-server or tmux",
            )
        if self._leader is None or not groups.send(self._leader, signal.SIGINT):
            return Refused("stale", "it has ended")
        return Done("interrupted: its turn is recorded as aborted, and the run ends")

    def pending(self) -> list[Pending]:
        """None: what would need an approval is declined by the tool itself."""
        return []

    async def stop(self, grace_s: float) -> None:
        """TERM to the process, its group and all that it started; KILL after `grace_s` seconds."""
        await asyncio.to_thread(groups.end, lambda: groups.members(self._leader, self._marks), grace_s)

    def _spawn(self) -> "subprocess.Popen[bytes]":
        try:
            return subprocess.Popen(
                self._argv,
                cwd=self._cwd,
                env=self._environ,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                start_new_session=True,
                preexec_fn=_tie_to_parent(),  # noqa: PLW1509 - no other thread runs yet
            )
        except (OSError, ValueError) as exc:
            raise SpawnFailed(f"{self._argv[0]} could not be started: {exc}") from exc


async def _pump(pipe: IO[bytes], take: Callable[[bytes], object]) -> None:
    """All that comes out of a pipe, to its end."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
    try:
        while data := await reader.read(READ_BYTES):
            take(data)
    finally:
        transport.close()


def _say_all(say: Callable[[Event], None], events: list[Event]) -> None:
    for event in events:
        say(event)


def _give(pipe: IO[bytes], data: bytes) -> None:
    """Write all of it and close. In a thread of its own: a tool may be slow to read, or never do."""
    with suppress(OSError), pipe:
        view = memoryview(data)
        while view:
            view = view[pipe.write(view) :]


def _tie_to_parent() -> Callable[[], None] | None:
    """For between fork and exec, on Linux: let this process get SIGTERM when the supervisor is gone.

    SIGTERM, not SIGKILL: where Codex is behind a node wrapper, that one hands the signal on.
    """
    if sys.platform != "linux":
        return None
    import ctypes

    prctl, parent = ctypes.CDLL(None).prctl, os.getpid()

    def tie() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent:  # it was gone before
            os._exit(1)

    return tie
