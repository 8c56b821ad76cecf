"""The fleet state as one document, which holds everything fleet knows. Pure. Its keys are in `entries`."""

from collections.abc import Callable, Iterable
from typing import Any

import msgspec
from msgspec.structs import astuple

from fleet.model import Fleet, HostState
from fleet.views.entries import (
    SCHEMA,
    ChildEntry,
    CostEntry,
    Document,
    HostEntry,
    HostErrorEntry,
    OrphanPortEntry,
    PaneEntry,
    PlanEntry,
    RateLimitEntry,
    Rollup,
    SessionEntry,
    TokenCounts,
    ToolCallEntry,
    VitalsEntry,
)
from fleet.views.rollup import rollups
from fleet.views.rows import Row, age_s, clock_at, context_percent, remaining_s, row_of, rows
from fleet.views.units import rfc3339, seconds
from fleet.views.warnings import warnings
from fleet_agent.wire import (
    PANE_KINDS,
    Child,
    CurrentTool,
    OrphanPort,
    RateLimit,
    Session,
    Snapshot,
    Vitals,
    known,
)


def document(fleet: Fleet, now_at: float, now_mono_s: float) -> Document:
    """Everything in `fleet`; `now_at` is the wall clock (epoch seconds), `now_mono_s` the monotonic one."""
    listed = rows(fleet, now_mono_s)
    rolled = rollups(listed)
    return Document(
        schema=SCHEMA,
        generated_at=rfc3339(now_at) or "",
        hosts=tuple(host_entry(host, now_mono_s) for host in fleet.hosts.values()),
        sessions=tuple([_session(row, rolled.get(i)) for i, row in enumerate(listed)]),
        host_errors=tuple(e for host in fleet.hosts.values() if (e := host_error_entry(host))),
        warnings=warnings(fleet),
    )


