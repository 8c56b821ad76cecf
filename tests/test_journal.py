"""fleet.journal: numbers without holes, and gaps that are said."""

import asyncio
from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from fleet.journal import MAX_UNWORDED, Journal


def filled(count: int, **bounds: int) -> Journal:
    journal = Journal("e1", **bounds)
    for n in range(count):
        journal.append(1, [("session", b"%d" % n)])
    return journal


def test_numbers_have_no_holes() -> None:
    """Each event once, in order, whatever was appended together."""
    journal = Journal("e1")
    journal.append(2, [("host", b"a"), ("session", b"b")])
    journal.append(1, [("gone", b"c")])
    assert [(e.seq, e.type, e.body) for e in journal.after(0)] == [
        (1, "host", b"a"),
        (2, "session", b"b"),
        (3, "gone", b"c"),
    ]
    assert [e.seq for e in journal.after(2)] == [3]
    assert journal.after(3) == []


def test_it_is_bounded_by_number_and_by_size() -> None:
    """A busy fleet and a daemon that runs for months: the oldest go."""
    assert [e.seq for e in filled(10, max_events=3).after(0)] == [8, 9, 10]
    big = Journal("e1", max_bytes=100)
    for _ in range(5):
        big.append(1, [("session", b"x" * 40)])
    assert [e.seq for e in big.after(0)] == [4, 5]


def test_bodies_are_worded_when_somebody_asks_or_many_wait() -> None:
    """A fleet that nobody watches costs little; what waits to be worded is bounded, and nothing is lost."""
    worded: list[int] = []

    def bodies(n: int) -> Iterator[tuple[str, bytes]]:
        worded.append(n)
        yield "session", b"%d" % n

    journal = Journal("e1")
    for n in range(1, MAX_UNWORDED + 1):
        journal.append(1, bodies(n))
    assert (journal.seq, worded) == (MAX_UNWORDED, [])
    assert [e.body for e in journal.after(MAX_UNWORDED - 1)] == [b"%d" % MAX_UNWORDED]
    assert worded == list(range(1, MAX_UNWORDED + 1))
    taken = iter([("session", b"x")] * (MAX_UNWORDED + 1))
    journal.append(MAX_UNWORDED + 1, taken)
    assert next(taken, None) is None
    assert [e.seq for e in journal.after(0)] == list(range(1, 2 * MAX_UNWORDED + 2))


def test_who_was_away_goes_on_where_it_was() -> None:
    """With the id of the last event, what followed is given and no gap is said."""
    journal = filled(5)
    assert journal.resume("e1-3") == (3, None)
    assert journal.resume("e1-5") == (5, None)


def test_a_gap_is_said() -> None:
    """What is no longer kept, another run's ids and nonsense: never silently the wrong events."""
    journal = filled(10, max_events=3)
    seq, why = journal.resume("e1-2")
    assert (seq, why) == (7, "5 events are no longer kept")
    for other in ("e0-3", "e1-99", "nonsense", "e1-x", "-", ""):
        seq, why = journal.resume(other)
        assert seq == 10
        assert why is not None


@given(st.integers(0, 30), st.integers(1, 10), st.integers(0, 40))
def test_resuming_never_skips_in_silence(count: int, kept: int, seen: int) -> None:
    """From any id on: either what follows begins with the very next number, or a gap is said."""
    journal = filled(count, max_events=kept)
    seq, why = journal.resume(f"e1-{seen}")
    following = [e.seq for e in journal.after(seq)]
    assert following == list(range(seq + 1, count + 1))
    assert why is not None or seq == seen


def test_waiting_ends_with_the_next_event_and_with_wake() -> None:
    """A reader sleeps until there is something, or until the daemon stops."""

    async def scene() -> None:
        journal = filled(1)
        await journal.wait(0)  # there is one already
        waiting = asyncio.create_task(journal.wait(1))
        await asyncio.sleep(0)
        assert not waiting.done()
        journal.append(1, [("session", b"")])
        await asyncio.wait_for(waiting, 5)
        waiting = asyncio.create_task(journal.wait(2))
        await asyncio.sleep(0)
        journal.wake()
        await asyncio.wait_for(waiting, 5)

    asyncio.run(scene())
