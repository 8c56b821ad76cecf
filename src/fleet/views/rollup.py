"""What the subagents of a root session add up to. Pure."""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise

from fleet.views.entries import Rollup, TokenCounts
from fleet.views.rows import Row
from fleet_agent.wire import USAGE_CONFIDENCES, Tokens


def rollups(listed: Sequence[Row]) -> dict[int, Rollup]:
    """Of each root in `rows(...)` that has subagents: its place there -> what is below it."""
    roots = [i for i, row in enumerate(listed) if not row.depth]
    return {
        start: _rollup(listed[start:end]) for start, end in pairwise([*roots, len(listed)]) if end - start > 1
    }


def _rollup(group: Sequence[Row]) -> Rollup:
    _, *below = group
    states = Counter(row.session.state for row in below)
    urgent = min(below, key=lambda row: row.urgency).session  # of equal ones the first: rows stand by rank
    tokens = _sum(row.session.tokens for row in group)
    return Rollup(
        subagents=len(below),
        waiting=states["waiting"],
        working=states["working"],
        idle=states["idle"],
        ended=states["ended"],
        unknown=states["unknown"],
        urgent_id=urgent.id,
        urgent_state=urgent.state,
        urgent_detail=urgent.detail,
        tokens=tokens,
        usage_confidence=max(map(_usage_confidence, group), key=USAGE_CONFIDENCES.index) if tokens else None,
    )


def _sum(counts: Iterable[Tokens | None]) -> TokenCounts | None:
    known = [tokens for tokens in counts if tokens]
    if not known:
        return None
    return TokenCounts(
        *(sum(getattr(tokens, name) for tokens in known) for name in TokenCounts.__struct_fields__)
    )


def _usage_confidence(row: Row) -> str:
    return (row.session.usage_confidence if row.session.tokens else None) or "unknown"
