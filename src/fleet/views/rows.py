"""Fleet -> one row a session, in the order in which a person wants them. Pure; shared by every view.

Sessions stand in groups: a root session, then its subagents below it, at any depth. Groups that need a person
come first. Nothing is dropped: a subagent whose root is not there stands on its own, a cycle of parents is cut.

A fleet may have ten thousand sessions, and each view makes all rows anew: what runs once a session is short.
"""

import enum
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from operator import itemgetter

import msgspec
from msgspec.structs import replace

from fleet.model import Fleet, HostState, Link, Reading
from fleet_agent.wire import CONFIDENCES, DETAILS, EVIDENCE, STATES, USAGE_CONFIDENCES, Session, known

END_OF_TIME_AT = 253_402_300_800.0  # the year 10000: RFC 3339 has four digits; a clock past it is no clock


class Urgency(enum.IntEnum):
    """What groups are ordered by first."""

    WAITING = 0  # a person must act, in mid-turn; longest first
    STUCK = 1  # in a turn in which nothing moves: a person should look; longest first
    FAILED = 2  # its turn or its process failed; newest first
    WORKING = 3  # longest first
    IDLE = 4  # newest first
    UNKNOWN = 5
    ENDED = 6


_LONGEST_FIRST = frozenset((Urgency.WAITING, Urgency.STUCK, Urgency.WORKING))
_OF_DETAIL = {"stuck": Urgency.STUCK, "failed": Urgency.FAILED, "crashed": Urgency.FAILED}
_OF_STATE = {
    "waiting": Urgency.WAITING,
    "working": Urgency.WORKING,
    "idle": Urgency.IDLE,
    "ended": Urgency.ENDED,
}

_KNOWN_STATES = frozenset((state, detail) for state in STATES for detail in (None, *DETAILS[state]))
_KNOWN_EVIDENCE = frozenset((None, *EVIDENCE))
_KNOWN_CONFIDENCES = frozenset(CONFIDENCES)
_KNOWN_USAGE_CONFIDENCES = frozenset((None, *USAGE_CONFIDENCES))


class Row(msgspec.Struct, frozen=True, gc=False):
    """One session of one host.

    `key` is `host:id`, unique but for hosts that say one id twice. `session` is as the host sent it, but for
    words that this version does not know: they are "unknown". `root` is the key of its group's root session and
    `depth` how far below that this one is. `stale`: the host cannot be read now, this is its last good reading.
    `clock_at` is what the host's own clock shows now, None where it has none. Ages are seconds by that clock,
    never negative, None when not known. `age_s` is the time in its state.
    """

    host: str
    key: str
    session: Session
    root: str
    depth: int
    stale: bool
    urgency: Urgency
    clock_at: float | None
    age_s: float | None
    activity_age_s: float | None


_Rank = tuple[int, bool, float, int, int]
_Group = tuple[_Rank, list[Row]]


def rows(fleet: Fleet, now_mono_s: float) -> tuple[Row, ...]:
    """All sessions, groups in order of their most urgent member. The order is total and repeatable.

    A session of a machine that was read under two names is one row, under the first name that is up.
    """
    listed = _listed(fleet)
    groups: list[_Group] = []
    for place, host in enumerate(fleet.hosts.values()):
        if host.reading:
            flat = _rows_of(host, listed[host.name], clock_at(host.reading, now_mono_s))
            groups += _groups(flat, [_rank(row, place, i) for i, row in enumerate(flat)])
    groups.sort(key=itemgetter(0))
    return tuple(chain.from_iterable(map(itemgetter(1), groups)))


def clock_at(reading: Reading, now_mono_s: float) -> float | None:
    """What the host's clock shows now: its own time of the reading, and ours since then. None if it is absurd.

    The two clocks are never compared: one that is off by a day has passed as many seconds as ours.
    """
    now_at = reading.snapshot.now
    return now_at + now_mono_s - reading.arrived_mono_s if 0 < now_at < END_OF_TIME_AT else None


def age_s(at: float | None, clock_at: float | None) -> float | None:
    """Seconds since `at`, both by the host's clock; never negative."""
    if at is None or clock_at is None or not 0 < at < END_OF_TIME_AT:
        return None
    return clock_at - at if clock_at > at else 0.0


def remaining_s(at: float | None, clock_at: float | None) -> float | None:
    """Seconds until `at`, both by the host's clock; 0 once it has passed."""
    if at is None or clock_at is None or not 0 < at < END_OF_TIME_AT:
        return None
    return at - clock_at if at > clock_at else 0.0


def context_percent(session: Session) -> float | None:
    """How full the context window is, 0 to 100 and, for a tool that overran it, beyond."""
    used, window = session.context_used_tokens, session.context_window_tokens
    return 100 * used / window if used is not None and window and window > 0 else None


def row_of(host: HostState, session: Session, now_mono_s: float) -> Row:
    """The row of one session of a host that was read, as if it stood alone."""
    assert host.reading is not None
    return _rows_of(host, (session,), clock_at(host.reading, now_mono_s))[0]


