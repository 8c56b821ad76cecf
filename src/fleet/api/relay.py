"""The control wire of one host, relayed over the connection that is open: requests in and replies out at once.

It is what the command line asks hosts with (`fleet.control.relayed`): the lines of `fleet-agent control`
itself, but that the daemon says who asks, and why no more replies come (`fleet.dialogue.Failed`).
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import msgspec
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from fleet.config import HostSpec
from fleet.dialogue import Failed
from fleet.errors import ErrorKind, HostError, HostFailure, Phase, UsageError
from fleet.model import Link
from fleet.service import Service
from fleet.transport.control import ControlChannel
from fleet_agent.control.wire import MAX_REQUEST_BYTES, Done, Refused, Reply, Request

NDJSON = "application/x-ndjson"
REACHED_S = 15.0  # for a host that is not connected; an attempt that takes longer is not waited for
ENDED = HostError(
    ErrorKind.DISCONNECTED, Phase.IDLE, "the daemon has ended", "the session goes on; ask again without it"
)

_decode = msgspec.json.Decoder(Request).decode


class Relay(StreamingResponse):
    """The answer to one such request. Raises `HostFailure` before it begins, if the host cannot be reached.

    It ends when all is asked and answered, when nobody listens any more, with the daemon, or with the host.
    """

    def __init__(self, service: Service, spec: HostSpec, by: str) -> None:
        super().__init__(iter(()), media_type=NDJSON, headers={"cache-control": "no-store"})
        self._service, self._spec, self._by = service, spec, by
        self._unanswered = 0
        self._is_asking = True
        self._over = asyncio.Event()
        self._refused: Refused | None = None  # what the caller has sent, by us

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        """Answer it."""
        await self._reach()
        async with self._service.streams.control(self._spec) as channel:
            self.body_iterator = self._lines(channel, receive)
            await self.stream_response(send)

    async def _reach(self) -> None:
        """Have a host that is not connected tried now: who asks would log in there themselves."""
        streams, name = self._service.streams, self._spec.name
        attempts: int | None = None  # that had failed when the one began that is waited for
        with contextlib.suppress(TimeoutError, KeyError):  # `Streams.control` says what is so
            async with asyncio.timeout(REACHED_S):
                while not streams.is_open(name):
                    fleet = streams.fleet
                    host = fleet.hosts[name]
                    if attempts is not None and host.attempts > attempts:
                        return
                    if streams.retry(name) or host.link is Link.PENDING:
                        attempts = host.attempts
                    await streams.changed(fleet.version)

    async def _lines(self, channel: ControlChannel, receive: Receive) -> AsyncIterator[bytes]:
        yield line(channel.stream.hello)
        asking = asyncio.create_task(self._ask(channel, receive))
        events = (self._over, self._service.stopping)
        ends: list[asyncio.Task[bool]] = [asyncio.create_task(event.wait()) for event in events]
        try:
            while (reply := await self._next(channel, ends)) is not None:
                yield line(reply)
        finally:
            for task in (asking, *ends):
                task.cancel()

    async def _next(self, channel: ControlChannel, ends: list["asyncio.Task[bool]"]) -> Reply | Failed | None:
        """The next line, none at the end of all."""
        if not self._over.is_set() and not self._service.is_stopping:
            replying = asyncio.create_task(channel.reply())
            await asyncio.wait([replying, *ends], return_when=asyncio.FIRST_COMPLETED)
            if replying.done():
                return self._replied(replying)
            replying.cancel()
        if not self._over.is_set():
            self._over.set()
            return Failed(ENDED)
        refused, self._refused = self._refused, None
        return refused

    def _replied(self, replying: "asyncio.Task[Reply]") -> Reply | Failed:
        try:
            reply = replying.result()
        except HostFailure as failure:
            self._over.set()
            return Failed(failure.error)
        if isinstance(reply, Done | Refused):
            self._unanswered -= 1
            self._end_if_answered()
        return reply

    async def _ask(self, channel: ControlChannel, receive: Receive) -> None:
        """Hand on what is asked, until the caller has gone."""
        held = b""
        while (message := await receive())["type"] == "http.request":
            *whole, held = (held + message.get("body", b"")).split(b"\n")
            for asked in whole:
                self._hand_on(channel, asked)
            if len(held) > MAX_REQUEST_BYTES:
                self._refuse(f"a line of more than {MAX_REQUEST_BYTES >> 10} KiB")
            if not message.get("more_body", False):
                self._is_asking = False
                self._end_if_answered()
        self._over.set()

    def _hand_on(self, channel: ControlChannel, asked: bytes) -> None:
        try:
            channel.write(msgspec.structs.replace(_decode(asked), by=self._by))
            self._unanswered += 1
        except (ValueError, RecursionError, UsageError) as exc:
            self._refuse(str(exc))

    def _refuse(self, why: str) -> None:
        self._refused = Refused("bad_request", f"not a request: {why}", "see fleet_agent/control/wire.py")
        self._over.set()

    def _end_if_answered(self) -> None:
        if not self._is_asking and self._unanswered <= 0:
            self._over.set()


def line(said: object) -> bytes:
    """Something that is said, as NDJSON."""
    return msgspec.json.encode(said) + b"\n"
