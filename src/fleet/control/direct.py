"""Hosts reached without a daemon: one control agent on each that is asked, for all that is asked of it."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from fleet.config import HostSpec
from fleet.transport import Transport
from fleet.transport.control import ControlChannel
from fleet.transport.deadlines import Deadlines


class Direct:
    """A `Reach` with connections of its own, which stay until the end of the block."""

    def __init__(self) -> None:
        self._transport = Transport()
        self._idle: dict[str, ControlChannel] = {}
        self._closing = AsyncExitStack()

    async def __aenter__(self) -> "Direct":
        await self._closing.enter_async_context(self._transport)
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._closing.aclose()

    @asynccontextmanager
    async def control(self, spec: HostSpec) -> AsyncIterator[ControlChannel]:
        """The host's control agent. Raises `HostFailure`."""
        channel = self._idle.pop(spec.name, None)
        if channel is None:
            opened = self._transport.control(spec, Deadlines(spec.timeouts))
            channel = await self._closing.enter_async_context(opened)
        yield channel
        self._idle[spec.name] = channel  # all that was asked on it is answered
