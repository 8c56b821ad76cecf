"""The control wire: what is asked of `fleet-agent control` on its stdin, and what it says on its stdout.

Both are NDJSON, one object a line. The first line out is the `Hello` of `fleet_agent.wire`. The first line in
is one `Request`; `Attach` takes further ones on the same stdin. Every request is answered by any number of
`Said`, `Stderr`, `Run` and `Pending` lines, and ends with exactly one `Done` or `Refused`, in the order of the
requests. Prompts and answers travel in these lines only, never in an argv.

A session event (`Event`) is one thing that happened in a session, whatever tool, release and protocol told of
it. Fields are only added, always with a default; readers skip types they do not know. Imports msgspec and the
wire of the reading agent, nothing else: the collector imports this module.
"""

from typing import Annotated, TypeAlias

import msgspec

from fleet_agent.wire import At, Count, Pane, Pid, Text, Tokens, _Wire

MAX_REQUEST_BYTES = 1 << 20
MAX_PROMPT_CHARS = 1 << 19
MAX_OUTPUT_CHARS = 64 << 10  # of one text in an event: longer ones keep their end
MODES = ("exec", "app-server", "tmux")
RUN_STATES = ("running", "exited", "lost")  # lost: it ended, and nobody saw how (a reboot, a kill -9)
DECISIONS = ("accept", "accept_for_session", "decline", "cancel")  # cancel: decline, and interrupt the turn
TURN_ENDS = ("completed", "failed", "aborted")
REFUSALS = (
    "bad_request",  # the request itself
    "unknown_session",
    "ambiguous",
    "stale",  # it is not what the asker saw: another process, or none
    "not_possible",  # this session cannot be driven so; the hint says what would work
    "already_resolved",
    "tool_missing",
    "tool_failed",  # the tool said no
    "timeout",
    "internal",
)

