"""The agent of this machine, as a subprocess."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from fleet.config import HostSpec
from fleet.errors import ErrorKind, HostFailure, Phase
from fleet.launch import control_arguments, local_command
from fleet.transport.agent import AgentChannel
from fleet.transport.channel import Channel
from fleet.transport.deadlines import Deadlines

if TYPE_CHECKING:
    from fleet.transport.control import ControlChannel

CONTROL_ENDS_WITHIN_S = 5.0  # after the end of its stdin: what it is about to write down must be whole


@asynccontextmanager
async def agent(
    spec: HostSpec, arguments: tuple[str, ...], deadlines: Deadlines
) -> AsyncIterator[AgentChannel]:
    """The agent, started, with its hello read; it is ended on the way out. Raises `HostFailure`."""
    channel = AgentChannel()
    channel.control = partial(control, spec)
    async with _running(spec, arguments, channel, deadlines):
        yield channel


@asynccontextmanager
async def control(spec: HostSpec, deadlines: Deadlines | None = None) -> AsyncIterator["ControlChannel"]:
    """The control agent, started, with its hello read; its stdin ends on the way out. Raises `HostFailure`."""
    from fleet.transport.control import ControlChannel  # what only reads need not pay for it

    channel = ControlChannel()
    deadlines = deadlines or Deadlines(spec.timeouts)
    async with _running(spec, control_arguments(), channel, deadlines) as process:
        try:
            yield channel
        finally:
            await process.end_of_input(CONTROL_ENDS_WITHIN_S)


@asynccontextmanager
async def _running(
    spec: HostSpec, arguments: tuple[str, ...], channel: Channel[Any], deadlines: Deadlines
) -> AsyncIterator["_AgentProcess"]:
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
        yield process
    finally:
        transport.close()  # kills it, if it still runs
        await process.gone


class _AgentProcess(asyncio.SubprocessProtocol):
    """Hands what the subprocess does to its channel."""

    def __init__(self, channel: Channel[Any]) -> None:
        self._channel = channel
        self._transport: asyncio.SubprocessTransport | None = None
        self.gone = asyncio.get_running_loop().create_future()

    async def end_of_input(self, within_s: float) -> None:
        """Close its stdin, and give it time to end."""
        assert self._transport is not None
        if (stdin := self._transport.get_pipe_transport(0)) is not None:
            stdin.close()
        self._channel.resume()  # nobody reads any more, and it must not wait for somebody who does
        await asyncio.wait([self.gone], timeout=within_s)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.SubprocessTransport, transport)
        self._channel.send = cast(asyncio.WriteTransport, self._transport.get_pipe_transport(0)).write
        stdout = cast(asyncio.ReadTransport, self._transport.get_pipe_transport(1))
        self._channel.pause = stdout.pause_reading
        self._channel.resume = lambda: None if stdout.is_closing() else stdout.resume_reading()
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
