"""The control wire of a host, relayed by the daemon over the connection that it holds.

One HTTP request on the daemon's socket: its body is what is asked, chunk by chunk, and its answer what the host
says to it. Both go on together, until either side ends.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fleet import client
from fleet.client import Chunks, NoDaemon
from fleet.dialogue import RelayedStream
from fleet.errors import ErrorKind, HostFailure, Phase
from fleet.transport.control import ControlChannel

OPENED_S = (
    120.0  # for the host's agent to start, which may have to be put there first; the daemon has deadlines
)
CONTENT_TYPE = "application/x-ndjson"
_READ_BYTES = 64 << 10
_HEADERS = {"Connection": "close", "Content-Type": CONTENT_TYPE, "Transfer-Encoding": "chunked"}


@asynccontextmanager
async def relayed(socket: Path, host: str) -> AsyncIterator[ControlChannel]:
    """The host's control agent, started, with its hello read; its stdin ends on the way out.

    Raises `HostFailure` for what is wrong with the host, and `NoDaemon` where the daemon does not relay to it.
    """
    reader, writer = await _connected(socket)
    channel = ControlChannel(RelayedStream())
    channel.send = lambda line: writer.write(client.chunk(line))
    reading = asyncio.Event()
    reading.set()
    channel.pause, channel.resume = reading.clear, reading.set
    pumping: asyncio.Task[None] | None = None
    try:
        writer.write(client.request("POST", f"/v1/hosts/{host}/control", _HEADERS, "1.1"))
        await _accepted(reader)
        pumping = asyncio.create_task(_pump(reader, channel, reading))
        await channel.hello()
        yield channel
    finally:
        if pumping is not None:
            pumping.cancel()
        writer.close()


async def _connected(socket: Path) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    client.check_own(socket)
    try:
        return await asyncio.open_unix_connection(socket)
    except OSError as exc:
        raise NoDaemon(f"no daemon listens at {socket}: {exc.strerror or exc}") from None


async def _accepted(reader: asyncio.StreamReader) -> None:
    """Read the head of the answer. Raises `HostFailure` and `NoDaemon` for one that is an error."""
    try:
        async with asyncio.timeout(OPENED_S):
            status, _ = client.parse_head((await reader.readuntil(b"\r\n\r\n"))[:-4])
            if status != 200:
                raise _refusal(status, await reader.read())
    except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        raise NoDaemon("the daemon has ended") from None
    except TimeoutError:
        message, hint = f"the daemon did not reach it within {OPENED_S:g} s", "see its log, or use --no-daemon"
        raise HostFailure(ErrorKind.TIMEOUT, Phase.HELLO, message, hint) from None


def _refusal(status: int, body: bytes) -> HostFailure | NoDaemon:
    """What an error says: of the host, if it has a phase; else the daemon will not relay."""
    try:
        error = json.loads(body)["error"]
        return HostFailure(
            ErrorKind(error["kind"]), Phase(error["phase"]), str(error["message"]), str(error["hint"])
        )
    except (ValueError, KeyError, TypeError):
        return NoDaemon(f"the daemon does not relay to this host ({status})")


async def _pump(reader: asyncio.StreamReader, channel: ControlChannel, reading: asyncio.Event) -> None:
    """Hand the channel all that comes, while it takes it."""
    chunks = Chunks()
    with contextlib.suppress(OSError, NoDaemon):
        while data := await reader.read(_READ_BYTES):
            channel.stdout(chunks.feed(data))
            await reading.wait()
    message, hint = "the daemon has ended", "the session goes on; ask again: that takes a login of its own"
    channel.give_up(HostFailure(ErrorKind.DISCONNECTED, Phase.IDLE, message, hint))
