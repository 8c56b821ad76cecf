"""fleet.changes: what is different between two states."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from fleet.changes import HostChanged, SessionChanged, SessionGone, changes, may_rename, second_names
from fleet.errors import ErrorKind, HostError, Phase
from fleet.model import Fleet, HostFailed, HostRead, HostSlow, HostState, Reading, apply, choose, empty
from fleet_agent.wire import Child, Hello, Session, Snapshot

ERROR = HostError(ErrorKind.TIMEOUT, Phase.CONNECT, "no answer", "look")
ONE = Session(tool="codex", id="one", state="working", detail="tool")
TWO = Session(tool="codex", id="two", state="idle")


def read(fleet: Fleet, *sessions: Session, host: str = "a", machine: str = "") -> Fleet:
    hello = Hello(schema=1, host_id=machine, boot_id=machine)
    reading = Reading(hello, Snapshot(1, 10.0, sessions), 1.0, 1.0, 0.1)
    return apply(fleet, HostRead(host, reading))


def bare(state: HostState) -> HostState:
    """A host's state as a change of a session keeps it: without any session."""
    assert state.reading is not None
    snapshot = Snapshot(state.reading.snapshot.seq, state.reading.snapshot.now)
    return msgspec.structs.replace(state, reading=msgspec.structs.replace(state.reading, snapshot=snapshot))


def different(before: Fleet, after: Fleet, *names: str) -> list[object]:
    return list(changes(before, after, names or ("a",)))


def test_a_host_that_is_read_for_the_first_time() -> None:
    """First the host, then each of its sessions, all of them new."""
    after = read(empty(["a"]), ONE, TWO)
    state = after.hosts["a"]
    assert different(empty(["a"]), after) == [
        HostChanged("a", state),
        SessionChanged(bare(state), ONE, is_new=True),
        SessionChanged(bare(state), TWO, is_new=True),
    ]


def test_nothing_but_time_has_passed() -> None:
    """A reading that says the same is no change, even if it is another object."""
    before = read(empty(["a"]), ONE)
    assert different(before, read(before, ONE)) == []
    assert different(before, read(before, msgspec.structs.replace(ONE))) == []


def test_numbers_that_move_at_every_reading_are_no_change() -> None:
    """CPU, memory, sizes and children come and go; who is told of each would be told of nothing else."""
    before = read(empty(["a"]), ONE)
    busy = msgspec.structs.replace(
        ONE,
        cpu_percent=99.0,
        rss_bytes=5,
        transcript_bytes=9,
        grown_bytes=9,
        children=(Child(5),),
        child_count=1,
    )
    assert different(before, read(before, busy)) == []


def test_a_session_changes_and_another_goes() -> None:
    """Each change once, with the session as it is now; one that is gone with what was known last."""
    before = read(empty(["a"]), ONE, TWO)
    idle = msgspec.structs.replace(ONE, state="idle", detail="turn_done")
    after = read(before, idle)
    assert different(before, after) == [
        SessionChanged(bare(after.hosts["a"]), idle, is_new=False),
        SessionGone("a", TWO),
    ]


sessions = st.lists(
    st.builds(
        Session,
        tool=st.just("codex"),
        id=st.sampled_from("abcdef"),
        state=st.sampled_from(["idle", "working"]),
        rss_bytes=st.integers(0, 1),
    ),
    unique_by=lambda session: session.id,
)


@given(sessions, sessions, st.data())
def test_in_whatever_order_they_come(were: list[Session], others: list[Session], data: st.DataObject) -> None:
    """Kept as the same objects, moved, changed, new and gone: what is told is what a comparison by id tells."""
    news = {session.id for session in others}
    are = data.draw(
        st.permutations([*others, *(s for s in were if s.id not in news and data.draw(st.booleans()))])
    )
    before = read(empty(["a"]), *were)
    after = read(before, *are)
    states = {session.id: session.state for session in were}
    expected: set[tuple[str, bool | None]] = {
        (s.id, s.id not in states) for s in are if states.get(s.id) != s.state
    }
    expected |= {(gone, None) for gone in states.keys() - {s.id for s in are}}
    told = different(before, after)
    assert len(told) == len(expected)
    assert {
        (c.session.id, c.is_new if isinstance(c, SessionChanged) else None)
        for c in told
        if isinstance(c, SessionChanged | SessionGone)
    } == expected


def test_a_host_that_fails_keeps_its_sessions() -> None:
    """That it cannot be read now is a change of the host, and of no session."""
    before = read(empty(["a"]), ONE)
    slow = apply(before, HostSlow("a", 5.0))
    stale = apply(slow, HostFailed("a", ERROR, 6.0))
    assert different(before, slow) == [HostChanged("a", slow.hosts["a"])]
    assert different(slow, stale) == [HostChanged("a", stale.hosts["a"])]


def test_one_more_failed_attempt_is_no_change() -> None:
    """A host that is down for a day would tell of it a thousand times."""
    before = apply(empty(["a"]), HostFailed("a", ERROR, 5.0))
    assert different(before, apply(before, HostFailed("a", ERROR, 6.0))) == []


def test_a_host_that_is_followed_no_more() -> None:
    """It and its sessions are gone; a host that is new is there."""
    before = read(empty(["a"]), ONE)
    after = choose(before, ["b"], kept=set())
    assert different(before, after, "a", "b") == [
        HostChanged("a", None),
        HostChanged("b", after.hosts["b"]),
        SessionGone("a", ONE),
    ]


def test_only_the_named_hosts_are_looked_at() -> None:
    """Ten thousand hosts cost nothing when one of them said something."""
    before = read(empty(["a", "b"]), ONE)
    assert different(before, read(before, TWO, host="b"), "a") == []


def test_a_machine_with_two_names_is_told_of_once() -> None:
    """Under its first name that is up; when that name fails, its sessions move to the other."""
    one = read(empty(["a", "b"]), ONE, host="b", machine="m")
    assert second_names(one) == frozenset()
    both = read(one, ONE, host="a", machine="m")
    assert may_rename(one, both, {"a"})
    assert second_names(both) == {"b"}
    assert different(one, both, "a")[1:] == [SessionChanged(bare(both.hosts["a"]), ONE, is_new=True)]
    moved = list(changes(one, both, {"a"}, frozenset(), frozenset({"b"})))
    assert SessionGone("b", ONE) in moved
    assert SessionChanged(bare(both.hosts["a"]), ONE, is_new=True) in moved
    later = read(both, msgspec.structs.replace(ONE, state="idle"), host="b", machine="m")
    assert not may_rename(both, later, {"b"})
    assert list(changes(both, later, {"b"}, frozenset({"b"}), frozenset({"b"}))) == []
    failed = apply(later, HostFailed("a", ERROR, 9.0))
    assert may_rename(later, failed, {"a"})
    assert second_names(failed) == {"a"}
