"""The control wire: what is asked of `fleet-agent control` on its stdin, and what it says on its stdout.

Both are NDJSON, one object a line. The first line out is the `Hello` of `fleet_agent.wire`. The first line in
is one `Request`; `Attach` takes further ones on the same stdin. Every request is answered by any number of
`Said`, `Stderr`, `Run` and `Pending` lines, and ends with exactly one `Done` or `Refused`, in the order of the
requests. Prompts and answers travel in these lines only, never in an argv.

Fields are only added, always with a default; readers skip types they do not know. Imports msgspec, the session
events (`fleet_agent.control.events`) and the wire of the reading agent, nothing else: the collector imports
this module.
"""

from typing import Annotated, TypeAlias

import msgspec

from fleet_agent.control.events import ApprovalRequested, Asked, Event, Output
from fleet_agent.wire import At, Count, Pane, Pid, Text, _Wire

MAX_REQUEST_BYTES = 1 << 20
MAX_PROMPT_CHARS = 1 << 19
MODES = ("exec", "app-server", "tmux")
RUN_STATES = ("running", "exited", "lost")  # lost: it ended, and nobody saw how (a reboot, a kill -9)
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
Name = Annotated[str, msgspec.Meta(pattern="^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]


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
    """Start a session in the background. None: the tool's own default.

    `resume`: go on with this one; `fork`: with a copy of this one, which stays as it is. Not both.
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
    fork: Text | None = None


class List(_Request, frozen=True, tag_field="verb", tag="list"):
    """Every run that fleet started here and nobody deleted, newest first: `Run` lines."""

    privacy: Text = "meta"


class Logs(_Request, frozen=True, tag_field="verb", tag="logs"):
    """What a session said: `Said` lines; of a run's stderr, `Stderr` lines.

    To go on where another reading has ended: `after_seq`, only what has a higher number; of stderr
    `from_bytes`, the `end_bytes` of the last piece.
    """

    target: Target
    follow: bool = False
    since_at: At | None = None
    stderr: bool = False
    after_seq: Count = 0
    from_bytes: Count = 0


class Attach(_Request, frozen=True, tag_field="verb", tag="attach"):
    """As `Logs` with `follow` from now on; takes further requests on stdin. Ends at stdin's end.

    With `after_seq` or `since_at` from there on and not from now: to attach to it again.
    """

    target: Target
    since_at: At | None = None
    after_seq: Count = 0


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
    """A session event, at the host's time.

    `seq` counts the events of one run from 1; of what a tool itself has written down it is a place in that
    file, which rises. 0: it is in neither.
    """

    event: Event
    at: At
    seq: Count = 0


class Stderr(_Wire, frozen=True, tag_field="type", tag="stderr"):
    """A piece of a run's standard error output. `end_bytes`: of the whole log, up to the end of this piece."""

    text: Output
    end_bytes: Count = 0


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
