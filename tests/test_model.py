"""fleet.model: from one state of the fleet to the next."""

import pytest

from fleet.errors import ErrorKind, HostError, Phase
from fleet.model import HostFailed, HostRead, HostSlow, Link, Reading, apply, choose, empty
from fleet_agent.wire import Hello, Session, Snapshot

ERROR = HostError(ErrorKind.TIMEOUT, Phase.CONNECT, "no answer", "look")


def reading(at: float, title: str = "t") -> Reading:
    snapshot = Snapshot(seq=1, now=at + 5, sessions=(Session(tool="codex", id="x", title=title),))
    return Reading(Hello(schema=1), snapshot, arrived_at=at, arrived_mono_s=at, elapsed_s=0.1)


def test_a_fleet_is_never_changed() -> None:
    """A reader may keep a state while events go on."""
    before = empty(["a"])
    after = apply(before, HostRead("a", reading(1)))
    assert before.hosts["a"].link is Link.PENDING
    assert after.hosts["a"].link is Link.UP
    assert after.version == before.version + 1
    with pytest.raises(TypeError):
        after.hosts["b"] = after.hosts["a"]  # type: ignore[index]


def test_a_failed_host_keeps_its_last_good_reading() -> None:
    """What was known stays, marked stale since the first failure; attempts count up (PROMISES 5)."""
    fleet = apply(
        empty(["a"]), HostRead("a", reading(1)), HostFailed("a", ERROR, 10), HostFailed("a", ERROR, 20, 30)
    )
    host = fleet.hosts["a"]
    assert (host.link, host.since_at, host.attempts, host.next_retry_at) == (Link.STALE, 10, 2, 30)
    assert host.reading == reading(1)
    assert host.last_seen_at == 1


def test_a_host_that_was_never_read_is_down() -> None:
    """There is nothing to show, and that is not the same as no sessions."""
    host = apply(empty(["a"]), HostFailed("a", ERROR, 10)).hosts["a"]
    assert (host.link, host.reading, host.error) == (Link.DOWN, None, ERROR)


def test_a_good_reading_clears_the_error() -> None:
    """Back up: no error, no attempts, up since now."""
    fleet = apply(
        empty(["a"]), HostFailed("a", ERROR, 10), HostRead("a", reading(12)), HostRead("a", reading(14))
    )
    host = fleet.hosts["a"]
    assert (host.link, host.error, host.attempts, host.since_at) == (Link.UP, None, 0, 12)


def test_skew_is_measured_against_our_clock() -> None:
    """The host's clock minus ours, for people to see."""
    assert reading(100).skew_s == 5


def test_an_event_of_an_unknown_host_changes_nothing() -> None:
    """A host that was taken out of the configuration may still have an event under way."""
    assert "b" not in apply(empty(["a"]), HostRead("b", reading(1))).hosts


def test_a_slow_host_is_neither_up_nor_failed() -> None:
    """Only a host that is up becomes slow; it keeps its reading, has no error, and the next frame ends it."""
    fleet = apply(empty(["a", "b"]), HostRead("a", reading(1)), HostSlow("a", 7), HostSlow("b", 7))
    slow, pending = fleet.hosts["a"], fleet.hosts["b"]
    assert (slow.link, slow.since_at, slow.error, slow.reading) == (Link.SLOW, 7, None, reading(1))
    assert pending.link is Link.PENDING
    up = apply(fleet, HostRead("a", reading(9))).hosts["a"]
    assert (up.link, up.since_at) == (Link.UP, 9)
    assert apply(apply(fleet, HostFailed("a", ERROR, 8)), HostSlow("a", 9)).hosts["a"].link is Link.STALE


def test_other_hosts_may_be_chosen() -> None:
    """A new configuration: in its order, those that did not change as they are, the others not read yet."""
    before = apply(empty(["a", "b", "c"]), HostRead("a", reading(1)), HostRead("b", reading(1)))
    after = choose(before, ["d", "b", "a"], kept={"a"})
    assert [(h.name, h.link) for h in after.hosts.values()] == [
        ("d", Link.PENDING),
        ("b", Link.PENDING),
        ("a", Link.UP),
    ]
    assert after.version > before.version
