"""The JSON contract: what the document is made of, key by key.

Keys are always there; what is not known is null, never 0 or ""; arrays may be empty. Within one `SCHEMA` keys
and words are only added. `fleet schema` prints the JSON Schema of it, with these docstrings as descriptions.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from fleet.errors import ErrorKind, Phase
from fleet.model import Link
from fleet_agent.wire import CONFIDENCES, DETAILS, EVIDENCE, PANE_KINDS, STATES, USAGE_CONFIDENCES

SCHEMA: Literal[1] = 1


def _words(words: tuple[str, ...]) -> Meta:
    return Meta(extra_json_schema={"enum": [*dict.fromkeys((*words, "unknown"))]})


_Time = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
_State = Annotated[str, _words(STATES)]
_Detail = Annotated[str, _words(tuple(word for words in DETAILS.values() for word in words))]
_Evidence = Annotated[str, _words(EVIDENCE)]
_Confidence = Annotated[str, _words(CONFIDENCES)]
_UsageConfidence = Annotated[str, _words(USAGE_CONFIDENCES)]
_PaneKind = Annotated[str, _words(PANE_KINDS)]


class RateLimitEntry(msgspec.Struct, frozen=True, gc=False):
    """How much of one window of an account's limit is used, as the provider said at `observed_at`, `age_s` ago.

    `account` tells accounts apart on one host and names nobody. `reached`: nothing more is served until
    `resets_at`, in `resets_in_s` seconds; where that is 0 the figure is of the window before.
    """

    tool: str
    account: str
    limit_id: str
    window_minutes: int
    used_percent: float
    reached: bool
    observed_at: _Time | None
    age_s: float | None
    resets_at: _Time | None
    resets_in_s: float | None


class OrphanPortEntry(msgspec.Struct, frozen=True, gc=False):
    """A port that a process still listens on whose session is gone. `name` is the program's."""

    port: int
    pid: int
    name: str | None
    session_id: str | None
    started_at: _Time | None


class VitalsEntry(msgspec.Struct, frozen=True, gc=False):
    """How the machine does. `cpu_percent` is of all cores together; `disk_*` is the home directory's."""

    cpus: int | None
    cpu_percent: float | None
    load_1m: float | None
    memory_bytes: int | None
    memory_used_bytes: int | None
    disk_bytes: int | None
    disk_free_bytes: int | None


class CostEntry(msgspec.Struct, frozen=True, gc=False):
    """What the last reading cost its host: CPU and wall time, bytes of transcripts read, the agent's memory."""

    cpu_ms: float | None
    scan_ms: float | None
    read_bytes: int | None
    rss_bytes: int | None


class HostEntry(msgspec.Struct, frozen=True, gc=False):
    """One host that was asked for; every one is here, whether it could be read or not.

    `link`: up, slow, stale (cannot be read now, its last good reading is shown), down, pending (not read yet);
    since `since_at`. `session_count` is null, never 0, for a host that was never read; a session of a machine
    with two names counts at each of them. `complete`: false when sessions may be missing. The last good reading
    came at `last_seen_at`, `age_s` ago, and took `elapsed_s`. `skew_s`: the host's clock less this machine's.
    `error_kind`, `attempts` (failed in a row) and `next_retry_at` are about the newest attempt; the rest is in
    `host_errors`. `rate_limits` and `orphan_ports` are empty for a host that was never read.
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
    rate_limits: tuple[RateLimitEntry, ...]
    orphan_ports: tuple[OrphanPortEntry, ...]
    vitals: VitalsEntry | None
    cost: CostEntry | None


class TokenCounts(msgspec.Struct, frozen=True, gc=False):
    """Tokens so far; `cached_input` is a part of `input`, `reasoning_output` of `output`."""

    input: int
    cached_input: int
    output: int
    reasoning_output: int
    total: int


class ToolCallEntry(msgspec.Struct, frozen=True, gc=False):
    """The call that a session is in, by the tool's own word for it, and for how long."""

    name: str
    since_at: _Time | None
    age_s: float | None


class PlanEntry(msgspec.Struct, frozen=True, gc=False):
    """How many steps of its own plan a session has done; `current` is the step, where privacy allows it."""

    completed: int
    total: int
    current: str | None


