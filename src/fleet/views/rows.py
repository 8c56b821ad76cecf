"""Fleet -> one row a session, in the order in which a person wants them. Pure; shared by every view.

Sessions stand in groups: a root session, then its subagents below it, at any depth. Groups that need a person
come first. Nothing is dropped: a subagent whose root is not there stands on its own, a cycle of parents is cut.
"""

import enum
import math
from collections.abc import Sequence
from operator import itemgetter

import msgspec
from msgspec.structs import replace

from fleet.model import Fleet, HostState, Link, Reading
from fleet_agent.wire import CONFIDENCES, DETAILS, EVIDENCE, STATES, Session, known

END_OF_TIME_AT = 253_402_300_800.0  # the year 10000: RFC 3339 has four digits; a clock past it is no clock


class Urgency(enum.IntEnum):
    """What groups are ordered by first."""

    WAITING = 0  # a person must act, in mid-turn; longest first
    FAILED = 1  # its turn or its process failed; newest first
    WORKING = 2  # longest first
    IDLE = 3  # newest first
    UNKNOWN = 4
    ENDED = 5


_LONGEST_FIRST = (Urgency.WAITING, Urgency.WORKING)
_URGENCY = {
    "waiting": Urgency.WAITING,
    "working": Urgency.WORKING,
    "idle": Urgency.IDLE,
    "ended": Urgency.ENDED,
}


class Row(msgspec.Struct, frozen=True):
    """One session of one host.

    `session` is as the host sent it, but for words that this version does not know: they are "unknown". `root`
    is the key of its group's root session and `depth` how far below that this one is. `stale`: the host cannot
    be read now, this is its last good reading. Ages are seconds by the host's own clock up to the reading, by
    our monotonic clock from there on; never negative, None when not known. `age_s` is the time in its state.
    """

    host: str
    session: Session
    root: str
    depth: int
    stale: bool
    urgency: Urgency
    age_s: float | None
    activity_age_s: float | None

    @property
    def key(self) -> str:
        """`host:id`, unique but for hosts that say one id twice."""
        return f"{self.host}:{self.session.id}"


_Rank = tuple[int, bool, float, int, int]


def rows(fleet: Fleet, now_mono_s: float) -> tuple[Row, ...]:
    """All sessions, groups in order of their most urgent member. The order is total and repeatable.

    A session of a machine that was read under two names is one row, under the first name that is up.
    """
    listed = _listed(fleet)
    groups: list[tuple[_Rank, list[Row]]] = []
    for place, host in enumerate(fleet.hosts.values()):
        if host.reading:
            flat = [_row(host, host.reading, s, now_mono_s) for s in listed[host.name]]
            groups += _groups(flat, [_rank(row, place, i) for i, row in enumerate(flat)])
    return tuple(row for _, group in sorted(groups, key=itemgetter(0)) for row in group)


def machine(reading: Reading) -> tuple[str, str] | None:
    """What tells that two names are one machine: its id and its boot. None when the agent could not tell."""
    hello = reading.hello
    return (hello.host_id, hello.boot_id) if hello.host_id and hello.boot_id else None


def age_s(at: float | None, reading: Reading, now_mono_s: float) -> float | None:
    """Seconds since `at`, a time of the host's clock. The two clocks are never compared."""
    if at is None or not _is_time(at) or not _is_time(reading.snapshot.now):
        return None
    return max(0.0, reading.snapshot.now - at + now_mono_s - reading.arrived_mono_s)


def context_percent(session: Session) -> float | None:
    """How full the context window is, 0 to 100 and, for a tool that overran it, beyond."""
    used, window = session.context_used_tokens, session.context_window_tokens
    return 100 * used / window if used is not None and window and window > 0 else None


def _is_time(at: float) -> bool:
    return 0 < at < END_OF_TIME_AT


def _listed(fleet: Fleet) -> dict[str, list[Session]]:
    """Host -> the sessions to list under it."""
    owners: dict[tuple[object, str, str], str] = {}
    listed: dict[str, list[Session]] = {}
    for host in sorted(fleet.hosts.values(), key=_is_stale):
        if host.reading:
            where = machine(host.reading) or host.name
            listed[host.name] = [
                s
                for s in host.reading.snapshot.sessions
                if owners.setdefault((where, s.tool, s.id), host.name) == host.name
            ]
    return listed


def _is_stale(host: HostState) -> bool:
    return host.link is Link.STALE


def _row(host: HostState, reading: Reading, session: Session, now_mono_s: float) -> Row:
    """The row of a session as if it stood alone."""
    session = _folded(session)
    return Row(
        host=host.name,
        session=session,
        root=f"{host.name}:{session.id}",
        depth=0,
        stale=_is_stale(host),
        urgency=_urgency(session),
        age_s=age_s(session.since_at, reading, now_mono_s),
        activity_age_s=age_s(session.last_activity_at, reading, now_mono_s),
    )


def _folded(session: Session) -> Session:
    """`session` with the words of a newer agent as "unknown"."""
    state = known(session.state, STATES)
    detail = known(session.detail, DETAILS[state]) if session.detail and DETAILS[state] else None
    evidence = known(session.evidence, EVIDENCE) if session.evidence else None
    confidence = known(session.confidence, CONFIDENCES)
    before = (session.state, session.detail, session.evidence, session.confidence)
    if (state, detail, evidence, confidence) == before:
        return session
    return replace(session, state=state, detail=detail, evidence=evidence, confidence=confidence)


def _urgency(session: Session) -> Urgency:
    if session.detail in ("failed", "crashed"):
        return Urgency.FAILED
    return _URGENCY.get(session.state, Urgency.UNKNOWN)


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
    index: dict[str | None, int] = {}
    for i, session in enumerate(sessions):
        index.setdefault(session.id, i)
    above = [
        next((index[x] for x in (s.parent_id, s.root_id) if x in index and index[x] != i), None)
        for i, s in enumerate(sessions)
    ]
    settled: set[int] = set()
    for start in range(len(sessions)):
        path: dict[int, None] = {}
        node: int | None = start
        while node is not None and node not in settled and node not in path:
            path[node] = None
            node = above[node]
        if node is not None and node in path:
            above[node] = None
        settled.update(path)
    return above


def _groups(flat: Sequence[Row], ranks: Sequence[_Rank]) -> list[tuple[_Rank, list[Row]]]:
    """One group for each root of a host: parents before children, siblings by rank; with its best rank."""
    children: dict[int | None, list[int]] = {}
    above = parents([row.session for row in flat])
    for i in sorted(range(len(flat)), key=ranks.__getitem__):
        children.setdefault(above[i], []).append(i)
    groups = []
    for root in children.get(None, []):
        group, best, stack = [], ranks[root], [(root, 0)]
        while stack:
            i, depth = stack.pop()
            group.append(replace(flat[i], root=flat[root].root, depth=depth) if depth else flat[i])
            best = min(best, ranks[i])
            stack.extend((child, depth + 1) for child in reversed(children.get(i, [])))
        groups.append((best, group))
    return groups
