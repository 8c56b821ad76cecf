"""The wire: what an agent writes to its stdout and a collector reads.

One JSON object a line (NDJSON, UTF-8). The first line is a `Hello`; every later line is a `Snapshot` or a
`Heartbeat`. A collector may write `Refresh` lines to the agent's stdin.

Evolution within one `SCHEMA`: fields are only added, always with a default; readers ignore fields they do not
know, count and skip frame types they do not know (decode a `Head` first), and read an unknown word of a
vocabulary (`STATES` and so on) as `unknown`. Anything else is a new `SCHEMA`.

This module is the only thing that both sides import; it imports msgspec and nothing else.
"""

from typing import Annotated

import msgspec

SCHEMA = 1

# Bounds of what one host may send. Past one of them the host's output is an error (`bad_output`), never a
# reason to use more memory.
MAX_LINE_BYTES = 1 << 20
MAX_SNAPSHOT_BYTES = 4 << 20  # all lines of one snapshot together
MAX_PARTS = 16  # lines of one snapshot
MAX_SESSIONS = 500
MAX_TEXT_CHARS = 4096
MAX_CHILDREN = 100  # of one session
MAX_PORTS = 100
MAX_LIMITS = 100  # rate limits of one host
MAX_NOISE_BYTES = 64 << 10  # before hello: a MOTD, a chatty .bashrc, Python warnings
MAX_NOISE_LINES = 200
MAX_STDERR_BYTES = 64 << 10

# Vocabularies. On the wire they are plain strings, so that a newer agent's word does not fail an older
# collector; `known` folds what is not listed here into "unknown".
TOOLS = ("codex", "claude", "opencode", "gemini")
STATES = ("waiting", "working", "idle", "ended", "unknown")
DETAILS = {
    "working": ("thinking", "tool", "compacting", "subagents", "stuck"),
    "waiting": ("approval", "question", "plan", "rate_limit", "auth"),
    "idle": ("turn_done", "aborted", "failed", "new"),
    "ended": ("ok", "failed", "crashed"),
    "unknown": (),
}
EVIDENCE = ("app_server", "hook", "lifecycle", "pending_call", "process", "mtime")
CONFIDENCES = ("fact", "strong", "weak")
USAGE_CONFIDENCES = ("exact", "conservative", "unknown")
PANE_KINDS = ("tmux", "kitty")

MAX_AT = 253402300799.0  # the last second of the year 9999, as far as a calendar goes
MAX_COUNT = (1 << 63) - 1  # JSON has wider integers, which no float holds and no other program reads

Text = Annotated[str, msgspec.Meta(max_length=MAX_TEXT_CHARS)]
At = Annotated[float, msgspec.Meta(ge=0, le=MAX_AT)]  # seconds since the epoch
Count = Annotated[int, msgspec.Meta(ge=0, le=MAX_COUNT)]
Pid = Annotated[int, msgspec.Meta(ge=1, le=MAX_COUNT)]
Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]
Percent = Annotated[float, msgspec.Meta(ge=0)]  # of one core, or of a limit; more than 100 where it can be


