"""The journal as server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html)."""

import asyncio
from collections.abc import AsyncIterator, Callable

import msgspec

from fleet.journal import Event, Journal

KEEPALIVE_S = 15.0  # a comment, so that both sides notice a dead connection


async def stream(
    journal: Journal, last_id: str | None, is_stopping: Callable[[], bool]
) -> AsyncIterator[bytes]:
    """Events from now on, or after `last_id`. What cannot be given any more is an event of its own, `gap`.

    After a gap the reader has to fetch the fleet anew. The first event is `hello`, with the id it begins after.
    """
    seq, why = journal.resume(last_id) if last_id else (journal.seq, None)
    if why:
        yield encoded(
            journal.id(seq), "gap", msgspec.json.encode({"type": "gap", "reason": why, "after": last_id})
        )
    else:
        yield encoded(journal.id(seq), "hello", msgspec.json.encode({"type": "hello"}))
    while not is_stopping():
        events = journal.after(seq)
        if events and events[0].seq > seq + 1:  # it reads more slowly than the fleet changes
            body = {"type": "gap", "reason": f"{events[0].seq - seq - 1} events are no longer kept"}
            yield encoded(journal.id(events[0].seq - 1), "gap", msgspec.json.encode(body))
        for event in events:
            yield _encoded(journal, event)
        seq = events[-1].seq if events else seq
        try:
            async with asyncio.timeout(KEEPALIVE_S):
                await journal.wait(seq)
        except TimeoutError:
            yield b": still here\n\n"


def encoded(event_id: str, type_: str, body: bytes) -> bytes:
    """One event. `body` has no newline in it."""
    return b"id: %b\nevent: %b\ndata: %b\n\n" % (event_id.encode(), type_.encode(), body)


def _encoded(journal: Journal, event: Event) -> bytes:
    return encoded(journal.id(event.seq), event.type, event.body)
