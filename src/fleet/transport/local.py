"""The agent of this machine, as a subprocess."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import cast

from fleet.config import HostSpec
from fleet.errors import ErrorKind, HostFailure, Phase
from fleet.launch import local_command
from fleet.transport.channel import AgentChannel
from fleet.transport.deadlines import Deadlines


@asynccontextmanager
async def agent(
    spec: HostSpec, arguments: tuple[str, ...], deadlines: Deadlines
) -> AsyncIterator[AgentChannel]:
    """The agent, started, with its hello read; it is ended on the way out. Raises `HostFailure`."""
    channel = AgentChannel()
    argv = local_command(spec, arguments)
    try:
        transport, process = await asyncio.get_running_loop().subprocess_exec(
            lambda: _AgentProcess(channel), *argv
        )
    except OSError as exc:
        raise HostFailure(
            ErrorKind.AGENT_MISSING,
            Phase.HELLO,
            f"{argv[0]}: {exc.strerror}",
            "mend `agent_command` of [hosts.local] in hosts.toml, or leave it out",
        ) from None
    try:
        async with deadlines.phase(Phase.HELLO, lambda: "the agent started and said nothing"):
            await channel.hello()
        yield channel
    finally:
        transport.close()  # kills it, if it still runs
        await process.gone


class _AgentProcess(asyncio.SubprocessProtocol):
    """Hands what the subprocess does to its channel."""

    def __init__(self, channel: AgentChannel) -> None:
        self._channel = channel
        self._transport: asyncio.SubprocessTransport | None = None
        self.gone = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.SubprocessTransport, transport)
        self._channel.send = cast(asyncio.WriteTransport, self._transport.get_pipe_transport(0)).write
        self._channel.stop = transport.close

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        (self._channel.stdout if fd == 1 else self._channel.stderr)(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """The process has ended and its pipes are read to their end."""
        assert self._transport is not None
        status = self._transport.get_returncode()
        if status is not None and status < 0:
            self._channel.ended(None, str(-status))
        else:
            self._channel.ended(status, None)
        with suppress(asyncio.InvalidStateError):
            self.gone.set_result(None)
