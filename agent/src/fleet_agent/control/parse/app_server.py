"""What `codex app-server` tells and asks -> session events. Pure.

`Notifications` reads both dialects: its own (`turn/*`, `item/*`, `thread/*`) and the older `codex/event/*`.
Releases up to 0.1xx send both side by side, so the first one that is met is kept to. `request` reads what it
asks a person. Measured on 0.36 to 0.169.
"""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from fleet_agent.control.events import (
    DECISIONS,
    ApprovalRequested,
    Asked,
    Event,
    Failure,
    FileChange,
    Message,
    PlanUpdated,
    Question,
    Reasoning,
    Resolved,
    SessionStarted,
    Unknown,
    Used,
)
from fleet_agent.control.parse.items import begun, done, kind
from fleet_agent.control.parse.legacy import MAX_OPEN_PATCHES, Legacy
from fleet_agent.control.parse.turns import Turns
from fleet_agent.control.parse.values import (
    Json,
    changes,
    command,
    decode,
    name,
    objects,
    output,
    pick,
    reason,
    steps,
    tokens,
)
from fleet_agent.fields import count, member

_LEGACY = "codex/event"
_OURS = ("turn/", "item/", "thread/", "error")  # methods that show which dialect is spoken
_TURN = ("turn/", "item/", "error")  # ... and that tell of a turn
_OF_THE_SESSION = frozenset({"session_configured", "token_count", "mcp_startup_complete"})
_TURN_ENDS = {"completed": "completed", "failed": "failed"}  # interrupted, cancelled ...: aborted
_RESTS = {"idle": "completed", "notLoaded": "aborted", "systemError": "failed"}
_DECISIONS = {"acceptForSession": "accept_for_session"}
_MAX_QUESTIONS = 32
_MAX_OPTIONS = 64
# Told by other means too, or about more than one session; there is no word for them and no use.
_QUIET = frozenset(
    (
        "turn/diff/updated",
        "item/commandExecution/outputDelta",
        "item/fileChange/outputDelta",
        "item/fileChange/patchUpdated",
        "item/commandExecution/terminalInteraction",
        "item/mcpToolCall/progress",
        "item/reasoning/summaryPartAdded",
        "item/plan/delta",
        "rawResponseItem/completed",
        "turn/moderationMetadata",
        "hook/started",
        "hook/completed",
        "thread/archived",
        "thread/unarchived",
        "thread/deleted",
        "thread/closed",
        "thread/name/updated",
        "thread/readState/changed",
        "thread/settings/updated",
        "thread/goal/updated",
        "thread/goal/cleared",
        "thread/section/changed",
        "thread/attachment/updated",
        "thread/prediction/updated",
        "thread/queue/changed",
        "thread/project/updated",
        "thread/environment/connected",
        "thread/environment/disconnected",
    )
)
_NOT_OF_A_SESSION = (
    "account/",
    "app/",
    "command/exec/",
    "externalAgentConfig/",
    "fs/",
    "fuzzyFileSearch/",
    "mcpServer/",
    "model/",
    "modelProvider/",
    "process/",
    "project/",
    "remoteControl/",
    "skills/",
    "thread/realtime/",
    "windows",
    "authStatusChange",
    "loginChatGptComplete",
)


