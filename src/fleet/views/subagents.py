"""Which sessions a table lists one by one, and which subagents it only counts. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

from fleet.views.entries import SessionEntry
from fleet.views.rows import Urgency, urgency

MAX_BUSY = 5  # subagents of one root that are listed although nobody needs to act
_BUSY = (Urgency.FAILED, Urgency.WORKING, Urgency.UNKNOWN)

Item = SessionEntry | tuple[SessionEntry, ...]


def urgency_of(session: SessionEntry) -> Urgency:
    """How much the session itself needs a person."""
    return urgency(session.state, session.detail)


def urgency_below(session: SessionEntry) -> Urgency | None:
    """As `urgency_of`, of its most urgent subagent: where that is in a turn, and needs a person more."""
    if session.rollup is None:
        return None
    below = urgency(session.rollup.urgent_state, session.rollup.urgent_detail)
    in_turn = below in (Urgency.WAITING, Urgency.STUCK, Urgency.WORKING)
    return below if in_turn and below < urgency_of(session) else None


def folded(sessions: Sequence[SessionEntry]) -> Iterator[Item]:
    """The sessions in their order, each root followed by its subagents that a person wants to see.

    Those are all that wait or are stuck, the first `MAX_BUSY` of those that work, failed or are not known, and
    what is between them and the root. The others of a root come last, as one tuple, to be counted; a single one
    is listed.
    """
    roots = [i for i, session in enumerate(sessions) if not session.depth]
    for start, end in pairwise([*roots, len(sessions)]):
        yield from _group(sessions[start:end])


def _group(group: Sequence[SessionEntry]) -> Iterable[Item]:
    listed = _listed(group)
    if len(group) - len(listed) < 2:
        return group
    others = tuple(session for i, session in enumerate(group) if i not in listed)
    return [*(session for i, session in enumerate(group) if i in listed), others]


def _listed(group: Sequence[SessionEntry]) -> set[int]:
    """The places in `group` of those to list. A parent stands before its subagents, one level higher."""
    urgent = [i for i, session in enumerate(group) if urgency_of(session) <= Urgency.STUCK]
    busy = [i for i, session in enumerate(group) if session.depth and urgency_of(session) in _BUSY]
    wanted = {0, *urgent, *busy[:MAX_BUSY]}
    depth = 0  # of the parent that is still to be found
    for i in range(len(group) - 1, 0, -1):
        if i in wanted or group[i].depth == depth:
            wanted.add(i)
            depth = group[i].depth - 1
    return wanted
