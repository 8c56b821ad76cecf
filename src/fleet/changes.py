"""What changed between two states of the fleet. Pure.

A session changed when more than its numbers did: CPU, memory and sizes move at every reading, and whoever wants
them reads them at that time.
"""

from collections.abc import Iterable, Mapping
from itertools import compress
from operator import attrgetter, is_not

import msgspec
from msgspec.structs import replace

from fleet.model import Fleet, HostState, Link
from fleet_agent.wire import Hello, Session, Snapshot

VOLATILE = ("cpu_percent", "rss_bytes", "transcript_bytes", "grown_bytes", "children", "child_count")
_telling = attrgetter("since_at", "last_activity_at")  # of nearly every change
_lasting = attrgetter(*(name for name in Session.__struct_fields__ if name not in VOLATILE))

Key = tuple[str, str]  # tool and id
Names = frozenset[str]


class HostChanged(msgspec.Struct, frozen=True):
    """A host's link or error is another. `state` None: it is followed no more."""

    host: str
    state: HostState | None


class SessionChanged(msgspec.Struct, frozen=True):
    """A session is new, or something about it is. `host` is the state it was read with, less all sessions."""

    host: HostState
    session: Session
    is_new: bool


class SessionGone(msgspec.Struct, frozen=True):
    """A session is listed no more: it ended more than ten minutes ago, or its host is followed no more."""

    host: str
    session: Session


Change = HostChanged | SessionChanged | SessionGone


def changes(
    before: Fleet, after: Fleet, names: Iterable[str], were: Names = frozenset(), are: Names = frozenset()
) -> list[Change]:
    """What is different for these hosts: first the hosts, then the sessions.

    `were` and `are`: the second names of machines, before and after (see `second_names`). A session is told of
    under the first name only.
    """
    pairs = [
        (name, before.hosts.get(name), after.hosts.get(name))
        for name in dict.fromkeys((*names, *sorted(were ^ are)))
    ]
    hosts = [HostChanged(name, new) for name, old, new in pairs if _is_other_host(old, new)]
    sessions = (
        change
        for name, old, new in pairs
        for change in _of_sessions(name, None if name in were else old, None if name in are else new)
    )
    return [*hosts, *sessions]


def second_names(fleet: Fleet) -> Names:
    """Hosts that are a machine which another host is already: the first name that is not stale counts."""
    read = [host for host in fleet.hosts.values() if host.reading]
    first: dict[object, str] = {}
    for host in sorted(read, key=lambda host: host.link is Link.STALE):
        if host.reading and (machine := host.reading.machine):
            first.setdefault(machine, host.name)
    return frozenset(
        host.name
        for host in read
        if host.reading and (machine := host.reading.machine) and first[machine] != host.name
    )


def may_rename(before: Fleet, after: Fleet, names: Iterable[str]) -> bool:
    """Whether `second_names` may be others: a host is another machine, or stale, or is so no longer."""
    return any(_may_rename(before.hosts.get(name), after.hosts.get(name)) for name in names)


def _may_rename(old: HostState | None, new: HostState | None) -> bool:
    if old and new and old.link is new.link and _hello(old) is _hello(new):
        return False  # the usual case: one more reading of a stream
    return _identity(old) != _identity(new)


def _hello(state: HostState) -> Hello | None:
    return state.reading.hello if state.reading else None


def _identity(state: HostState | None) -> object:
    return state and (state.link is Link.STALE, state.reading and state.reading.machine)


def _is_other_host(old: HostState | None, new: HostState | None) -> bool:
    if old is None or new is None:
        return old is not new
    return (old.link, old.error) != (new.link, new.error)  # one more failed attempt is nothing new


def _of_sessions(name: str, old: HostState | None, new: HostState | None) -> Iterable[Change]:
    was, now = _sessions(old), _sessions(new)
    if was is now:
        return
    earlier, later = map(_by_key, _apart(was, now))
    others = [(s, key in earlier) for key, s in later.items() if _is_other(earlier.get(key), s)]
    if new is not None and others:
        host = _without_sessions(new)
        for session, is_known in others:
            yield SessionChanged(host, session, not is_known)
    for key in earlier.keys() - later.keys():
        yield SessionGone(name, earlier[key])


def _apart(was: tuple[Session, ...], now: tuple[Session, ...]) -> tuple[Iterable[Session], Iterable[Session]]:
    """Both without what is the very same object in both: `fleet.stream` keeps what comes again as it was."""
    if len(was) == len(now):  # usually each is where it was
        others = list(compress(zip(was, now, strict=True), map(is_not, was, now)))
        return [old for old, _ in others], [new for _, new in others]
    ids_before, ids_now = set(map(id, was)), set(map(id, now))
    return [s for s in was if id(s) not in ids_now], [s for s in now if id(s) not in ids_before]


def _without_sessions(state: HostState) -> HostState:
    """A change may be kept for a while, and must not keep everything else that the host said with it."""
    assert state.reading is not None
    bare = Snapshot(state.reading.snapshot.seq, state.reading.snapshot.now)
    return replace(state, reading=replace(state.reading, snapshot=bare))


def _sessions(state: HostState | None) -> tuple[Session, ...]:
    return state.reading.snapshot.sessions if state and state.reading else ()


def _by_key(sessions: Iterable[Session]) -> Mapping[Key, Session]:
    return {(session.tool, session.id): session for session in sessions}


def _is_other(known: Session | None, session: Session) -> bool:
    if known is None or known == session:
        return known is None
    return bool(_telling(known) != _telling(session) or _lasting(known) != _lasting(session))
