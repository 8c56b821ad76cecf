"""fleet_agent.trees: whose process is whose."""

import msgspec

from fleet_agent.kin import Child
from fleet_agent.trees import Forest, grow
from fleet_agent.wire import Session

MARKS = ("CODEX_THREAD_ID",)


def session(name: str, *pids: int, root: str | None = None) -> Session:
    return Session("codex", name, pids=pids, root_id=root)


def child(pid: int, ppid: int, owner: str | None = None) -> Child:
    return Child(pid, ppid, 0.0, {"CODEX_THREAD_ID": owner} if owner else {})


def forest(
    sessions: list[Session],
    kin: list[Child],
    tools: tuple[int, ...] = (),
    before: dict[int, str] | None = None,
) -> Forest:
    known = {one.pid: one for one in kin}
    pids = {pid for session in sessions for pid in session.pids}
    return grow(sessions, known, (*pids, *tools), MARKS, before or {})


def owned(grown: Forest) -> dict[str, list[int]]:
    return {owner: sorted(c.pid for c in children) for owner, children in grown.owned.items()}


def outlived(grown: Forest) -> list[tuple[int, str]]:
    return sorted((c.pid, owner) for c, owner in grown.outlived)


def test_everything_below_its_process_is_a_sessions_own() -> None:
    """At any depth, marked or not: releases before 0.102 mark nothing, and MCP servers never are."""
    grown = forest([session("a", 1)], [child(10, 1), child(11, 10, "a"), child(12, 11), child(20, 2)])
    assert owned(grown) == {"a": [10, 11, 12]}
    assert grown.holders == {"a": (1,)}
    assert outlived(grown) == []


def test_threads_of_one_daemon_own_what_names_them() -> None:
    """The daemon itself and its MCP servers serve all of them: they are nobody's."""
    kin = [child(10, 1, "a"), child(11, 10), child(20, 1, "b"), child(30, 1), child(31, 30)]
    grown = forest([session("a", 1), session("b", 1)], kin)
    assert owned(grown) == {"a": [10, 11], "b": [20]}
    assert grown.holders == {}


def test_a_family_in_one_process_is_its_roots() -> None:
    """Subagents run in their parent's process: what they started is theirs, all the rest is the root's."""
    sessions = [session("root", 1, root="root"), session("sub", 1, root="root")]
    grown = forest(sessions, [child(10, 1, "sub"), child(20, 1)])
    assert owned(grown) == {"sub": [10], "root": [20]}
    assert grown.holders == {"root": (1,)}


def test_a_session_that_a_session_started_is_in_both_trees() -> None:
    """`codex exec` as a tool call: what the inner one starts does not name the outer one, but is below it."""
    kin = [child(10, 1, "outer"), child(11, 10, "outer"), child(12, 11, "inner"), child(13, 11, "outer")]
    grown = forest([session("outer", 1), session("inner", 11)], kin)
    assert owned(grown) == {"outer": [10, 11, 12, 13], "inner": [12, 13]}
    assert grown.holders == {"outer": (1,), "inner": (11,)}


def test_who_left_the_tree_is_still_its_sessions_while_that_lives() -> None:
    """setsid and a dead parent: its environment tells, or what was known of it before."""
    kin = [child(10, 1000, "a"), child(11, 10), child(20, 1000)]
    assert owned(forest([session("a", 1)], kin, before={20: "a"})) == {"a": [10, 11, 20]}


def test_who_may_be_an_ephemeral_sessions_has_not_outlived_it() -> None:
    """Nobody knows its tool's own id for it: who names an id that nobody knows, and is younger, may be its."""
    run = Session("codex", "pid-1-1", pids=(1,), started_at=100.0, ephemeral=True)
    kin = [child(10, 1000, "own"), child(20, 1000, "ended"), child(30, 1000, "old")]
    kin = [msgspec.structs.replace(one, created_at=at) for one, at in zip(kin, (101, 102, 99), strict=True)]
    assert outlived(forest([run, session("ended")], kin)) == [(20, "ended"), (30, "old")]
    over = msgspec.structs.replace(run, pids=())
    assert outlived(forest([over], kin)) == [(10, "own"), (20, "ended"), (30, "old")]
    assert owned(forest([run], kin, before={10: "pid-1-1"})) == {"pid-1-1": [10]}


def test_who_was_seen_in_a_live_session_is_its_whatever_it_inherited() -> None:
    """A server of a Codex that another, gone since, had started: it names the one that is gone."""
    grown = forest([session("inner", 1)], [child(10, 1000, "outer")], before={10: "inner"})
    assert (owned(grown), outlived(grown)) == ({"inner": [10]}, [])


def test_who_outlived_its_session_is_told_with_its_id() -> None:
    """By its environment, by what was known of it, or by who it descends from."""
    kin = [child(10, 1000, "gone"), child(11, 10), child(20, 1000), child(30, 1000)]
    grown = forest([session("a", 1)], kin, before={20: "gone2"})
    assert outlived(grown) == [(10, "gone"), (11, "gone"), (20, "gone2")]
    assert owned(grown) == {}


def test_who_is_below_a_live_tool_is_no_orphan() -> None:
    """A session that leaves no trace (--ephemeral) is not known, but its process runs."""
    assert outlived(forest([], [child(10, 5, "ephemeral")], tools=(5,))) == []


def test_a_tool_that_a_dead_session_started_is_no_orphan_itself() -> None:
    """It holds a session of its own; and so is nothing that it started."""
    grown = forest(
        [session("inner", 11)], [child(11, 1000, "gone"), child(12, 11, "inner"), child(13, 11, "gone")]
    )
    assert outlived(grown) == []
    assert owned(grown) == {"inner": [12, 13]}


def test_what_a_sandbox_of_a_dead_session_runs_is_an_orphan() -> None:
    """Codex's sandbox is the same program as Codex: being a tool's does not make it a session."""
    grown = forest([], [child(10, 1000, "gone"), child(11, 10, "gone")], tools=(10,))
    assert outlived(grown) == [(10, "gone"), (11, "gone")]


def test_a_circle_does_not_hang() -> None:
    """Pids are read one after another; two readings may contradict each other."""
    grown = forest([session("a", 1)], [child(10, 11), child(11, 10), child(1, 12), child(12, 1)])
    assert owned(grown) == {"a": [12]}
