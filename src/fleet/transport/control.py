"""The dialogue with a host's `fleet-agent control`, whatever carries its bytes."""

import contextlib
from collections.abc import AsyncGenerator

from fleet.dialogue import ReplyStream, request_line
from fleet.errors import ErrorKind, HostFailure, Phase, RequestRefused
from fleet.transport.channel import Channel
from fleet_agent.control.wire import Done, Refused, Reply, Request
from fleet_agent.wire import Hello

MOST_WAITING = 256  # replies that nobody has taken yet; then the host has to wait
_RESTRICTED = b"this key may only observe"  # in the words of `fleet-agent serve`
_NO_SUCH_VERB = b"invalid choice: 'control'"


class ControlChannel(Channel[Reply]):
    """A channel on which something is asked, and answered. One request is asked at a time."""

    AFTER_HELLO = Phase.IDLE

    def __init__(self, stream: ReplyStream | None = None) -> None:
        super().__init__(stream or ReplyStream())
        self._is_paused = False

    def stdout(self, data: bytes) -> None:
        """As of every channel; but a reader that is slower than its host makes the host wait."""
        super().stdout(data)
        if len(self._frames) > MOST_WAITING and not self._is_paused:
            self._is_paused = True
            self.pause()

    async def reply(self) -> Reply:
        """The next reply. Raises `HostFailure` when the agent or the connection to it has ended."""
        frame = await self.frame()
        if self._is_paused and len(self._frames) <= MOST_WAITING // 2:
            self._is_paused = False
            self.resume()
        assert not isinstance(frame, Hello)  # a second one is a failure
        return frame

    def write(self, request: Request) -> None:
        """Send a request; its end is told by `reply`. Raises `UsageError` for one that is too long."""
        line = request_line(request)
        with contextlib.suppress(OSError):  # it has ended already: `reply` tells how
            self.send(line)

    async def ask(self, request: Request) -> AsyncGenerator[Reply, None]:
        """All that is said to a request, its `Done` last. Raises `RequestRefused` and `HostFailure`."""
        self.write(request)
        while True:
            reply = await self.reply()
            if isinstance(reply, Refused):
                raise RequestRefused(reply.kind, reply.message, reply.hint, reply.candidates)
            yield reply
            if isinstance(reply, Done):
                return

    def _end(self, status: int | None, signal: str | None) -> HostFailure:
        if self.stream.hello is None and _RESTRICTED in self.error_output:
            return HostFailure(
                ErrorKind.REFUSED,
                Phase.HELLO,
                "the key that fleet logs in with may only observe there",
                "name one without restrictions as `identity` of that host in hosts.toml, or act there yourself",
            )
        if self.stream.hello is None and _NO_SUCH_VERB in self.error_output:
            return HostFailure(
                ErrorKind.AGENT_FAILED,
                Phase.HELLO,
                "the agent there is too old to start, answer or stop sessions",
                "upgrade it there (`pipx upgrade fleet-sessions-agent`), or remove it: fleet ships its own",
            )
        return super()._end(status, signal)
