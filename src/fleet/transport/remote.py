"""Short commands on a host that is logged in to, beside its agent and over the same connection."""

import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple

import asyncssh

from fleet.config import HostSpec
from fleet.errors import Phase
from fleet.launch import KEPT_LAUNCHER, keep_command, probe_command
from fleet.text import clean_bytes
from fleet.transport import failures
from fleet.transport.channel import AgentChannel
from fleet.transport.deadlines import Deadlines

if TYPE_CHECKING:
    from fleet.transport.ssh import Connection, Dialer

MAX_OUTPUT_BYTES = 1 << 20  # of one command; what is more is not kept
PROBE_BYTES, PROBE_S = 16 << 10, 3.0


class Ran(NamedTuple):
    """What a command did. `status` None: a signal ended it, or the connection was lost."""

    status: int | None
    out: bytes
    err: bytes

    def said(self) -> str:
        """Its last words, cleaned, for a message."""
        return clean_bytes(self.err[-300:] or self.out[-300:], 300)


class Remote:
    """A host that is logged in to."""

    def __init__(
        self, dialer: "Dialer", connection: "Connection", spec: HostSpec, deadlines: Deadlines
    ) -> None:
        self._dialer, self._connection = dialer, connection
        self._spec, self._deadlines = spec, deadlines

    @asynccontextmanager
    async def agent(self, arguments: tuple[str, ...]) -> AsyncIterator[AgentChannel]:
        """Its agent, as `Transport.agent`. Raises `HostFailure`."""
        async with self._dialer.agent_over(self._connection, self._spec, arguments, self._deadlines) as channel:
            yield channel

    async def probe(self) -> Ran:
        """Which python3 and which agents are there, for `fleet.checks.probed`. Raises `HostFailure`."""
        command = probe_command(self._dialer.shipper.bundle_for(self._spec))
        return await self.run(command, limit_bytes=PROBE_BYTES, limit_s=PROBE_S)

    async def ship(self) -> None:
        """Put the agent there. Raises `HostFailure`."""
        await self._dialer.shipper.install(self._connection, self._deadlines)

    async def keep(self) -> Ran:
        """Have the shipped agent stay as an installed one: `fleet.launch.KEPT_AGENT`. Raises `HostFailure`."""
        bundle = self._dialer.shipper.bundle_for(self._spec)
        assert bundle is not None
        return await self.run(keep_command(bundle), KEPT_LAUNCHER)

    async def run(
        self, command: str, stdin: bytes = b"", *, limit_bytes: int = MAX_OUTPUT_BYTES, limit_s: float = 10.0
    ) -> Ran:
        """Run a command to its end. Raises `HostFailure`, but not for its exit status."""
        session = _Session(limit_bytes)
        missed = "a command was started there and did not end"
        async with self._deadlines.within(Phase.HELLO, limit_s, lambda: missed):
            try:
                channel, _ = await self._connection.create_session(
                    lambda: session, command, encoding=None, env=None, send_env=None,
                    request_pty=False, x11_forwarding=False,
                )  # fmt: skip
            except (asyncssh.Error, OSError) as exc:
                raise failures.channel(exc) from None
            try:
                with contextlib.suppress(OSError):  # it has ended already, and its status says how
                    channel.write(stdin)
                    channel.write_eof()
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