class ChildEntry(msgspec.Struct, frozen=True, gc=False):
    """A process that a session started, at any depth, and the TCP ports it listens on. `name` is the program's.

    `call_id`: the tool call that started it.
    """

    pid: int
    name: str | None
    ports: tuple[int, ...]
    started_at: _Time | None
    rss_bytes: int | None
    call_id: str | None


class PaneEntry(msgspec.Struct, frozen=True, gc=False):
    """The terminal a session is in: a tmux pane (%3) or a kitty window (12).

    `socket` is the tmux server's, or what kitty listens on; null is the default one.
    """

    kind: _PaneKind
    id: str
    socket: str | None


class Rollup(msgspec.Struct, frozen=True, gc=False):
    """The subagents of a root session, at any depth below it: how many there are, and how many in each state.

    `urgent_*` is the one of them that needs a person most: waiting before stuck, failed, working, idle, ended.
    `tokens` is the sum over root and subagents of what is known, null where nothing is; `usage_confidence` is
    the worst among them, unknown where a count is missing: then the sum is less than what was used.
    """

    subagents: int
    waiting: int
    working: int
    idle: int
    ended: int
    unknown: int
    urgent_id: str
    urgent_state: _State
    urgent_detail: _Detail | None
    tokens: TokenCounts | None
    usage_confidence: _UsageConfidence | None


class SessionEntry(msgspec.Struct, frozen=True, gc=False):
    """One session. They are in groups, a root and then its subagents; groups that need a person come first.

    `key` is `host:id`; `depth` is 0 for a root. It is in `state`, more closely `detail`, for `age_s` seconds;
    so says `evidence`, with `confidence`, and `reason` is the sentence for it. `stale`: the host cannot be read
    now, this is its last good reading. Times ending in `_at` are the host's own clock's; ages are right even
    where that is off. `rollup` sums up the subagents of a root; it is null for a session that has none and for
    subagents.

    `usage_confidence` is about `tokens`: exact; conservative (not less was used); unknown. `branch`, `commit`,
    `dirty_files`, `ahead` (commits that its upstream branch lacks) and `behind` are of `repository`, the git
    work tree that `cwd` is in, now; the session began on `branch_at_start`. `child_count` is more than
    `children` where not all are listed. `cpu_percent` (of one core) and `rss_bytes` are of the session's
    processes and all that they started. `transcript_bytes` grew by `grown_bytes` within the last minute; that
    and `cpu_percent` are null where the host was read only once. `ephemeral`: its tool keeps no transcript.
    `nickname` and `role` are a subagent's.
    """

    # What fleet adds:
    host: str
    key: str
    stale: bool
    depth: int
    age_s: float | None
    activity_age_s: float | None
    context_percent: float | None
    rollup: Rollup | None
    # The fields of the wire's Session, in its order: `document._session` relies on it.
    tool: str
    id: str
    state: _State
    detail: _Detail | None
    reason: str
    evidence: _Evidence | None
    confidence: _Confidence
    since_at: _Time | None
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
    pids: tuple[int, ...]
    tty: str | None
    home: str | None
    transcript: str | None
    transcript_bytes: int | None
    grown_bytes: int | None
    ephemeral: bool
    nickname: str | None
    role: str | None
    effort: str | None
    provider: str | None
    approval_policy: str | None
    sandbox: str | None
    repository: str | None
    branch_at_start: str | None
    commit: str | None
    dirty_files: int | None
    ahead: int | None
    behind: int | None
    turns: int | None
    tool_call: ToolCallEntry | None
    plan: PlanEntry | None
    compactions: int | None
    last_error: str | None
    usage_confidence: _UsageConfidence | None
    children: tuple[ChildEntry, ...]
    child_count: int | None
    cpu_percent: float | None
    rss_bytes: int | None
    pane: PaneEntry | None


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


class WarningEntry(msgspec.Struct, frozen=True):
    """Something to know about a reading that did not fail. `host` is null where it is about several.

    `kind`: incomplete (sessions may exist that the agent may not see), permission, unreadable, oversize, limit,
    internal (what the agent could not read), note (oddities of the transfer), clock (the host's is off; ages
    are right all the same), same_machine. Take a kind that you do not know as note.
    """

    host: str | None
    kind: str
    message: str


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
