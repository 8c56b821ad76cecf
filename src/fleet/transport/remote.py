"""Short commands on a host that is logged in to, beside its agent and over the same connection."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import TypeAlias

import asyncssh

from fleet.config import HostSpec
from fleet.errors import Phase
from fleet.launch import KEPT_LAUNCHER, keep_command, probe_command
from fleet.transport.agent import AgentChannel
from fleet.transport.commands import Ran, give, start
from fleet.transport.connection import Connection
from fleet.transport.deadlines import Deadlines
from fleet.transport.shipping import Shipper

MAX_OUTPUT_BYTES = 1 << 20  # of one command; what is more is not kept
PROBE_BYTES, PROBE_S = 16 << 10, 3.0

_Agent: TypeAlias = Callable[
    [Connection, HostSpec, tuple[str, ...], Deadlines], AbstractAsyncContextManager[AgentChannel]
]


class Remote:
    """A host that is logged in to."""

    def __init__(
        self, connection: Connection, spec: HostSpec, deadlines: Deadlines, shipper: Shipper, agent: _Agent
    ) -> None:
        self._connection, self._spec, self._deadlines = connection, spec, deadlines
        self._shipper, self._agent = shipper, agent

    def agent(self, arguments: tuple[str, ...]) -> AbstractAsyncContextManager[AgentChannel]:
        """Its agent, as `Transport.agent`; on the way out the connection is closed. Raises `HostFailure`."""
        return self._agent(self._connection, self._spec, arguments, self._deadlines)

    async def probe(self) -> Ran:
        """Which python3 and which agents are there, for `fleet.checks.probed`. Raises `HostFailure`."""
        command = probe_command(self._shipper.bundle_for(self._spec))
        return await self.run(command, limit_bytes=PROBE_BYTES, limit_s=PROBE_S)

    async def ship(self) -> None:
        """Put the agent there. Raises `HostFailure`."""
        await self._shipper.install(self._connection, self._deadlines)

    async def keep(self) -> Ran:
        """Have the shipped agent stay as an installed one: `fleet.launch.KEPT_AGENT`. Raises `HostFailure`."""
        bundle = self._shipper.bundle_for(self._spec)
        assert bundle is not None
        return await self.run(keep_command(bundle), KEPT_LAUNCHER)

    async def run(
        self, command: str, stdin: bytes = b"", *, limit_bytes: int = MAX_OUTPUT_BYTES, limit_s: float = 10.0
    ) -> Ran:
        """Run a command to its end. Raises `HostFailure`, but not for its exit status."""
        session = _Session(limit_bytes)
        missed = "a command was started there and did not end"
        async with self._deadlines.within(Phase.HELLO, limit_s, lambda: missed):
            channel = await start(self._connection, lambda: session, command)
            try:
                give(channel, stdin)
                await channel.wait_closed()
            finally:
                channel.abort()
        return Ran(session.status, bytes(session.out), bytes(session.err))


class _Session(asyncssh.SSHClientSession[bytes]):
    """Keeps the first `limit_bytes` of what a command prints."""

    def __init__(self, limit_bytes: int) -> None:
        self.out, self.err = bytearray(), bytearray()
        self.status: int | None = None
        self._limit_bytes = limit_bytes

    def data_received(self, data: bytes, datatype: asyncssh.DataType) -> None:
        kept = self.err if datatype == asyncssh.EXTENDED_DATA_STDERR else self.out
        kept += data[: self._limit_bytes - len(kept)]

    def exit_status_received(self, status: int) -> None:
        self.status = status
