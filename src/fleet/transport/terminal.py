"""A program on a host in this very terminal: the one place where a pty is asked for.

Only what a person attaches to is run so. What the program writes goes to the terminal as it comes, as with
`ssh -t`: whoever attaches sees that host's screen, and trusts it as far.
"""

import asyncio
import os
import signal
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import asyncssh

from fleet.errors import ErrorKind, HostFailure, Phase
from fleet.transport import failures
from fleet.transport.deadlines import Deadlines

_STDIN, _STDOUT = 0, 1
_READ_BYTES = 4096


async def run(connection: asyncssh.SSHClientConnection, command: str, deadlines: Deadlines) -> int:
    """Run the command in a pty of this terminal's kind and size, to its end: its exit status.

    Standard input must be a terminal. Nothing but the pty is asked for. Raises `HostFailure`.
    """
    session = _Session()
    async with deadlines.phase(Phase.HELLO, lambda: "a terminal was asked for and not given"):
        try:
            channel, _ = await connection.create_session(
                lambda: session, command, encoding=None, env=None, send_env=None, x11_forwarding=False,
                request_pty="force", term_type=os.environ.get("TERM", "dumb"), term_size=_size(),
            )  # fmt: skip
        except (asyncssh.Error, OSError) as exc:
            raise failures.channel(exc) from None
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGWINCH, lambda: channel.change_terminal_size(*_size()))
    try:
        with _raw(), _typed(loop, channel):
            await channel.wait_closed()
    finally:
        loop.remove_signal_handler(signal.SIGWINCH)
        channel.abort()
    if session.status is None:
        message, hint = "the connection was lost", "the session goes on there; attach to it again"
        raise HostFailure(ErrorKind.DISCONNECTED, Phase.IDLE, message, hint)
    return session.status


class _Session(asyncssh.SSHClientSession[bytes]):
    """Writes what comes to the terminal."""

    def __init__(self) -> None:
        self.status: int | None = None

    def data_received(self, data: bytes, datatype: asyncssh.DataType) -> None:
        while data:
            data = data[os.write(_STDOUT, data) :]

    def exit_status_received(self, status: int) -> None:
        self.status = status


@contextmanager
def _raw() -> Iterator[None]:
    """The terminal hands on every key as it is, until the end of the block."""
    before = termios.tcgetattr(_STDIN)
    tty.setraw(_STDIN)
    try:
        yield
    finally:
        termios.tcsetattr(_STDIN, termios.TCSADRAIN, before)


@contextmanager
def _typed(loop: asyncio.AbstractEventLoop, channel: "asyncssh.SSHClientChannel[bytes]") -> Iterator[None]:
    """What is typed goes to the channel."""

    def hand_on() -> None:
        data = os.read(_STDIN, _READ_BYTES)
        with suppress(OSError):  # it has just ended
            if data:
                channel.write(data)
            else:
                channel.write_eof()
                loop.remove_reader(_STDIN)

    loop.add_reader(_STDIN, hand_on)
    try:
        yield
    finally:
        loop.remove_reader(_STDIN)


def _size() -> tuple[int, int]:
    return os.get_terminal_size(_STDOUT)
