"""A reading -> the lines of one snapshot, within the wire's bounds, without secrets, in valid UTF-8. Pure."""

import re
from functools import lru_cache
from typing import TypeVar, cast

import msgspec

from fleet_agent.redact import clip, redact
from fleet_agent.scan import Reading
from fleet_agent.wire import (
    MAX_CHILDREN,
    MAX_LIMITS,
    MAX_LINE_BYTES,
    MAX_PORTS,
    MAX_SESSIONS,
    MAX_SNAPSHOT_BYTES,
    MAX_TEXT_CHARS,
    Heartbeat,
    Hello,
    Problem,
    Session,
    Snapshot,
)

MAX_PROBLEMS = 100
MAX_PROBLEM_CHARS = 1000
MAX_PIDS = 1000
MAX_SESSION_BYTES = MAX_LINE_BYTES // 2  # only paths and names made for it come near
_FRAME_BYTES = 512  # what a snapshot line has around its sessions and problems

# Paths that are no valid UTF-8 come as lone surrogates (PEP 383); JSON cannot carry those.
_SURROGATE = re.compile("[\ud800-\udfff]")
# Words of ours and checked ids; everything else may hold what somebody typed.
_OURS = {
    *("tool", "id", "root_id", "parent_id", "forked_from_id", "state", "detail", "evidence", "confidence"),
    *("title_source", "kind"),
}
_OF_HOST = ("rate_limits", "orphan_ports", "vitals", "cost")
_BOUNDS = {  # of every list that is sent
    "pids": MAX_PIDS,
    "children": MAX_CHILDREN,
    "ports": MAX_PORTS,
    "orphan_ports": MAX_PORTS,
    "rate_limits": MAX_LIMITS,
}
_DROP_LAST = ("waiting", "working", "unknown", "idle", "ended")  # what is dropped first stands last

T = TypeVar("T", bound=msgspec.Struct)


def line(frame: Hello | Heartbeat | Snapshot) -> bytes:
    """One frame as a line."""
    return msgspec.json.encode(frame) + b"\n"


def snapshot_lines(reading: Reading, seq: int) -> list[bytes]:
    """The reading as snapshot lines: one, or several with `more` when it passes `MAX_LINE_BYTES`.

    Past `MAX_SESSIONS` or `MAX_SNAPSHOT_BYTES` the sessions that ended or were idle longest are left out, and a
    problem says how many.
    """
    problems = [_short(_safe(problem)) for problem in reading.problems[:MAX_PROBLEMS]]
    if len(reading.problems) > MAX_PROBLEMS:
        problems.append(
            Problem("limit", f"{len(reading.problems) - MAX_PROBLEMS} more problems are not listed")
        )
    host = _host(reading)
    host_bytes = _size(host)
    room_bytes = MAX_SNAPSHOT_BYTES - 2 * _FRAME_BYTES - host_bytes - sum(map(_size, problems))
    telling = _by_weight(reading.sessions)[:MAX_SESSIONS]
    sessions = _fitting([_encoded(session) for session in telling], room_bytes)
    left_out = len(reading.sessions) - len(sessions)
    if left_out:
        problems.append(Problem("limit", f"{left_out} of {len(reading.sessions)} sessions are not listed"))
    parts = _parts(sessions, problems, host_bytes)
    *first, last = [
        Snapshot(
            seq=seq,
            now=reading.now,
            sessions=cast(tuple[Session, ...], tuple(part_sessions)),  # msgspec takes what is encoded as it is
            problems=tuple(part_problems),
            complete=reading.complete,
            scan_ms=reading.scan_ms,
            more=number < len(parts),
        )
        for number, (part_sessions, part_problems) in enumerate(parts, 1)
    ]
    whole = {name: getattr(host, name) for name in _OF_HOST}  # readers take the last line's
    return [*map(line, first), line(msgspec.structs.replace(last, **whole))]


def _host(reading: Reading) -> Snapshot:
    """What a reading says of the host itself, safe and bounded, in a snapshot of nothing else."""
    host = Snapshot(0, 0.0, **{name: getattr(reading, name) for name in _OF_HOST})
    return _safe(host)


def _by_weight(sessions: tuple[Session, ...]) -> list[Session]:
    """The most telling first when not all of them can go; else as they came."""
    if len(sessions) <= MAX_SESSIONS:
        return list(sessions)
    newest = sorted(sessions, key=lambda s: s.last_activity_at or 0.0, reverse=True)
    return sorted(newest, key=lambda s: _DROP_LAST.index(s.state) if s.state in _DROP_LAST else 2)


def _fitting(sessions: list[msgspec.Raw], room_bytes: int) -> list[msgspec.Raw]:
    kept = []
    for session in sessions:
        if len(session) > MAX_SESSION_BYTES:
            continue
        room_bytes -= len(session) + 1 + _FRAME_BYTES // 8
        if room_bytes < 0:
            break
        kept.append(session)
    return kept


def _parts(
    sessions: list[msgspec.Raw], problems: list[Problem], taken_bytes: int
) -> list[tuple[list[msgspec.Raw], list[Problem]]]:
    """Sessions and problems, packed into as many lines as they need; so much of each is kept for the rest."""
    parts: list[tuple[list[msgspec.Raw], list[Problem]]] = [([], [])]
    used_bytes = _FRAME_BYTES + taken_bytes
    items: list[msgspec.Raw | Problem] = [*sessions, *problems]
    for item in items:
        size_bytes = _size(item) if isinstance(item, Problem) else len(item) + 1
        if used_bytes + size_bytes > MAX_LINE_BYTES:
            parts.append(([], []))
            used_bytes = _FRAME_BYTES + taken_bytes
        used_bytes += size_bytes
        if isinstance(item, Problem):
            parts[-1][1].append(item)
        else:
            parts[-1][0].append(item)
    return parts


def _short(problem: Problem) -> Problem:
    path = problem.path and clip(problem.path, MAX_PROBLEM_CHARS)
    return Problem(problem.kind, clip(problem.message, MAX_PROBLEM_CHARS), path)


def _size(item: msgspec.Struct) -> int:
    return len(msgspec.json.encode(item)) + 1  # and a comma


def _safe(item: T) -> T:
    """The same, with every text that is not ours made safe to send."""
    changes: dict[str, object] = {}
    for name in item.__struct_fields__:
        value = getattr(item, name)
        if isinstance(value, str):
            safe = clip(value, MAX_TEXT_CHARS) if name in _OURS else _safe_text(value)
            if safe is not value:
                changes[name] = safe
        elif isinstance(value, msgspec.Struct):
            inner = _safe(value)
            if inner is not value:
                changes[name] = inner
        elif isinstance(value, tuple) and value:
            changes[name] = tuple(
                _safe(each) if isinstance(each, msgspec.Struct) else each for each in value[: _BOUNDS[name]]
            )
    return msgspec.structs.replace(item, **changes) if changes else item


@lru_cache(maxsize=MAX_SESSIONS)
def _encoded(session: Session) -> msgspec.Raw:
    """The session, safe to send; the same as when it was last sent, for most."""
    return msgspec.Raw(msgspec.json.encode(_safe(session)))


@lru_cache(maxsize=1024)
def _safe_text(text: str) -> str:
    # Redact first: a secret that is cut in the middle would no longer look like one.
    return clip(redact(_SURROGATE.sub("\N{REPLACEMENT CHARACTER}", text[: 4 * MAX_TEXT_CHARS])), MAX_TEXT_CHARS)
