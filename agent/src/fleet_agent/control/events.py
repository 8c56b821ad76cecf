"""One session event model: what happened in a session, whatever tool, release and protocol told of it.

Pure. `fleet_agent.control.parse` and the drivers make these; the control wire carries them. Fields are only
added, always with a default; readers skip types they do not know. `turn_id`, `item_id` and `call_id` are the
tool's own words, None where it has none. Imports msgspec and the wire of the reading agent, nothing else: the
collector imports this module.
"""

from typing import Annotated, TypeAlias

import msgspec

from fleet_agent.wire import Count, Text, Tokens, _Wire

MAX_OUTPUT_CHARS = 64 << 10  # of one text in an event: longer ones keep their end
DECISIONS = ("accept", "accept_for_session", "decline", "cancel")  # cancel: decline, and interrupt the turn
TURN_ENDS = ("completed", "failed", "aborted")

Output = Annotated[str, msgspec.Meta(max_length=MAX_OUTPUT_CHARS)]


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
