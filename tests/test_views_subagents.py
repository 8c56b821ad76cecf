"""Which subagents a table lists, and which it counts."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from fleet.views.document import document
from fleet.views.entries import SessionEntry
from fleet.views.rows import Urgency
from fleet.views.subagents import MAX_BUSY, folded, urgency_below, urgency_of
from fleet_agent.wire import DETAILS, Session
from states import NOW_AT, NOW_MONO_S, fleet, read, session

_words = st.sampled_from([(state, detail) for state in DETAILS for detail in (None, *DETAILS[state])])


def _entries(sessions: list[Session]) -> tuple[SessionEntry, ...]:
    return document(fleet(read("one", *sessions)), NOW_AT, NOW_MONO_S).sessions


def _shown(*sessions: Session) -> list[Any]:
    """Ids of those that are listed; a number for those that are counted."""
    return [item.id if isinstance(item, SessionEntry) else len(item) for item in folded(_entries([*sessions]))]


def _root(state: str = "working", detail: str | None = "subagents") -> Session:
    return session("root", state, detail, 5)


def _below(name: str, state: str, detail: str | None, parent: str = "root", ago_s: float = 5) -> Session:
    return session(name, state, detail, ago_s, parent_id=parent, root_id="root")


def test_who_needs_a_person_is_always_listed() -> None:
    """However many subagents wait or are stuck, each has its line; those that are done are counted."""
    waiting = [_below(f"w{i}", "waiting", "question") for i in range(10)]
    stuck = [_below(f"s{i}", "working", "stuck") for i in range(10)]
    done = [_below(f"d{i}", "ended", "ok") for i in range(300)]
    shown = _shown(_root(), *done, *stuck, *waiting)
    assert shown == ["root", *(w.id for w in waiting), *(s.id for s in stuck), 300]


def test_those_that_work_are_listed_up_to_a_number() -> None:
    """Of 365 subagents that work the table shows the first few and counts the others."""
    shown = _shown(_root(), *(_below(f"{i:03}", "working", "tool") for i in range(365)))
    assert shown == ["root", *(f"{i:03}" for i in range(MAX_BUSY)), 365 - MAX_BUSY]


def test_one_line_is_not_folded_into_one_line() -> None:
    """A single subagent that is done is shown: counting it would save nothing."""
    assert _shown(_root(), _below("a", "ended", "ok")) == ["root", "a"]
    assert _shown(_root(), _below("a", "ended", "ok"), _below("b", "idle", "new")) == ["root", 2]


def test_what_leads_to_a_listed_one_is_listed() -> None:
    """A subagent that waits stands below its own parent, although that is done."""
    shown = _shown(
        _root(),
        _below("a", "ended", "ok"),
        _below("b", "ended", "ok"),
        _below("c", "idle", "turn_done", parent="b"),
        _below("d", "waiting", "approval", parent="c"),
        _below("e", "ended", "ok", parent="c"),
        _below("f", "ended", "ok"),
    )
    assert shown == ["root", "b", "c", "d", 3]


def test_groups_are_folded_apart() -> None:
    """Each root keeps its own; sessions of their own are never folded."""
    alone = [session(f"alone{i}", "ended", "ok", 99) for i in range(3)]
    assert _shown(_root(), _below("a", "ended", "ok"), _below("b", "ended", "ok"), *alone) == [
        "root",
        2,
        "alone0",
        "alone1",
        "alone2",
    ]


@settings(deadline=None)
@given(st.lists(st.tuples(_words, st.integers(0, 12)), max_size=13))
def test_folding_loses_nobody(members: list[tuple[tuple[str, str | None], int]]) -> None:
    """Every session is listed once or counted once; roots are listed, parents stand before their subagents."""
    sessions = [session(str(i), *words, 5, parent_id=str(up)) for i, (words, up) in enumerate(members)]
    entries = _entries(sessions)
    items = [*folded(entries)]
    listed = [item for item in items if isinstance(item, SessionEntry)]
    counted = [entry for item in items if not isinstance(item, SessionEntry) for entry in item]
    assert sorted(e.id for e in (*listed, *counted)) == sorted(e.id for e in entries)
    assert all(entry.depth and urgency_of(entry) > Urgency.STUCK for entry in counted)
    before = -1
    for entry in listed:
        assert entry.depth <= before + 1
        before = entry.depth


def test_a_root_tells_of_what_is_below_it() -> None:
    """What is more urgent below a root is told at the root; what is less so, or only failed there, is not."""

    def below(root: tuple[str, str], *others: tuple[str, str]) -> Urgency | None:
        sessions = [_root(*root), *(_below(str(i), *words) for i, words in enumerate(others))]
        return urgency_below(_entries(sessions)[0])

    idle, working, waiting = ("idle", "turn_done"), ("working", "tool"), ("waiting", "approval")
    assert below(idle, working, waiting) is Urgency.WAITING
    assert below(working, working, ("working", "stuck")) is Urgency.STUCK
    assert below(idle, idle, working) is Urgency.WORKING
    assert below(working, working) is None
    assert below(waiting, waiting) is None
    assert below(idle, ("ended", "failed")) is None
    assert below(idle) is None
