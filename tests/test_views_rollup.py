"""What subagents add up to under their root."""

import sys
from collections.abc import Callable
from typing import Any

from fleet.views.document import document
from fleet.views.entries import Rollup, SessionEntry, TokenCounts
from fleet.views.table import table
from fleet_agent.wire import Session, Tokens
from states import NOW_AT, NOW_MONO_S, fleet, read, session


def _entries(*sessions: Session) -> tuple[SessionEntry, ...]:
    return document(fleet(read("one", *sessions)), NOW_AT, NOW_MONO_S).sessions


def _rollup(*sessions: Session) -> Rollup:
    root, *others = _entries(*sessions)
    assert [entry.rollup for entry in others] == [None] * len(others)
    assert root.rollup is not None
    return root.rollup


def _used(total: int, confidence: str | None = "exact") -> dict[str, Any]:
    return {"tokens": Tokens(total, 0, 0, 0, total), "usage_confidence": confidence}


def test_states_are_counted_at_any_depth() -> None:
    """A root knows how many subagents it has in each state, those of subagents too, itself not among them."""
    rollup = _rollup(
        session("r", "idle", "turn_done", 5),
        session("a", "working", "tool", 5, parent_id="r"),
        session("b", "working", "stuck", 5, parent_id="a"),
        session("c", "ended", "ok", 5, parent_id="b"),
        session("d", "dreaming", None, 5, root_id="r"),
        session("e", "idle", "new", 5, parent_id="r"),
    )
    counts = (rollup.subagents, rollup.waiting, rollup.working, rollup.idle, rollup.ended, rollup.unknown)
    assert counts == (5, 0, 2, 1, 1, 1)
    assert (rollup.urgent_id, rollup.urgent_state, rollup.urgent_detail) == ("b", "working", "stuck")


def test_the_most_urgent_one_is_named() -> None:
    """A subagent that waits is the one named, however deep it is; the root itself is not among them."""
    sessions = [session("0", "waiting", "approval", 5)]
    sessions += [session(str(i), "idle", "new", 5, parent_id=str(i - 1)) for i in range(1, 50)]
    sessions += [session("50", "waiting", "question", 5, parent_id="49")]
    rollup = _rollup(*sessions)
    assert (rollup.subagents, rollup.waiting, rollup.urgent_id) == (50, 1, "50")


def test_tokens_add_up() -> None:
    """The tokens of a tree are the sums over root and subagents, of each kind."""
    rollup = _rollup(
        session("r", "idle", "new", 5, tokens=Tokens(10, 5, 3, 1, 13), usage_confidence="exact"),
        session("a", "ended", "ok", 5, parent_id="r", tokens=Tokens(20, 6, 4, 2, 24), usage_confidence="exact"),
    )
    assert rollup.tokens == TokenCounts(30, 11, 7, 3, 37)
    assert rollup.usage_confidence == "exact"


def test_confidence_is_the_worst_of_the_tree() -> None:
    """One count that is missing, or not exact, makes the sum no better than that; without any there is none."""

    def told(*members: dict[str, Any]) -> tuple[int | None, str | None]:
        sessions = [session(str(i), "idle", "new", 5, root_id="0", **more) for i, more in enumerate(members)]
        rollup = _rollup(*sessions)
        return (rollup.tokens.total if rollup.tokens else None), rollup.usage_confidence

    assert told(_used(1), _used(2)) == (3, "exact")
    assert told(_used(1), _used(2, "conservative"), _used(3)) == (6, "conservative")
    assert told(_used(1, "conservative"), _used(2, "felt")) == (3, "unknown")
    assert told(_used(1), _used(2, None)) == (3, "unknown")
    assert told(_used(1), {}) == (1, "unknown")
    assert told(_used(1), {"usage_confidence": "exact"}) == (1, "unknown")
    assert told({}, {}) == (None, None)


def test_sessions_of_their_own_have_no_rollup() -> None:
    """Where there is no subagent there is nothing to sum up."""
    alone = _entries(session("a", "idle", "new", 5), session("b", "idle", "new", 5))
    assert [entry.rollup for entry in alone] == [None, None]


def _calls(do: Callable[[], object]) -> int:
    """How many functions are called in `do`, those of C too: what work is, without a clock."""
    count = 0

    def on_event(frame: object, event: str, arg: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(on_event)
    try:
        do()
    finally:
        sys.setprofile(before)
    return count


def _view(sessions: list[Session]) -> None:
    state = fleet(read("one", *sessions))
    table(document(state, NOW_AT, NOW_MONO_S), width=80)


def _wide(count: int) -> list[Session]:
    states = (("working", "tool"), ("ended", "ok"), ("waiting", "question"), ("idle", "turn_done"))
    return [
        session("root", "idle", "new", 5),
        *(session(f"{i:08}", *states[i % 4], i, parent_id="root", root_id="root") for i in range(count)),
    ]


def _deep(count: int) -> list[Session]:
    return [
        session("r0", "idle", "new", 5),
        *(session(f"r{i}", "idle", "new", 5, parent_id=f"r{i - 1}", root_id="r0") for i in range(1, count)),
    ]


def test_many_subagents_cost_no_more_than_they_are() -> None:
    """Ten times the subagents under one parent, or one below the other, are about ten times the work."""
    for family, few, many in ((_wide, 365, 3650), (_deep, 50, 500)):
        _view(family(few))  # what is cached from now on
        work = _calls(lambda family=family, few=few: _view(family(few)))  # type: ignore[misc]
        more_work = _calls(lambda family=family, many=many: _view(family(many)))  # type: ignore[misc]
        assert more_work < 11 * work
