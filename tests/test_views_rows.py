"""Rows: what belongs together, in which order, how old."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

import states
from fleet.model import Fleet
from fleet.views.rows import Row, Urgency, context_percent, parents, rows
from fleet_agent.wire import DETAILS, STATES, Session
from states import NOW_MONO_S, failed, fleet, read, session

_ids = st.sampled_from("abcdefgh")
_sessions = st.builds(
    Session,
    tool=st.sampled_from(["codex", "claude"]),
    id=_ids,
    state=st.sampled_from([*STATES, "dreaming"]),
    detail=st.none() | st.sampled_from([word for words in DETAILS.values() for word in words]),
    since_at=st.none() | st.floats(allow_nan=False),
    last_activity_at=st.none() | st.floats(allow_nan=False),
    root_id=st.none() | _ids,
    parent_id=st.none() | _ids,
)
_lists = st.lists(_sessions, max_size=12)


def _rows(*events: Any) -> tuple[Row, ...]:
    return rows(fleet(*events), NOW_MONO_S)


def _ids_of(found: tuple[Row, ...]) -> str:
    return "".join(row.session.id for row in found)


def _tree(found: tuple[Row, ...]) -> list[tuple[str, int]]:
    return [(row.session.id, row.depth) for row in found]


@settings(deadline=None)
@given(_lists, _lists)
def test_no_session_is_lost_or_doubled(one: list[Session], two: list[Session]) -> None:
    """Every session of every host is one row, whatever its parents are: missing, a cycle, itself."""
    found = _rows(read("one", *one), read("two", *two))
    assert sorted(r.session.id for r in found if r.host == "one") == sorted(s.id for s in one)
    assert sorted(r.session.id for r in found if r.host == "two") == sorted(s.id for s in two)


@settings(deadline=None)
@given(_lists)
def test_the_order_is_total(sessions: list[Session]) -> None:
    """The same fleet gives the same rows; a group stands together, its root first, a child below its parent."""
    found = _rows(read("one", *sessions))
    assert found == _rows(read("one", *sessions))
    before = -1
    for row in found:
        assert 0 <= row.depth <= before + 1
        before = row.depth
    ranks = [min(row.urgency for row in group) for group in _split(found)]
    assert ranks == sorted(ranks)


def _split(found: tuple[Row, ...]) -> list[list[Row]]:
    groups: list[list[Row]] = []
    for row in found:
        if row.depth == 0:
            groups.append([])
        groups[-1].append(row)
        assert row.root == groups[-1][0].key
    return groups


@settings(deadline=None)
@given(_lists)
def test_ages_are_never_negative(sessions: list[Session]) -> None:
    """An age is None or at least 0, whatever time a host claims."""
    for row in _rows(read("one", *sessions, read_ago_s=3)):
        assert row.age_s is None or row.age_s >= 0
        assert row.activity_age_s is None or row.activity_age_s >= 0


@settings(deadline=None)
@given(st.floats(min_value=-1e6, max_value=1e6))
def test_skew_is_never_used(skew_s: float) -> None:
    """Ages do not change with a host's clock being off."""
    event = read("one", session("a", "idle", "new", 60), read_ago_s=5, skew_s=skew_s)
    assert rows(fleet(event), NOW_MONO_S)[0].age_s == 65


def test_who_needs_a_person_comes_first() -> None:
    """Waiting, stuck and working longest first, failed and idle newest first; then unknown, then ended."""
    found = _rows(
        read(
            "one",
            session("l", "ended", "ok", 5),
            session("k", "dreaming", None, 5),
            session("j", "idle", "turn_done", 90),
            session("i", "idle", "turn_done", 9),
            session("h", "working", "tool", 9),
            session("g", "working", "tool", 90),
            session("f", "ended", "crashed", 90),
            session("e", "idle", "failed", 9),
            session("d", "working", "stuck", 700),
            session("c", "working", "stuck", 900),
            session("b", "waiting", "question", 9),
            session("a", "waiting", "approval", 90),
        )
    )
    assert _ids_of(found) == "abcdefghijkl"
    assert [row.urgency for row in found[::2]] == [0, 1, 2, 3, 4, Urgency.UNKNOWN]


def test_a_group_is_as_urgent_as_its_most_urgent_member() -> None:
    """A root whose subagent's subagent waits stands before a session that works."""
    found = _rows(
        read("one", session("w", "working", "tool", 999)),
        read(
            "two",
            session("a", "idle", "turn_done", 5),
            session("b", "ended", "ok", 5, parent_id="a", root_id="a"),
            session("c", "waiting", "approval", 5, parent_id="b", root_id="a"),
        ),
    )
    assert _tree(found) == [("a", 0), ("b", 1), ("c", 2), ("w", 0)]
    assert {row.root for row in found[:3]} == {"two:a"}


