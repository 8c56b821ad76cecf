"""Asking the supervisor of a run, over its socket."""

import asyncio

import msgspec

from fleet_agent.control.store import Entry
from fleet_agent.control.wire import MAX_REQUEST_BYTES, Done, Refused, Reply, Request

ANSWER_S = 60.0  # an action waits for the tool's own answer

_decode = msgspec.json.Decoder(Reply).decode
_encode = msgspec.json.Encoder().encode


async def ask(entry: Entry, request: Request, timeout_s: float = ANSWER_S) -> list[Reply]:
    """All replies to one request, `Done` or `Refused` last; `Refused` if the supervisor does not answer."""
    try:
        return await asyncio.wait_for(_ask(entry.facts().socket, request), timeout_s)
    except asyncio.TimeoutError:  # before Python 3.11 not the builtin one
        return [Refused("timeout", f"{entry.name} did not answer within {timeout_s:g} s")]
    except (OSError, ValueError) as exc:
        return [Refused("stale", f"nobody answers for {entry.name}: {exc}", "see fleet ps: it may have ended")]


async def _ask(path: str, request: Request) -> list[Reply]:
    reader, writer = await asyncio.open_unix_connection(path, limit=MAX_REQUEST_BYTES)
    try:
        writer.write(_encode(request) + b"\n")
        replies: list[Reply] = []
        while not replies or not isinstance(replies[-1], (Done, Refused)):
            line = await reader.readline()
            if not line:
                raise ConnectionError("it hung up")
            replies.append(_decode(line))
        return replies
    finally:
        writer.close()
