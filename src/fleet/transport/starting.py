"""An agent started over a connection: what it says goes to its channel, and its hello is read."""

from typing import Any

import asyncssh

from fleet.errors import Phase
from fleet.transport.channel import Channel
from fleet.transport.commands import start
from fleet.transport.connection import Connection
from fleet.transport.deadlines import Deadlines


async def begin(
    connection: Connection, command: str, channel: Channel[Any], deadlines: Deadlines, *, is_alone: bool = True
) -> None:
    """Start the agent and read its hello. Raises `HostFailure`.

    `is_alone`: nothing else uses the connection, so what ends the channel ends it too.
    """
    if is_alone:
        channel.stop = connection.abort
    async with deadlines.phase(Phase.HELLO, lambda: "the agent was started and said no hello"):
        ssh_channel = await _start(connection, command, channel)
        if not is_alone:
            channel.stop = ssh_channel.close
        await channel.hello()


async def _start(
    connection: Connection, command: str, channel: Channel[Any]
) -> asyncssh.SSHClientChannel[bytes]:
    """Run the agent, tied to its channel."""
    try:
        ssh_channel = await start(connection, lambda: _AgentSession(channel), command)
    finally:
        connection.is_quick = False
    channel.send = ssh_channel.write
    channel.pause, channel.resume = ssh_channel.pause_reading, ssh_channel.resume_reading
    return ssh_channel


class _AgentSession(asyncssh.SSHClientSession[bytes]):
    """Hands what the remote agent does to its channel."""

    def __init__(self, channel: Channel[Any]) -> None:
        self._channel = channel
        self._end: tuple[int | None, str | None] = (None, None)

    def data_received(self, data: bytes, datatype: asyncssh.DataType) -> None:
        (self._channel.stderr if datatype == asyncssh.EXTENDED_DATA_STDERR else self._channel.stdout)(data)

    def exit_status_received(self, status: int) -> None:
        self._end = (status, None)

    def exit_signal_received(self, signal: str, core_dumped: bool, msg: str, lang: str) -> None:
        self._end = (None, signal)

    def connection_lost(self, exc: Exception | None) -> None:
        self._channel.ended(*self._end)