class Notifications:
    """The notifications of one connection, in their order, about one thread.

    thread_id  its id; what is said of others (subagents, titles) changes nothing here. None: all are taken
    armed      False: turns, and what happens in them, are passed over, until it is set. So a history that is
               replayed by `thread/resume` does not end a turn that is started after it
    patches    what each patch that is under way would change, by item id: for `request`
    """

    def __init__(self, thread_id: str | None = None, *, armed: bool = True) -> None:
        self.thread_id = thread_id
        self.armed = armed
        self.patches: dict[str, tuple[FileChange, ...]] = {}
        self._turns = Turns()
        self._legacy = Legacy()
        self._is_legacy: bool | None = None
        self._failure: str | None = None

    def feed(self, message: bytes) -> list[Event]:
        """The events of one message, whatever it is. Requests and replies have none."""
        said = decode(message)
        if isinstance(said, Failure):
            return [said]
        method, params = said.get("method"), said.get("params")
        if not isinstance(method, str) or "id" in said:
            return []
        return self._told(method, params if isinstance(params, dict) else {})

    def settle(self) -> list[Event]:
        """The end of a turn whose thread rests, but whose `turn/completed` never came.

        The thread's status is told before it, by at most some milliseconds: call this after a while of silence.
        """
        return self._turns.settle()

    def _told(self, method: str, params: Json) -> list[Event]:
        about = name(pick(params, "threadId", "conversationId") or member(params, "thread", "id"))
        if self.thread_id is not None and about not in (None, self.thread_id):
            return []
        legacy = method.startswith(_LEGACY)
        if legacy or method.startswith(_OURS):
            if self._is_legacy is None:
                self._is_legacy = legacy
            if self._is_legacy != legacy:
                return []
        if legacy:
            return self._older(params)
        if not self.armed and method.startswith(_TURN):
            return []
        return self._event(method, params)

    def _older(self, params: Json) -> list[Event]:
        message = params.get("msg")
        if not isinstance(message, dict) or not (self.armed or message.get("type") in _OF_THE_SESSION):
            return []
        events = self._legacy.feed(message, name(params.get("id")))
        self.patches = self._legacy.patches
        return events

    def _event(self, method: str, params: Json) -> list[Event]:
        match method:
            case "thread/status/changed":
                return self._status(params)
            case "turn/started":
                self._failure = None
                return self._turns.start(name(member(params, "turn", "id")))
            case "turn/completed":
                return self._completed(params.get("turn"))
            case "item/started" | "item/completed" if isinstance(params.get("item"), dict):
                return self._item(method, params["item"], name(params.get("turnId")))
            case "error":
                return self._error(params)
        if read := _READ.get(method):
            return read(params)
        quiet = method in _QUIET or method.startswith(_NOT_OF_A_SESSION)
        return [] if quiet else [Unknown(name(method) or "notification")]

    def _status(self, params: Json) -> list[Event]:
        """It comes before `turn/completed`, which knows how the turn ended."""
        if rests := _RESTS.get(name(member(params, "status", "type")) or ""):
            self._turns.rest(rests)
        return []

    def _completed(self, turn: Any) -> list[Event]:
        end = _TURN_ENDS.get(name(pick(turn, "status")) or "", "aborted")
        why = reason(pick(turn, "error")) or (self._failure if end == "failed" else None)
        return self._turns.end(end, name(pick(turn, "id")), why)

    def _error(self, params: Json) -> list[Event]:
        """`turn/completed` follows one that is not retried."""
        why, retrying = reason(params.get("error")) or "error", params.get("willRetry") is True
        if not retrying:
            self._failure = why
        return [Failure(why, retrying)]

    def _item(self, method: str, item: Json, turn_id: str | None) -> list[Event]:
        self._turns.going()
        item_id = name(item.get("id")) or ""
        if method == "item/completed":
            self.patches.pop(item_id, None)
            return done(item, turn_id)
        if kind(item) == "filechange" and len(self.patches) < MAX_OPEN_PATCHES:
            self.patches[item_id] = changes(item.get("changes"))
        return begun(item)


def _thread(params: Json) -> list[Event]:
    thread = params.get("thread")
    session_id = name(pick(thread, "id"))
    if session_id is None:
        return []
    return [SessionStarted(session_id, name(pick(thread, "model")), name(pick(thread, "cliVersion")))]


def _warning(params: Json) -> list[Event]:
    message, details = output(pick(params, "message", "summary")), output(params.get("details"))
    whole = f"{message or 'warning'} ({details})" if details else message
    return [Failure(output(whole) or "warning", source="warning")]


def _piece(params: Json) -> list[Event]:
    said = output(params.get("delta"))
    return [Message(said, name(params.get("itemId")), delta=True)] if said else []


def _thought(params: Json) -> list[Event]:
    thought = output(params.get("delta"))
    return [Reasoning(thought, name(params.get("itemId")), delta=True)] if thought else []


def _plan(params: Json) -> list[Event]:
    return [PlanUpdated(steps(params.get("plan")))]


def _used(params: Json) -> list[Event]:
    used = params.get("tokenUsage")
    total, last = tokens(pick(used, "total")), tokens(pick(used, "last"))
    return [Used(total, last, count(pick(used, "modelContextWindow")))] if total or last else []


def _resolved(params: Json) -> list[Event]:
    request_id = name(params.get("requestId"))
    return [Resolved(request_id)] if request_id is not None else []