def test_siblings_stand_by_urgency() -> None:
    """Below one parent the one that waits comes first, and its own subagents right below it."""
    found = _rows(
        read(
            "one",
            session("r", "working", "subagents", 5),
            session("x", "ended", "ok", 5, parent_id="r"),
            session("y", "waiting", "question", 5, parent_id="r"),
            session("z", "idle", "new", 5, parent_id="y"),
        )
    )
    assert _tree(found) == [("r", 0), ("y", 1), ("z", 2), ("x", 1)]


def test_an_orphan_stands_on_its_own() -> None:
    """A subagent whose parent is not there stands below its root; without that, alone."""
    sessions = [
        session("a", "idle", "new", 1),
        session("b", "idle", "new", 2, parent_id="gone", root_id="a"),
        session("c", "idle", "new", 3, parent_id="gone", root_id="gone"),
    ]
    assert _tree(_rows(read("one", *sessions))) == [("a", 0), ("b", 1), ("c", 0)]


def test_subagents_of_another_host_are_not_mixed_in() -> None:
    """Parents are looked for on the same host only: ids of two hosts are not related."""
    child = session("b", "idle", "new", 1, parent_id="a")
    assert _tree(_rows(read("one", session("a", "idle", "new", 2)), read("two", child))) == [("b", 0), ("a", 0)]


def test_cycles_are_cut() -> None:
    """Sessions that are each other's parents end in one tree; none hangs, none is lost."""
    cycle = [session(c, "idle", "new", 1, parent_id=p) for c, p in ("ab", "bc", "ca", "da")]
    assert parents(cycle) == [None, 2, 0, 0]
    assert sorted(_tree(_rows(read("one", *cycle)))) == [("a", 0), ("b", 2), ("c", 1), ("d", 1)]


def test_deep_chains_do_not_recurse() -> None:
    """500 subagents, each below the last, are no RecursionError."""
    chain = [session(f"{i:03}", "idle", "new", 1, parent_id=f"{i - 1:03}") for i in range(500)]
    assert _rows(read("one", *chain))[-1].depth == 499


def test_stale_rows_stay_and_are_marked() -> None:
    """A host that failed keeps its rows, marked, behind the fresh ones of their kind."""
    old = read("old", session("a", "waiting", "approval", 900), read_ago_s=60)
    found = _rows(old, failed("old"), read("new", session("b", "waiting", "approval", 1)))
    assert [(row.session.id, row.stale) for row in found] == [("b", False), ("a", True)]
    assert found[1].age_s == 960


def test_words_of_a_newer_agent_are_unknown() -> None:
    """An unknown word is "unknown"; of an unknown state no detail is claimed."""
    new = session("a", "dreaming", "deeply", 1, evidence="aura", confidence="certain", usage_confidence="felt")
    newer_detail = session("b", "waiting", "vote", 1)
    waiting, dreaming = (row.session for row in _rows(read("one", new, newer_detail)))
    assert (waiting.state, waiting.detail) == ("waiting", "unknown")
    assert (dreaming.state, dreaming.detail) == ("unknown", None)
    assert (dreaming.evidence, dreaming.confidence, dreaming.usage_confidence) == ("unknown",) * 3


def test_one_machine_under_two_names_counts_once() -> None:
    """A session that two names of one machine show is one row, under the first name that is up."""
    one, two = session("a", "idle", "new", 1), session("b", "idle", "new", 2)
    here = read("local", one)
    there = read("gpu01", one, two)
    there = replace(there, reading=replace(there.reading, hello=here.reading.hello))
    assert [row.key for row in _rows(here, there)] == ["local:a", "gpu01:b"]
    assert [row.key for row in _rows(here, there, failed("local"))] == ["gpu01:a", "gpu01:b"]


def test_ids_of_two_machines_are_two_sessions() -> None:
    """The same id on two machines (a shared home) is two rows."""
    one = session("a", "idle", "new", 1)
    assert [row.host for row in _rows(read("one", one), read("two", one))] == ["one", "two"]


def test_context_percent() -> None:
    """None where either number is not known or the window is absurd."""
    assert context_percent(session("a", "idle", "new", 1, context_used_tokens=1, context_window_tokens=4)) == 25
    for used, window in ((None, 4), (1, None), (1, 0), (1, -4)):
        assert (
            context_percent(
                session("a", "idle", "new", 1, context_used_tokens=used, context_window_tokens=window)
            )
            is None
        )


def test_a_host_that_was_not_read_has_no_rows() -> None:
    """Pending and down hosts add nothing, and break nothing."""
    assert rows(fleet(failed("down"), pending=("pending",)), NOW_MONO_S) == ()
    assert isinstance(states.everything(), Fleet)