Prompt = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_PROMPT_CHARS)]
Output = Annotated[str, msgspec.Meta(max_length=MAX_OUTPUT_CHARS)]
Name = Annotated[str, msgspec.Meta(pattern="^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]


# Session events. `turn_id`, `item_id` and `call_id` are the tool's own words, None where it has none.


class SessionStarted(_Wire, frozen=True, tag_field="type", tag="session_started"):
    """The session has an id now. `model` and `version` where the tool says them."""

    session_id: Text
    model: Text | None = None
    version: Text | None = None


class TurnStarted(_Wire, frozen=True, tag_field="type", tag="turn_started"):
    """The model has something to do."""

    turn_id: Text | None = None


class TurnEnded(_Wire, frozen=True, tag_field="type", tag="turn_ended"):
    """The turn is over. `end`: completed | failed | aborted. `message`: why it failed, in the tool's words."""

    end: Text
    turn_id: Text | None = None
    message: Output | None = None


class Message(_Wire, frozen=True, tag_field="type", tag="message"):
    """Text of the assistant. `delta`: a piece of a text that will also come whole."""

    text: Output
    item_id: Text | None = None
    delta: bool = False


class Prompted(_Wire, frozen=True, tag_field="type", tag="prompted"):
    """Text that a person, or a program for one, said to the session."""

    text: Output
    turn_id: Text | None = None


class Reasoning(_Wire, frozen=True, tag_field="type", tag="reasoning"):
    """What the assistant lets see of its thinking."""

    text: Output
    item_id: Text | None = None
    delta: bool = False


class ToolStarted(_Wire, frozen=True, tag_field="type", tag="tool_started"):
    """A tool call. `name`: the tool's own word; `command`: what is run, of a command."""

    call_id: Text
    name: Text
    command: Output | None = None
    cwd: Text | None = None


class ToolEnded(_Wire, frozen=True, tag_field="type", tag="tool_ended"):
    """Its result. `output`: stdout and stderr together, or what the call returned. `ok` None: not told."""

    call_id: Text
    name: Text = ""
    command: Output | None = None
    output: Output | None = None
    exit_code: int | None = None
    duration_ms: Count | None = None
    ok: bool | None = None


class FileChange(_Wire, frozen=True):
    """One file. `kind`: add | update | delete."""

    path: Text
    kind: Text


class FilesChanged(_Wire, frozen=True, tag_field="type", tag="files_changed"):
    """A patch. `ok` None: it is only proposed, or under way."""

    changes: tuple[FileChange, ...]
    call_id: Text | None = None
    ok: bool | None = None


class Step(_Wire, frozen=True):
    """One step of a plan. `status`: pending | in_progress | completed."""

    text: Output
    status: Text


class PlanUpdated(_Wire, frozen=True, tag_field="type", tag="plan_updated"):
    """The whole plan, as it is now."""

    steps: tuple[Step, ...]


class Used(_Wire, frozen=True, tag_field="type", tag="used"):
    """Tokens. `total`: of the session so far, as its tool counts; `last`: of the last response, where told."""

    total: Tokens | None = None
    last: Tokens | None = None
    context_window_tokens: Count | None = None
    cost_usd: Annotated[float, msgspec.Meta(ge=0)] | None = None


class Question(_Wire, frozen=True):
    """One question of several. `options`: what may be answered; empty: free text."""

    id: Text
    text: Output
    options: tuple[Text, ...] = ()


class ApprovalRequested(_Wire, frozen=True, tag_field="type", tag="approval_requested"):
    """A person must decide. `request_id`: the tool's, as text. `kind`: command | patch | permissions | tool."""

    request_id: Text
    kind: Text
    turn_id: Text | None = None
    call_id: Text | None = None
    command: Output | None = None
    cwd: Text | None = None
    reason: Output | None = None
    changes: tuple[FileChange, ...] = ()
    decisions: tuple[Text, ...] = DECISIONS


class Asked(_Wire, frozen=True, tag_field="type", tag="asked"):
    """A person must answer."""

    request_id: Text
    questions: tuple[Question, ...]
    turn_id: Text | None = None


class Resolved(_Wire, frozen=True, tag_field="type", tag="resolved"):
    """An approval or a question is no longer open. `by` and `decision` where they are known."""

    request_id: Text
    decision: Text | None = None
    by: Text | None = None


class Failure(_Wire, frozen=True, tag_field="type", tag="error"):
    """Something went wrong. `retrying`: the tool tries again by itself, so the turn goes on.

    `source`: tool; warning where the tool only warns and nothing failed; stream where a line could not be read
    (it is in `message`, cut).
    """

    message: Output
    retrying: bool = False
    source: Text = "tool"
    dropped_bytes: Count = 0


class Ended(_Wire, frozen=True, tag_field="type", tag="ended"):
    """The process of a run has ended: by itself with `exit_code`, or by `signal` (a number)."""

    exit_code: int | None = None
    signal: Count | None = None


class Unknown(_Wire, frozen=True, tag_field="type", tag="unknown"):
    """What the tool said and we have no word for: its own type."""

    what: Text


Event: TypeAlias = (
    SessionStarted
    | TurnStarted
    | TurnEnded
    | Message
    | Prompted
    | Reasoning
    | ToolStarted
    | ToolEnded
    | FilesChanged
    | PlanUpdated
    | Used
    | ApprovalRequested
    | Asked
    | Resolved
    | Failure
    | Ended
    | Unknown
)


# Requests. `by`: who asks, `user@machine`, for the audit.


class Target(_Wire, frozen=True):
    """Exactly one session: a run of fleet's by `name`, or a session by its tool's `id`.

    `pids`: the processes that held it when the asker looked; any other now, and the request is refused as
    stale. Empty: it had none then.
    """

    tool: Text = "codex"
    id: Text | None = None
    name: Name | None = None
    pids: tuple[Pid, ...] = ()


class _Request(_Wire, frozen=True, kw_only=True):
    by: Text = ""


class Start(_Request, frozen=True, tag_field="verb", tag="start"):
    """Start a session in the background. `resume`: of this one. None: the tool's own default.

    `arguments`: further ones for the tool itself, for what fleet has no word for.
    """

    prompt: Prompt | None = None
    tool: Text = "codex"
    mode: Text = "exec"
    name: Name | None = None
    cwd: Text | None = None
    model: Text | None = None
    sandbox: Text | None = None
    approval: Text | None = None
    resume: Text | None = None
    arguments: tuple[Text, ...] = ()


class List(_Request, frozen=True, tag_field="verb", tag="list"):
    """Every run that fleet started here and nobody deleted, newest first: `Run` lines."""

    privacy: Text = "meta"


class Logs(_Request, frozen=True, tag_field="verb", tag="logs"):
    """What a session said: `Said` lines; of a run's stderr, `Stderr` lines."""

    target: Target
    follow: bool = False
    since_at: At | None = None
    stderr: bool = False


class Attach(_Request, frozen=True, tag_field="verb", tag="attach"):
    """As `Logs` with `follow` from now on; takes further requests on stdin. Ends at stdin's end."""

    target: Target


class Send(_Request, frozen=True, tag_field="verb", tag="send"):
    """Say something to the session: into the running turn where the tool can (steer), else a new turn."""

    target: Target
    text: Prompt


class Interrupt(_Request, frozen=True, tag_field="verb", tag="interrupt"):
    """End the running turn; the session lives on."""

    target: Target


class Decide(_Request, frozen=True, tag_field="verb", tag="decide"):
    """Answer an approval. `request_id` None: the only one that is open."""

    target: Target
    decision: Text
    request_id: Text | None = None


class Answer(_Request, frozen=True, tag_field="verb", tag="answer"):
    """Answer a question. `answers`: question id -> what is answered. `request_id` None: the only open one."""

    target: Target
    answers: dict[str, tuple[Text, ...]]
    request_id: Text | None = None


class Approvals(_Request, frozen=True, tag_field="verb", tag="approvals"):
    """Every approval and question that is open on this host, oldest first: `Pending` lines."""


class Stop(_Request, frozen=True, tag_field="verb", tag="stop"):
    """End the session's processes: TERM to the group, KILL after `grace_s`."""

    target: Target
    grace_s: Annotated[float, msgspec.Meta(ge=0, le=600)] = 5.0


class Delete(_Request, frozen=True, tag_field="verb", tag="delete"):
    """Forget a run and its logs. Refused while it runs, unless `stop`."""

    target: Target
    stop: bool = False


class Prune(_Request, frozen=True, tag_field="verb", tag="prune"):
    """Forget all runs that ended at least `older_s` ago; each is told as a `Run` line."""

    older_s: Annotated[float, msgspec.Meta(ge=0)] = 0.0


Request: TypeAlias = (
    Start | List | Logs | Attach | Send | Interrupt | Decide | Answer | Approvals | Stop | Delete | Prune
)


# What is said back.


class Said(_Wire, frozen=True, tag_field="type", tag="said"):
    """A session event, at the host's time. `seq` counts the events of one run from 1."""

    event: Event
    at: At
    seq: Count = 0


class Stderr(_Wire, frozen=True, tag_field="type", tag="stderr"):
    """A piece of a run's standard error output."""

    text: Output


class Run(_Wire, frozen=True, tag_field="type", tag="run"):
    """A background session that fleet started. `id`: the tool's own, None until it has one.

    `state`: running | exited | lost. `pid` is of its supervisor (tmux: of the program in the pane);
    `started_ticks` is that process's start, as its system counts: the two together are one process, whatever
    a pid is reused for. `prompt`: its first characters, where privacy allows.
    """

    name: Name
    tool: Text
    mode: Text
    state: Text
    created_at: At
    id: Text | None = None
    pid: Pid | None = None
    started_ticks: Count | None = None
    cwd: Text | None = None
    model: Text | None = None
    ended_at: At | None = None
    exit_code: int | None = None
    signal: Count | None = None
    out_bytes: Count = 0
    err_bytes: Count = 0
    prompt: Text | None = None
    by: Text = ""
    home: Text | None = None
    tool_version: Text | None = None
    pane: Pane | None = None  # of mode tmux: what a terminal attaches to


class Pending(_Wire, frozen=True, tag_field="type", tag="pending"):
    """An approval or a question that is open now."""

    session_id: Text
    tool: Text
    request: ApprovalRequested | Asked
    since_at: At | None = None
    name: Name | None = None
    cwd: Text | None = None
    title: Text | None = None


class Done(_Wire, frozen=True, tag_field="type", tag="done"):
    """The request is fulfilled. `message`: what was done, where that is not plain (steered, queued ...)."""

    message: Text = ""


class Refused(_Wire, frozen=True, tag_field="type", tag="refused"):
    """It is not, and nothing was changed unless `message` says so. `kind`: one of `REFUSALS`."""

    kind: Text
    message: Text
    hint: Text = ""
    candidates: tuple[Text, ...] = ()


Reply: TypeAlias = Said | Stderr | Run | Pending | Done | Refused
