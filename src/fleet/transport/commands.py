"""A command over a connection: with no pty, no environment, nothing forwarded; and what it did."""

from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

import asyncssh

from fleet.text import clean_tail
from fleet.transport import failures

WINDOW_BYTES = 256 << 10


class Ran(NamedTuple):
    """What a command did. `status` None: a signal ended it, or the connection was lost."""

    status: int | None
    out: bytes
    err: bytes

    def said(self) -> str:
        """Its last words, cleaned, for a message."""
        return clean_tail(self.err or self.out, 300)


def give(channel: asyncssh.SSHClientChannel[bytes], stdin: bytes) -> None:
    """Its whole standard input, and the end of that. One that has ended takes none; its status says how."""
    with suppress(OSError):
        channel.write(stdin)
        channel.write_eof()


async def start(
    connection: asyncssh.SSHClientConnection,
    session: Callable[[], asyncssh.SSHClientSession[bytes]],
    command: str,
) -> asyncssh.SSHClientChannel[bytes]:
    """Start a command; what it says goes to its session. Raises `HostFailure`."""
    try:
        channel, _ = await connection.create_session(
            session, command, encoding=None, env=None, send_env=None,
            request_pty=False, x11_forwarding=False, window=WINDOW_BYTES,
        )  # fmt: skip
    except (asyncssh.Error, OSError) as exc:
        raise failures.channel(exc) from None
    return channel
