"""What one running agent says, frame by frame, whatever carries its bytes."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import ClassVar, Generic, NoReturn, TypeVar

from fleet.errors import ErrorKind, HostFailure, Phase
from fleet.launch import NOT_EXECUTABLE, NOT_FOUND, REPORT_MARK
from fleet.stream import BrokenStream, WireStream
from fleet.text import clean, clean_tail
from fleet_agent.wire import MAX_STDERR_BYTES, Hello

F = TypeVar("F")

_TAIL_CHARS = 300  # of stderr, shown in a message
_REPORT_MARK = REPORT_MARK.encode()  # such lines are for fleet, not for a message


class Channel(Generic[F]):
    """What one agent says, frame by frame.

    The carrier (an SSH session, a subprocess) calls `stdout`, `stderr` and `ended` as things happen, and sets
    `send` and the others; a reader awaits `hello` and `frame`, which raise `HostFailure` once there is no more.
    Who reads for long has each frame handed over (`listen`) and awaits the `end`: no task wakes for a frame.
    """

    AFTER_HELLO: ClassVar[Phase]

    def __init__(self, stream: WireStream[F]) -> None:
        self.send: Callable[[bytes], None] = lambda _line: None  # to the agent's stdin
        self.stop: Callable[[], None] = lambda: None  # stop listening to this host now
        self.pause: Callable[[], None] = lambda: None  # have the carrier read no more, and again
        self.resume: Callable[[], None] = lambda: None
        self.together: Callable[[], None] = lambda: None  # have it read together with others'
        self.stream = stream
        self.phase = Phase.HELLO
        self.stderr_bytes = 0  # that came in all
        self._frames: deque[Hello | F] = deque()
        self._take: Callable[[Hello | F], None] = self._frames.append
        self._stderr = bytearray()
        self._failure: HostFailure | None = None
        self._wake: asyncio.Future[None] | None = None

    # the carrier's side

    def stdout(self, data: bytes) -> None:
        """Bytes from the agent. What breaks a rule of the wire ends the channel."""
        if self._failure is not None:
            return
        try:
            for frame in self.stream.feed(data):
                self._take(frame)
        except BrokenStream as exc:
            self._fail(HostFailure(exc.kind, self._broken_phase(), exc.message, exc.hint))
            self.stop()
        if self._frames:
            self._notify()

    def stderr(self, data: bytes) -> None:
        """Error output; only the last of it is kept."""
        self.stderr_bytes += len(data)
        self._stderr += data
        del self._stderr[:-MAX_STDERR_BYTES]

    def ended(self, status: int | None, signal: str | None) -> None:
        """The agent ended with an exit status or a signal; with neither, the connection to it was lost."""
        if self._failure is None:
            self._fail(self._end(status, signal))

    def give_up(self, failure: HostFailure) -> None:
        """End the channel from this side: whoever reads gets `failure`, and the host is listened to no more."""
        if self._failure is None:
            self._fail(failure)
            self.stop()

    @property
    def error_output(self) -> bytes:
        """The last of what came on stderr."""
        return bytes(self._stderr)

    # the reader's side

    async def frame(self) -> Hello | F:
        """The next frame. Raises `HostFailure` when the agent or the connection to it has ended."""
        while not self._frames:
            if self._failure is not None:
                raise self._failure
            self._wake = asyncio.get_running_loop().create_future()
            await self._wake
        return self._frames.popleft()

    def listen(self, take: Callable[[Hello | F], None]) -> None:
        """Hand over all frames that are here, and each that comes from now on as it comes."""
        while self._frames:
            take(self._frames.popleft())
        self._take = take
        self.together()

    async def end(self) -> NoReturn:
        """Wait for the end of a channel that is listened to. Raises `HostFailure`."""
        while True:
            await self.frame()

    async def hello(self) -> Hello:
        """The first frame."""
        frame = await self.frame()
        assert isinstance(frame, Hello)  # a stream gives nothing else before it
        self.phase = self.AFTER_HELLO
        return frame

    def _fail(self, failure: HostFailure) -> None:
        self._failure = failure
        self._notify()

    def _notify(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    def _broken_phase(self) -> Phase:
        """How far the agent had come, which may be farther than the reader."""
        if self.stream.hello is None:
            return Phase.HELLO
        return self.AFTER_HELLO if self.phase is Phase.HELLO else self.phase

    def _tail(self) -> str:
        lines = self._stderr.split(b"\n")
        return clean_tail(b"\n".join(line for line in lines if not line.startswith(_REPORT_MARK)), _TAIL_CHARS)

    def _end(self, status: int | None, signal: str | None) -> HostFailure:
        phase = self._broken_phase()
        said = self._tail() or (self.stream.noise_sample() if self.stream.hello is None else "")
        said = f": {said}" if said else ""
        if status is None and signal is None:
            return HostFailure(
                ErrorKind.DISCONNECTED,
                phase,
                f"the connection was lost{said}",
                "the machine may have gone down or its network changed; see its sshd log",
            )
        if status in (NOT_FOUND, NOT_EXECUTABLE) and self.stream.hello is None:
            return HostFailure(
                ErrorKind.AGENT_MISSING,
                phase,
                f"no fleet-agent could be run there (exit status {status}){said}",
                "install it there (`pipx install fleet-sessions-agent`), or set `agent_command` to where it is",
            )
        if status == 0:
            try:
                self.stream.close()
            except BrokenStream as exc:
                return HostFailure(exc.kind, phase, exc.message, exc.hint)
        how = f"was killed by signal {clean(signal, 20)}" if signal else f"ended with exit status {status}"
        return HostFailure(
            ErrorKind.AGENT_FAILED,
            phase,
            f"the agent {how}{said}",
            "run it there by hand: `ssh HOST fleet-agent snapshot`",
        )
