"""The fleet state: what every host said last, or why it did not. Pure and frozen.

`apply(fleet, *events)` is the only way from one state to the next; a `Fleet` is never changed, so any number of
readers may hold one. A host that failed keeps its last good reading, marked `stale`; it is never dropped and
never turned into "no sessions".
"""

import enum
from collections.abc import Container, Iterable
from types import MappingProxyType

import msgspec

from fleet.errors import HostError
from fleet_agent.wire import Hello, Snapshot


class Link(enum.StrEnum):
    """How a host is doing, seen from here."""

    PENDING = "pending"  # not read yet
    UP = "up"  # its last reading is current
    SLOW = "slow"  # reading it takes longer than it should, but it has not failed
    STALE = "stale"  # it failed, and there is a last good reading to show
    DOWN = "down"  # it failed, and nothing was ever read


class Reading(msgspec.Struct, frozen=True):
    """One good reading of a host.

    `arrived_at` is this machine's wall clock (epoch seconds), for people; `arrived_mono_s` is its monotonic
    clock, from which ages are derived together with the host's own `snapshot.now`. The host's clock is never
    compared with ours for anything but `skew_s` (host minus here, seconds), which is shown and never used.
    """

    hello: Hello
    snapshot: Snapshot
    arrived_at: float
    arrived_mono_s: float
    elapsed_s: float  # from the start of the reading to its end
    notes: tuple[str, ...] = ()  # oddities that did not stop the reading: noise before hello, skipped frames

    @property
    def machine(self) -> tuple[str, str] | None:
        """What tells that two names are one machine: its id and boot. None when the agent could not tell."""
        return (self.hello.host_id, self.hello.boot_id) if self.hello.host_id and self.hello.boot_id else None

    @property
    def skew_s(self) -> float:
        """How far the host's clock is ahead of ours, in seconds, plus the time the frame travelled."""
        return self.snapshot.now - self.arrived_at


class HostState(msgspec.Struct, frozen=True):
    """One host: its last good reading, its error if the newest attempt failed, and since when it is so."""

    name: str
    link: Link = Link.PENDING
    reading: Reading | None = None
    error: HostError | None = None
    since_at: float | None = None  # when `link` became what it is (epoch seconds, our clock)
    attempts: int = 0  # failed attempts in a row
    next_retry_at: float | None = None

    @property
    def last_seen_at(self) -> float | None:
        """When the host was last read, by our clock (epoch seconds)."""
        return self.reading.arrived_at if self.reading else None


class HostRead(msgspec.Struct, frozen=True):
    """Event: a host was read."""

    host: str
    reading: Reading


class HostFailed(msgspec.Struct, frozen=True):
    """Event: an attempt to read a host failed. `next_retry_at` is None when nobody will try again."""

    host: str
    error: HostError
    at: float
    next_retry_at: float | None = None


class HostSlow(msgspec.Struct, frozen=True):
    """Event: an open stream has been silent for longer than it should, but not long enough to have failed."""

    host: str
    at: float


Event = HostRead | HostFailed | HostSlow


class Fleet(msgspec.Struct, frozen=True):
    """The state of all hosts, in the order in which they were selected. `version` grows with each change."""

    version: int
    hosts: MappingProxyType[str, HostState]


def empty(names: Iterable[str]) -> Fleet:
    """A fleet of which nothing is known yet."""
    return Fleet(0, MappingProxyType({name: HostState(name) for name in names}))


def apply(fleet: Fleet, *events: Event) -> Fleet:
    """The fleet after these events, in their order. An event of a host that is not in it changes nothing.

    It copies the table of hosts once, so many events at a time are cheaper than one by one.
    """
    hosts = fleet.hosts.copy()  # dict(...) of such a view takes ten times as long
    for event in events:
        if (before := hosts.get(event.host)) is not None:
            hosts[event.host] = _after(before, event)
    return Fleet(fleet.version + len(events), MappingProxyType(hosts))


def choose(fleet: Fleet, names: Iterable[str], kept: Container[str]) -> Fleet:
    """The fleet of these hosts, in this order: those in `kept` as they are, all others not read yet."""
    hosts = {name: fleet.hosts[name] if name in kept else HostState(name) for name in names}
    return Fleet(fleet.version + 1, MappingProxyType(hosts))


def _after(before: HostState, event: Event) -> HostState:
    match event:
        case HostRead():
            return _read(before, event)
        case HostFailed():
            return _failed(before, event)
        case HostSlow():
            is_up = before.link is Link.UP
            return msgspec.structs.replace(before, link=Link.SLOW, since_at=event.at) if is_up else before


def _read(before: HostState, event: HostRead) -> HostState:
    since_at = before.since_at if before.link is Link.UP else event.reading.arrived_at
    return HostState(before.name, Link.UP, event.reading, None, since_at)


def _failed(before: HostState, event: HostFailed) -> HostState:
    link = Link.STALE if before.reading else Link.DOWN
    return HostState(
        name=before.name,
        link=link,
        reading=before.reading,
        error=event.error,
        since_at=before.since_at if before.link is link else event.at,
        attempts=before.attempts + 1,
        next_retry_at=event.next_retry_at,
    )