class _Wire(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """Base of all wire types: immutable, cheap for the collector's GC, defaults left out of the line."""


class Head(_Wire, frozen=True):
    """Decoded before anything else, to tell what a line is."""

    type: Text = ""


class Hello(_Wire, frozen=True, tag_field="type", tag="hello"):
    """The first line of an agent: who speaks, on which machine, by which clock.

    `host_id` is a keyed hash of the machine id (the id itself never leaves the host); with `boot_id` it tells
    that two names are one machine. `now` is the host's clock in seconds since the epoch. `schema` is the only
    required field, so that a hello of any schema can be read far enough to say that it is not ours.
    """

    schema: int
    agent_version: Text = ""
    host_id: Text = ""
    boot_id: Text = ""
    hostname: Text = ""
    os: Text = ""
    python: Text = ""
    user: Text = ""
    now: At = 0.0


class Tokens(_Wire, frozen=True):
    """Token counts of the responses that one session itself asked for; what a fork inherits is its parent's.

    `cached_input` is a part of `input`, `reasoning_output` a part of `output`; `total` = input + output.
    """

    input: Count = 0
    cached_input: Count = 0
    output: Count = 0
    reasoning_output: Count = 0
    total: Count = 0


class CurrentTool(_Wire, frozen=True):
    """The call that a session is in. `name` is the tool's own word for it (`exec_command`, `mcp__x.echo`)."""

    name: Text
    since_at: At | None = None


class Plan(_Wire, frozen=True):
    """How far a session is in its own plan. `current`: the step, where privacy allows it."""

    completed: Count
    total: Count
    current: Text | None = None


class Child(_Wire, frozen=True):
    """A process that a session started, at any depth below its tool. `name` is the program's, never its argv.

    `ports`: the TCP ports it listens on. `call_id`: the tool call that started it, where it can be told.
    """

    pid: Pid
    name: Text = ""
    ports: Annotated[tuple[Port, ...], msgspec.Meta(max_length=MAX_PORTS)] = ()
    started_at: At | None = None
    rss_bytes: Count | None = None
    call_id: Text | None = None


class Pane(_Wire, frozen=True):
    """The terminal a session is in. `kind`: tmux | kitty; `id`: its pane (%3) or window (12).

    `socket`: of the tmux server, or what kitty listens on; None is the default one.
    """

    kind: Text
    id: Text
    socket: Text | None = None


class Session(_Wire, frozen=True):
    """One conversation (a Codex thread) of a tool on this host.

    All `_at` are epoch seconds of the host's clock. `state`/`detail` with `reason` (a sentence), `evidence` and
    `confidence`, and `since_at`: when it entered that state. `title` obeys the agent's privacy setting.
    `id` is the tool's own. A session that is only a process, because its tool wrote nothing down (yet), is
    `pid-PID-START` (START: when the process began, as its system counts) for as long as the process lives.
    `started_at` is when the conversation began, which may be long before its process did. `pids` are the
    processes that hold it open now, empty once it ended.
    None is "not known", never "none" or 0.
    """

    tool: Text
    id: Text
    state: Text = "unknown"
    detail: Text | None = None
    reason: Text = ""
    evidence: Text | None = None
    confidence: Text = "weak"
    since_at: At | None = None
    root_id: Text | None = None
    parent_id: Text | None = None
    forked_from_id: Text | None = None
    title: Text | None = None
    title_source: Text | None = None
    cwd: Text | None = None
    branch: Text | None = None
    model: Text | None = None
    tool_version: Text | None = None
    source: Text | None = None
    originator: Text | None = None
    started_at: At | None = None
    last_activity_at: At | None = None
    ended_at: At | None = None
    tokens: Tokens | None = None
    context_used_tokens: Count | None = None
    context_window_tokens: Count | None = None
    pids: Annotated[tuple[Pid, ...], msgspec.Meta(max_length=1000)] = ()
    tty: Text | None = None
    home: Text | None = None  # the tool's state directory (CODEX_HOME)
    transcript: Text | None = None  # path of the rollout file
    transcript_bytes: Count | None = None
    grown_bytes: Count | None = None  # of the transcript, in the last minute; None in a one-shot reading
    ephemeral: bool = False  # the tool keeps no transcript of it
    nickname: Text | None = None  # of a subagent, as its tool calls it
    role: Text | None = None
    effort: Text | None = None
    provider: Text | None = None
    approval_policy: Text | None = None
    sandbox: Text | None = None
    repository: Text | None = None  # root of the git work tree that `cwd` is in
    branch_at_start: Text | None = None
    commit: Text | None = None
    dirty_files: Count | None = None
    ahead: Count | None = None  # commits that the upstream branch lacks
    behind: Count | None = None
    turns: Count | None = None
    tool_call: CurrentTool | None = None
    plan: Plan | None = None
    compactions: Count | None = None
    last_error: Text | None = None
    usage_confidence: Text | None = None  # of `tokens`, one of `USAGE_CONFIDENCES`; None without tokens
    children: Annotated[tuple[Child, ...], msgspec.Meta(max_length=MAX_CHILDREN)] = ()
    child_count: Count | None = None  # more than `children` where not all are listed
    cpu_percent: Percent | None = None  # of one core, tool and children; None in a one-shot reading
    rss_bytes: Count | None = None
    pane: Pane | None = None


class Problem(_Wire, frozen=True):
    """A partial failure inside a host: what could not be read, and why. The rest of the snapshot stands.

    `kind`: permission | unreadable | oversize | limit | internal.
    """

    kind: Text
    message: Text
    path: Text | None = None


class RateLimit(_Wire, frozen=True):
    """How much of one window of an account's limit is used, as the provider said at `observed_at`.

    `account` tells accounts apart on one host; it is no name and no address of anybody. `limit_id`: the
    provider's word for what is limited. Never sent once `resets_at` has passed.
    """

    tool: Text
    account: Text
    limit_id: Text
    window_minutes: Count
    used_percent: Percent
    observed_at: At
    resets_at: At | None = None
    reached: bool = False


class OrphanPort(_Wire, frozen=True):
    """A port that is still listened on by a process whose session is gone."""

    port: Port
    pid: Pid
    name: Text = ""
    session_id: Text | None = None
    started_at: At | None = None


class Vitals(_Wire, frozen=True):
    """How the machine does. `disk_*` is the file system of the user's home directory.

    `cpu_percent` is of all cores together (0 to 100), since the reading before; None in a one-shot reading.
    """

    cpus: Count | None = None
    cpu_percent: Percent | None = None
    load_1m: Percent | None = None
    memory_bytes: Count | None = None
    memory_used_bytes: Count | None = None
    disk_bytes: Count | None = None
    disk_free_bytes: Count | None = None


class Cost(_Wire, frozen=True):
    """What the reading itself cost: CPU time, bytes of transcripts read, the agent's resident memory."""

    cpu_ms: Percent | None = None
    read_bytes: Count | None = None
    rss_bytes: Count | None = None


class Snapshot(_Wire, frozen=True, tag_field="type", tag="snapshot"):
    """The host's full state, idempotent: it replaces whatever the host said before.

    A snapshot that would pass `MAX_LINE_BYTES` is sent as several lines with one `seq`, all but the last with
    `more = true`; readers take it only when it is whole. `complete` is false when sessions may exist that this
    agent was not permitted to see: then an empty list does not mean that there are none.
    """

    seq: Count
    now: At
    sessions: Annotated[tuple[Session, ...], msgspec.Meta(max_length=MAX_SESSIONS)] = ()
    problems: Annotated[tuple[Problem, ...], msgspec.Meta(max_length=MAX_SESSIONS)] = ()
    complete: bool = True
    scan_ms: float | None = None
    more: bool = False
    rate_limits: Annotated[tuple[RateLimit, ...], msgspec.Meta(max_length=MAX_LIMITS)] = ()
    orphan_ports: Annotated[tuple[OrphanPort, ...], msgspec.Meta(max_length=MAX_PORTS)] = ()
    vitals: Vitals | None = None
    cost: Cost | None = None


class Heartbeat(_Wire, frozen=True, tag_field="type", tag="heartbeat"):
    """Nothing but time has passed since the snapshot before."""

    seq: Count
    now: At


class Refresh(_Wire, frozen=True, tag_field="type", tag="refresh"):
    """Collector to agent: answer with a snapshot at once."""


Frame = Hello | Snapshot | Heartbeat


def known(word: str, vocabulary: tuple[str, ...]) -> str:
    """`word` if this side knows it, else "unknown"."""
    return word if word in vocabulary else "unknown"