_READ: dict[str, Callable[[Json], list[Event]]] = {
    "thread/started": _thread,
    "thread/tokenUsage/updated": _used,
    "turn/plan/updated": _plan,
    "item/agentMessage/delta": _piece,
    "item/reasoning/summaryTextDelta": _thought,
    "item/reasoning/textDelta": _thought,
    "serverRequest/resolved": _resolved,
    "warning": _warning,
    "configWarning": _warning,
    "guardianWarning": _warning,
    "deprecationNotice": _warning,
}


def request(
    message: bytes, patches: Mapping[str, tuple[FileChange, ...]] | None = None
) -> ApprovalRequested | Asked | None:
    """What a request of the server asks a person. None: nothing that a person is asked, or no request.

    `patches`: of `Notifications`; the request to apply a patch does not itself say which files it changes.
    """
    said = decode(message)
    if isinstance(said, Failure) or not isinstance(said.get("params"), dict):
        return None
    request_id, params = name(said.get("id")), said["params"]
    if request_id is None:
        return None
    match said.get("method"):
        case "item/commandExecution/requestApproval" | "execCommandApproval":
            return _command(request_id, params)
        case "item/fileChange/requestApproval" | "applyPatchApproval":
            return _patch(request_id, params, patches or {})
        case "item/permissions/requestApproval":
            return _permissions(request_id, params)
        case "mcpServer/elicitation/request":
            return _elicitation(request_id, params)
        case "item/tool/requestUserInput":
            return _questions(request_id, params)
    return None


def _command(request_id: str, params: Json) -> ApprovalRequested:
    host = name(member(params, "networkApprovalContext", "host"))
    return ApprovalRequested(
        request_id,
        "command",
        name(params.get("turnId")),
        name(pick(params, "itemId", "callId")),
        command(params.get("command")),
        name(params.get("cwd")),
        output(params.get("reason")) or (f"network access to {host}" if host else None),
        decisions=_offered(params.get("availableDecisions")),
    )


def _patch(request_id: str, params: Json, patches: Mapping[str, tuple[FileChange, ...]]) -> ApprovalRequested:
    call_id, root = name(pick(params, "itemId", "callId")), name(params.get("grantRoot"))
    return ApprovalRequested(
        request_id,
        "patch",
        name(params.get("turnId")),
        call_id,
        reason=output(params.get("reason")) or (f"write access below {root}" if root else None),
        changes=changes(params.get("fileChanges")) or patches.get(call_id or "", ()),
    )


def _permissions(request_id: str, params: Json) -> ApprovalRequested:
    wanted = msgspec.json.encode(params.get("permissions")).decode()
    told = output(params.get("reason"))
    return ApprovalRequested(
        request_id,
        "permissions",
        name(params.get("turnId")),
        name(params.get("itemId")),
        cwd=name(params.get("cwd")),
        reason=output(f"{told}: {wanted}" if told else wanted),
    )


def _elicitation(request_id: str, params: Json) -> ApprovalRequested:
    """An MCP server's form. Only a person at the tool itself can fill it in, so it can be turned down here."""
    server, message, url = (name(params.get(word)) for word in ("serverName", "message", "url"))
    told = ": ".join(found for found in (server, message) if found)
    return ApprovalRequested(
        request_id,
        "tool",
        name(params.get("turnId")),
        reason=output(f"{told} ({url})" if url else told),
        decisions=("decline", "cancel"),
    )


def _questions(request_id: str, params: Json) -> Asked:
    asked = (_question(item) for item in objects(params.get("questions"), _MAX_QUESTIONS))
    return Asked(request_id, tuple(found for found in asked if found), name(params.get("turnId")))


def _question(item: Json) -> Question | None:
    question_id, said = name(item.get("id")), output(pick(item, "question", "header"))
    if question_id is None:
        return None
    labels = (name(pick(option, "label")) for option in objects(item.get("options"), _MAX_OPTIONS))
    return Question(question_id, said or "", tuple(label for label in labels if label))


def _offered(value: Any) -> tuple[str, ...]:
    """The decisions that are offered. To decline is always possible, though terminals do not show it."""
    if not isinstance(value, list):
        return DECISIONS
    words = {_DECISIONS.get(word, word) for word in value if isinstance(word, str)}
    return tuple(word for word in DECISIONS if word in words or word == "decline")
