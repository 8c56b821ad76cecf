"""The JSON contract: one document that holds everything fleet knows. Pure.

Keys are always there; what is not known is null, never 0 or ""; arrays may be empty. Within one `SCHEMA` keys
and words are only added. `fleet schema` prints the JSON Schema of it.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from fleet.errors import ErrorKind, Phase
from fleet.model import Fleet, HostState, Link
from fleet.views.rows import Row, context_percent, rows
from fleet.views.units import rfc3339, seconds
from fleet.views.warnings import WarningEntry, warnings
from fleet_agent.wire import CONFIDENCES, DETAILS, EVIDENCE, STATES, Tokens

SCHEMA: Literal[1] = 1


def _words(words: tuple[str, ...]) -> Meta:
    return Meta(extra_json_schema={"enum": [*dict.fromkeys((*words, "unknown"))]})


_Time = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
_State = Annotated[str, _words(STATES)]
_Detail = Annotated[str, _words(tuple(word for words in DETAILS.values() for word in words))]
_Evidence = Annotated[str, _words(EVIDENCE)]
_Confidence = Annotated[str, _words(CONFIDENCES)]


class HostEntry(msgspec.Struct, frozen=True):
    """One host that was asked for; every one is here, whether it could be read or not.

    `link`: up, slow, stale (cannot be read now, its last good reading is shown), down, pending (not read yet);
    since `since_at`. `session_count` is null, never 0, for a host that was never read; a session of a machine
    with two names counts at each of them. `complete`: false when sessions may be missing. The last good reading
    came at `last_seen_at`, `age_s` ago, and took `elapsed_s`. `skew_s`: the host's clock less this machine's.
    `error_kind`, `attempts` (failed in a row) and `next_retry_at` are about the newest attempt; the rest is in
    `host_errors`.
    """

    name: str
    link: Link
    since_at: _Time | None
    last_seen_at: _Time | None
    age_s: float | None
    elapsed_s: float | None
    session_count: int | None
    complete: bool | None
    error_kind: ErrorKind | None
    attempts: int
    next_retry_at: _Time | None
    hostname: str | None
    user: str | None
    os: str | None
    agent_version: str | None
    host_id: str | None
    boot_id: str | None
    skew_s: float | None


class TokenCounts(msgspec.Struct, frozen=True):
    """Tokens of a session so far; `cached_input` is a part of `input`, `reasoning_output` of `output`."""

    input: int
    cached_input: int
    output: int
    reasoning_output: int
    total: int


class SessionEntry(msgspec.Struct, frozen=True):
    """One session. They are in groups, a root and then its subagents; groups that need a person come first.

    `key` is `host:id`; `depth` is 0 for a root. It is in `state`, more closely `detail`, for `age_s` seconds;
    so says `evidence`, with `confidence`, and `reason` is the sentence for it. `stale`: the host cannot be read
    now, this is its last good reading. Times ending in `_at` are the host's own clock's; ages are right even
    where that is off.
    """

    host: str
    id: str
    key: str
    tool: str
    state: _State
    detail: _Detail | None
    reason: str
    evidence: _Evidence | None
    confidence: _Confidence
    since_at: _Time | None
    age_s: float | None
    activity_age_s: float | None
    stale: bool
    depth: int
    root_id: str | None
    parent_id: str | None
    forked_from_id: str | None
    title: str | None
    title_source: str | None
    cwd: str | None
    branch: str | None
    model: str | None
    tool_version: str | None
    source: str | None
    originator: str | None
    started_at: _Time | None
    last_activity_at: _Time | None
    ended_at: _Time | None
    tokens: TokenCounts | None
    context_used_tokens: int | None
    context_window_tokens: int | None
    context_percent: float | None
    pids: tuple[int, ...]
    tty: str | None
    home: str | None
    transcript: str | None


class HostErrorEntry(msgspec.Struct, frozen=True):
    """Why the newest attempt to read a host failed, and what mends it. `phase` is how far the attempt had come.

    The host is in this condition since `since_at`. `next_retry_at` is null when nobody will try again.
    """

    host: str
    kind: ErrorKind
    phase: Phase
    message: str
    hint: str
    since_at: _Time | None
    attempts: int
    next_retry_at: _Time | None
    last_seen_at: _Time | None


class Document(msgspec.Struct, frozen=True):
    """The state of a fleet at one moment. Read an unknown word as "unknown" and ignore unknown keys.

    No session in `sessions` means that there is none only on hosts that are up and `complete`.
    """

    schema: Literal[1]
    generated_at: _Time
    hosts: tuple[HostEntry, ...]
    sessions: tuple[SessionEntry, ...]
    host_errors: tuple[HostErrorEntry, ...]
    warnings: tuple[WarningEntry, ...]


def document(fleet: Fleet, now_at: float, now_mono_s: float) -> Document:
    """Everything in `fleet`; `now_at` is the wall clock (epoch seconds), `now_mono_s` the monotonic one."""
    return Document(
        schema=SCHEMA,
        generated_at=rfc3339(now_at) or "",
        hosts=tuple(_host(host, now_mono_s) for host in fleet.hosts.values()),
        sessions=tuple(_session(row) for row in rows(fleet, now_mono_s)),
        host_errors=tuple(e for host in fleet.hosts.values() if (e := _host_error(host))),
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


def _host(host: HostState, now_mono_s: float) -> HostEntry:
    reading = host.reading
    hello = reading.hello if reading else None
    return HostEntry(
        name=host.name,
        link=host.link,
        since_at=rfc3339(host.since_at),
        last_seen_at=rfc3339(host.last_seen_at),
        age_s=seconds(max(0.0, now_mono_s - reading.arrived_mono_s)) if reading else None,
        elapsed_s=seconds(reading.elapsed_s) if reading else None,
        session_count=len(reading.snapshot.sessions) if reading else None,
        complete=reading.snapshot.complete if reading else None,
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
    )


def _session(row: Row) -> SessionEntry:
    session = row.session
    percent = context_percent(session)
    return SessionEntry(
        host=row.host,
        id=session.id,
        key=row.key,
        tool=session.tool,
        state=session.state,
        detail=session.detail,
        reason=session.reason,
        evidence=session.evidence,
        confidence=session.confidence,
        since_at=rfc3339(session.since_at),
        age_s=seconds(row.age_s),
        activity_age_s=seconds(row.activity_age_s),
        stale=row.stale,
        depth=row.depth,
        root_id=session.root_id,
        parent_id=session.parent_id,
        forked_from_id=session.forked_from_id,
        title=session.title,
        title_source=session.title_source,
        cwd=session.cwd,
        branch=session.branch,
        model=session.model,
        tool_version=session.tool_version,
        source=session.source,
        originator=session.originator,
        started_at=rfc3339(session.started_at),
        last_activity_at=rfc3339(session.last_activity_at),
        ended_at=rfc3339(session.ended_at),
        tokens=_tokens(session.tokens),
        context_used_tokens=session.context_used_tokens,
        context_window_tokens=session.context_window_tokens,
        context_percent=None if percent is None else round(percent, 1),
        pids=session.pids,
        tty=session.tty,
        home=session.home,
        transcript=session.transcript,
    )


def _tokens(tokens: Tokens | None) -> TokenCounts | None:
    if tokens is None:
        return None
    return TokenCounts(tokens.input, tokens.cached_input, tokens.output, tokens.reasoning_output, tokens.total)


def _host_error(host: HostState) -> HostErrorEntry | None:
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