def _listed(fleet: Fleet) -> dict[str, Sequence[Session]]:
    """Host -> the sessions to list under it."""
    read = [host for host in fleet.hosts.values() if host.reading]
    listed: dict[str, Sequence[Session]] = {h.name: h.reading.snapshot.sessions for h in read if h.reading}
    machines = {h.name: h.reading.machine for h in read if h.reading}
    names = Counter(machines.values())
    shared = sorted((h for h in read if machines[h.name] and names[machines[h.name]] > 1), key=_is_stale)
    owners: dict[tuple[object, str, str], str] = {}
    for name in (host.name for host in shared):
        listed[name] = [
            s for s in listed[name] if owners.setdefault((machines[name], s.tool, s.id), name) == name
        ]
    return listed


def _is_stale(host: HostState) -> bool:
    return host.link is Link.STALE


def _rows_of(host: HostState, sessions: Iterable[Session], clock_at: float | None) -> list[Row]:
    """The rows of one host, each as if its session stood alone."""
    name, stale = host.name, _is_stale(host)
    found = []
    for session in map(_folded, sessions):
        key = f"{name}:{session.id}"
        how_urgent = urgency(session.state, session.detail)
        age, activity_age = age_s(session.since_at, clock_at), age_s(session.last_activity_at, clock_at)
        # By position: with names it would cost twice as much.
        found.append(Row(name, key, session, key, 0, stale, how_urgent, clock_at, age, activity_age))
    return found


def _folded(session: Session) -> Session:
    """`session` with the words of a newer agent as "unknown"."""
    if (
        (session.state, session.detail) in _KNOWN_STATES
        and session.confidence in _KNOWN_CONFIDENCES
        and session.evidence in _KNOWN_EVIDENCE
        and session.usage_confidence in _KNOWN_USAGE_CONFIDENCES
    ):
        return session
    state = known(session.state, STATES)
    return replace(
        session,
        state=state,
        detail=known(session.detail, DETAILS[state]) if session.detail and DETAILS[state] else None,
        evidence=known(session.evidence, EVIDENCE) if session.evidence else None,
        confidence=known(session.confidence, CONFIDENCES),
        usage_confidence=known(session.usage_confidence, USAGE_CONFIDENCES)
        if session.usage_confidence
        else None,
    )


def urgency(state: str, detail: str | None) -> Urgency:
    """How much a session in this state needs a person."""
    if detail is not None and detail in _OF_DETAIL:
        return _OF_DETAIL[detail]
    return _OF_STATE.get(state, Urgency.UNKNOWN)


def _rank(row: Row, place: int, position: int) -> _Rank:
    """Sorts before what is less urgent. Nobody can act on a stale row: it comes after the fresh of its kind.

    `place` of the host in the fleet and `position` of the session on the host make the order total.
    """
    age = row.age_s if row.age_s is not None else row.activity_age_s
    order = math.inf if age is None else -age if row.urgency in _LONGEST_FIRST else age
    return (row.urgency, row.stale, order, place, position)


def parents(sessions: Sequence[Session]) -> list[int | None]:
    """For each session the index of the one it is listed under, None for a root.

    That is its parent, or its root where the parent is not there. A cycle is cut at one of its members.
    """
    above: list[int | None] = [None] * len(sessions)
    named = [i for i, s in enumerate(sessions) if s.parent_id or (s.root_id and s.root_id != s.id)]
    if not named:
        return above
    index: dict[str, int] = {}
    for i, session in enumerate(sessions):
        index.setdefault(session.id, i)
    for i in named:
        above[i] = _above(i, sessions[i], index)
    settled: set[int] = set()
    for start in named:
        _cut(start, above, settled)
    return above


def _above(i: int, session: Session, index: Mapping[str, int]) -> int | None:
    for named in (session.parent_id, session.root_id):
        if named is not None and index.get(named, i) != i:
            return index[named]
    return None


def _cut(start: int, above: list[int | None], settled: set[int]) -> None:
    """Go up from `start`; where that leads back to a session on the way, make that one a root."""
    path: dict[int, None] = {}
    node: int | None = start
    while node is not None and node not in settled and node not in path:
        path[node] = None
        node = above[node]
    if node is not None and node in path:
        above[node] = None
    settled.update(path)


def _groups(flat: Sequence[Row], ranks: Sequence[_Rank]) -> list[_Group]:
    """One group for each root of a host, with the rank of its most urgent member."""
    above = parents([row.session for row in flat])
    children: dict[int, list[int]] = {}
    below = [(ranks[i], i, up) for i, up in enumerate(above) if up is not None]
    for _, i, up in sorted(below):
        children.setdefault(up, []).append(i)
    return [
        _group(i, flat, ranks, children) if i in children else (ranks[i], [flat[i]])
        for i, up in enumerate(above)
        if up is None
    ]


def _group(
    root: int, flat: Sequence[Row], ranks: Sequence[_Rank], children: Mapping[int, Sequence[int]]
) -> _Group:
    """Parents before children, siblings by rank."""
    group, best, stack = [], ranks[root], [(root, 0)]
    while stack:
        i, depth = stack.pop()
        group.append(replace(flat[i], root=flat[root].key, depth=depth) if depth else flat[i])
        best = min(best, ranks[i])
        stack.extend((child, depth + 1) for child in reversed(children.get(i, ())))
    return best, group