def encode(document: Document, *, indent: bool = True) -> bytes:
    """The document as JSON, ending in a newline; on one line without `indent`."""
    raw = msgspec.json.encode(document)
    return (msgspec.json.format(raw, indent=2) if indent else raw) + b"\n"


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of the document."""
    schema = msgspec.json.schema(Document)
    for entry in schema["$defs"].values():
        # Python 3.13 takes the indent off a docstring; older ones leave it there.
        entry["description"] = "\n".join(line.strip() for line in entry["description"].splitlines())
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def host_entry(host: HostState, now_mono_s: float) -> HostEntry:
    """One host."""
    reading = host.reading
    hello = reading.hello if reading else None
    snapshot = reading.snapshot if reading else None
    clock = clock_at(reading, now_mono_s) if reading else None
    return HostEntry(
        name=host.name,
        link=host.link,
        since_at=rfc3339(host.since_at),
        last_seen_at=rfc3339(host.last_seen_at),
        age_s=seconds(max(0.0, now_mono_s - reading.arrived_mono_s)) if reading else None,
        elapsed_s=seconds(reading.elapsed_s) if reading else None,
        session_count=len(snapshot.sessions) if snapshot else None,
        complete=snapshot.complete if snapshot else None,
        error_kind=host.error.kind if host.error else None,
        attempts=host.attempts,
        next_retry_at=rfc3339(host.next_retry_at),
        hostname=(hello and hello.hostname) or None,
        user=(hello and hello.user) or None,
        os=(hello and hello.os) or None,
        agent_version=(hello and hello.agent_version) or None,
        host_id=(hello and hello.host_id) or None,
        boot_id=(hello and hello.boot_id) or None,
        skew_s=seconds(reading.skew_s) if reading else None,
        rate_limits=tuple(_rate_limit(limit, clock) for limit in snapshot.rate_limits) if snapshot else (),
        orphan_ports=tuple(map(_orphan_port, snapshot.orphan_ports)) if snapshot else (),
        vitals=_vitals(snapshot.vitals) if snapshot else None,
        cost=_cost(snapshot) if snapshot else None,
    )


def _rate_limit(limit: RateLimit, clock_at: float | None) -> RateLimitEntry:
    return RateLimitEntry(
        tool=limit.tool,
        account=limit.account,
        limit_id=limit.limit_id,
        window_minutes=limit.window_minutes,
        used_percent=limit.used_percent,
        reached=limit.reached,
        observed_at=rfc3339(limit.observed_at),
        age_s=seconds(age_s(limit.observed_at, clock_at)),
        resets_at=rfc3339(limit.resets_at),
        resets_in_s=seconds(remaining_s(limit.resets_at, clock_at)),
    )


def _orphan_port(orphan: OrphanPort) -> OrphanPortEntry:
    started_at = rfc3339(orphan.started_at)
    return OrphanPortEntry(orphan.port, orphan.pid, orphan.name or None, orphan.session_id, started_at)


def _vitals(vitals: Vitals | None) -> VitalsEntry | None:
    return VitalsEntry(*astuple(vitals)) if vitals else None


def _cost(snapshot: Snapshot) -> CostEntry | None:
    cost = snapshot.cost
    if cost is None:
        return None if snapshot.scan_ms is None else CostEntry(None, snapshot.scan_ms, None, None)
    return CostEntry(cost.cpu_ms, snapshot.scan_ms, cost.read_bytes, cost.rss_bytes)


def session_entry(host: HostState, session: Session, now_mono_s: float) -> SessionEntry:
    """One session of a host by itself, as if it stood alone."""
    return _session(row_of(host, session, now_mono_s), None)


def _session(row: Row, rollup: Rollup | None) -> SessionEntry:
    """The entry of a row: what fleet adds, then the fields of the wire.

    By position, as there may be ten thousand: with names it would cost ten times as much.
    """
    session = row.session
    percent = context_percent(session)
    values = [
        row.host,
        row.key,
        row.stale,
        row.depth,
        seconds(row.age_s),
        seconds(row.activity_age_s),
        None if percent is None else round(percent * 10) / 10,
        rollup,
        *astuple(session),
    ]
    for i, written in _WRITTEN:
        if (value := values[i]) is not None:
            values[i] = written(value)
    if session.tool_call:
        values[_TOOL_CALL] = _tool_call(session.tool_call, row.clock_at)
    if session.children:
        values[_CHILDREN] = _children(session.children)
    return SessionEntry(*values)


def _tool_call(call: CurrentTool, clock_at: float | None) -> ToolCallEntry:
    return ToolCallEntry(call.name, rfc3339(call.since_at), seconds(age_s(call.since_at, clock_at)))


def _children(children: Iterable[Child]) -> tuple[ChildEntry, ...]:
    return tuple(
        ChildEntry(c.pid, c.name or None, c.ports, rfc3339(c.started_at), c.rss_bytes, c.call_id)
        for c in children
    )


_place = SessionEntry.__struct_fields__.index
_TOOL_CALL, _CHILDREN = _place("tool_call"), _place("children")
# What is written in other ways than on the wire. Structs of the wire leave out their defaults, ours do not.
_WRITTEN: tuple[tuple[int, Callable[[Any], Any]], ...] = (
    *((_place(name), rfc3339) for name in ("since_at", "started_at", "last_activity_at", "ended_at")),
    (_place("tokens"), lambda tokens: TokenCounts(*astuple(tokens))),
    (_place("plan"), lambda plan: PlanEntry(*astuple(plan))),
    (_place("pane"), lambda pane: PaneEntry(known(pane.kind, PANE_KINDS), pane.id, pane.socket)),
)


def host_error_entry(host: HostState) -> HostErrorEntry | None:
    """Why a host cannot be read, None if it can."""
    if host.error is None:
        return None
    return HostErrorEntry(
        host=host.name,
        kind=host.error.kind,
        phase=host.error.phase,
        message=host.error.message,
        hint=host.error.hint,
        since_at=rfc3339(host.since_at),
        attempts=host.attempts,
        next_retry_at=rfc3339(host.next_retry_at),
        last_seen_at=rfc3339(host.last_seen_at),
    )
