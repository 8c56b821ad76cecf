"""fleet.api.sse: the journal as a stream of events."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from fleet.api import sse
from fleet.cli.daemon_events import Event, parsed
from fleet.journal import Journal


async def take(stream: AsyncIterator[bytes], count: int) -> list[bytes]:
    return [await asyncio.wait_for(anext(stream), 5) for _ in range(count)]


def events(blocks: list[bytes]) -> list[Event]:
    return list(parsed(line + b"\n" for line in b"".join(blocks).split(b"\n")))


def test_from_now_on() -> None:
    """Hello first, with the id it begins after; then each change once as it comes."""

    async def scene() -> None:
        journal = Journal("e1")
        journal.append(1, [("session", b'{"old":1}')])
        stream = sse.stream(journal, None, lambda: False)
        hello = await take(stream, 1)
        journal.append(2, [("session", b'{"n":2}'), ("host", b'{"n":3}')])
        assert events(hello + await take(stream, 2)) == [
            ("e1-1", "hello", b'{"type":"hello"}'),
            ("e1-2", "session", b'{"n":2}'),
            ("e1-3", "host", b'{"n":3}'),
        ]

    asyncio.run(scene())


def test_resume_and_gap() -> None:
    """After the last id that was seen; where that is not possible, the gap is the first thing said."""

    async def scene() -> None:
        journal = Journal("e1", max_events=2)
        for n in range(1, 5):
            journal.append(1, [("session", b"%d" % n)])
        assert events(await take(sse.stream(journal, "e1-3", lambda: False), 2))[1] == ("e1-4", "session", b"4")
        gap, third, fourth = events(await take(sse.stream(journal, "e1-1", lambda: False), 3))
        assert (gap.type, gap.id) == ("gap", "e1-2")
        assert b"1 events are no longer kept" in gap.data
        assert (third.id, fourth.id) == ("e1-3", "e1-4")
        (restart,) = events(await take(sse.stream(journal, "e0-9", lambda: False), 1))
        assert restart.type == "gap"
        assert b"started anew" in restart.data

    asyncio.run(scene())


def test_a_reader_that_is_too_slow_is_told() -> None:
    """What was dropped while it did not read is a gap in its own stream."""

    async def scene() -> None:
        journal = Journal("e1", max_events=2)
        stream = sse.stream(journal, None, lambda: False)
        await take(stream, 1)
        for n in range(1, 6):
            journal.append(1, [("session", b"%d" % n)])
        gap, *rest = events(await take(stream, 3))
        assert (gap.type, gap.id) == ("gap", "e1-3")
        assert [e.id for e in rest] == ["e1-4", "e1-5"]

    asyncio.run(scene())


def test_silence_is_kept_alive_and_the_end_is_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A comment now and then; a daemon that stops does not wait for its readers."""
    monkeypatch.setattr(sse, "KEEPALIVE_S", 0.01)

    async def scene() -> None:
        journal, is_stopping = Journal("e1"), False
        stream = sse.stream(journal, None, lambda: is_stopping)
        _, comment = await take(stream, 2)
        assert comment.startswith(b":")
        is_stopping = True
        journal.wake()
        assert events([block async for block in stream]) == []

    asyncio.run(scene())
