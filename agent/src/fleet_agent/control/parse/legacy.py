"""The older event dialect of Codex, `{"type": "task_started", ...}` -> session events. Pure.

`codex exec --json` printed it as `{"id","msg"}` up to 0.3x; app-server sends it as `codex/event/*`
notifications up to 0.1xx, beside or instead of its own. Both are measured, on 0.21 to 0.90.
"""

from collections.abc import Callable

from fleet_agent.control.events import (
    Event,
    Failure,
    FileChange,
    FilesChanged,
    Message,
    PlanUpdated,
    Prompted,
    Reasoning,
    SessionStarted,
    ToolEnded,
    ToolStarted,
    Unknown,
    Used,
)
from fleet_agent.control.parse.items import SHELL, mcp_tool
from fleet_agent.control.parse.turns import Turns
from fleet_agent.control.parse.values import (
    Json,
    changes,
    command,
    duration_ms,
    integer,
    joined,
    name,
    output,
    pick,
    reason,
    steps,
    tokens,
)
from fleet_agent.fields import count, member

MAX_OPEN_PATCHES = 64
# What other events tell too (item_*, *_content_delta), or what there is no word for and no use.
_QUIET = frozenset(
    (
        "item_started",
        "item_completed",
        "agent_message_content_delta",
        "reasoning_content_delta",
        "reasoning_raw_content_delta",
        "agent_reasoning_section_break",
        "agent_reasoning_raw_content",
        "agent_reasoning_raw_content_delta",
        "exec_command_output_delta",
        "terminal_interaction",
        "turn_diff",
        "mcp_startup_update",
        "mcp_startup_complete",
        "exec_approval_request",
        "apply_patch_approval_request",
        "elicitation_request",
        "request_user_input",
        "shutdown_complete",
        "get_history_entry_response",
        "list_custom_prompts_response",
        "mcp_list_tools_response",
        "raw_response_item",
        "plan_delta",
        "patch_apply_updated",
        "skills_update_available",
        "conversation_path",
        "background_event",
    )
)


class Legacy:
    """The events of one session in this dialect, in their order."""

    def __init__(self) -> None:
        self._turns = Turns()
        self.patches: dict[str, tuple[FileChange, ...]] = {}

    def feed(self, message: Json, turn_id: str | None) -> list[Event]:
        """`message`: what is in `msg`; `turn_id`: the `id` beside it."""
        what = name(message.get("type")) or ""
        match what:
            case "task_started" | "turn_started":
                return self._turns.start(turn_id)
            case "task_complete" | "turn_complete":
                return self._turns.end("completed", turn_id)
            case "turn_aborted":
                return self._turns.end("aborted", turn_id, output(message.get("reason")))
            case "error":
                return self._error(message, turn_id)
            case "patch_apply_begin":
                return self._patch(message)
            case "patch_apply_end":
                return self._patched(message)
            case "user_message":
                prompt = output(message.get("message"))
                return [Prompted(prompt, turn_id)] if prompt else []
        if read := _READ.get(what):
            return read(message)
        return [] if what in _QUIET else [Unknown(what or "event")]

    def _error(self, message: Json, turn_id: str | None) -> list[Event]:
        """It ends the turn, if one is open: the `task_complete` that may follow says nothing of it."""
        why = reason(message) or "error"
        ended = self._turns.end("failed", turn_id, why) if self._turns.is_open else []
        return [Failure(why), *ended]

    def _patch(self, message: Json) -> list[Event]:
        call_id, found = _call(message), changes(message.get("changes"))
        if len(self.patches) < MAX_OPEN_PATCHES:
            self.patches[call_id] = found
        return [FilesChanged(found, call_id)]

    def _patched(self, message: Json) -> list[Event]:
        """Older releases say here no more which files it was."""
        call_id, ok = _call(message), message.get("success")
        found = self.patches.pop(call_id, ()) or changes(message.get("changes"))
        return [FilesChanged(found, call_id, ok if isinstance(ok, bool) else None)]


def _session(message: Json) -> list[Event]:
    session_id = name(pick(message, "session_id", "thread_id"))
    return [SessionStarted(session_id, name(message.get("model")))] if session_id else []


def _retry(message: Json) -> list[Event]:
    return [Failure(reason(message) or "stream error", retrying=True)]


def _warning(message: Json) -> list[Event]:
    return [Failure(reason(message) or output(message.get("summary")) or "warning", source="warning")]


def _said(message: Json) -> list[Event]:
    said = output(message.get("message"))
    return [Message(said)] if said else []


def _said_piece(message: Json) -> list[Event]:
    said = output(message.get("delta"))
    return [Message(said, delta=True)] if said else []


def _thought(message: Json) -> list[Event]:
    thought = output(message.get("text"))
    return [Reasoning(thought)] if thought else []


def _thought_piece(message: Json) -> list[Event]:
    thought = output(message.get("delta"))
    return [Reasoning(thought, delta=True)] if thought else []


def _command(message: Json) -> list[Event]:
    return [ToolStarted(_call(message), SHELL, command(message.get("command")), name(message.get("cwd")))]


def _command_done(message: Json) -> list[Event]:
    both = [text for text in (message.get("stdout"), message.get("stderr")) if isinstance(text, str)]
    return [
        ToolEnded(
            _call(message),
            SHELL,
            command(message.get("command")),
            output(message.get("aggregated_output")) or output("".join(both)),
            code := integer(message.get("exit_code")),
            duration_ms(message.get("duration")),
            ok=None if code is None else code == 0,
        )
    ]


def _mcp(message: Json) -> list[Event]:
    return [ToolStarted(_call(message), mcp_tool(message.get("invocation")))]


def _mcp_done(message: Json) -> list[Event]:
    result, took_ms = message.get("result"), duration_ms(message.get("duration"))
    said = joined(member(result, "Ok", "content")) or output(pick(result, "Err"))
    ok = isinstance(result, dict) and "Ok" in result and member(result, "Ok", "is_error") is not True
    called = mcp_tool(message.get("invocation"))
    return [ToolEnded(_call(message), called, output=said, duration_ms=took_ms, ok=ok)]


def _search(message: Json) -> list[Event]:
    return [ToolStarted(_call(message), "web_search")]


def _search_done(message: Json) -> list[Event]:
    return [ToolEnded(_call(message), "web_search", output=output(message.get("query")))]


def _plan(message: Json) -> list[Event]:
    return [PlanUpdated(steps(message.get("plan")))]


def _used(message: Json) -> list[Event]:
    """Before 0.3x the counts lay bare, and were those of the last response."""
    known = message.get("info") or {}
    total = tokens(pick(known, "total_token_usage"))
    last = tokens(pick(known, "last_token_usage") or message)
    return [Used(total, last, count(pick(known, "model_context_window")))] if total or last else []


def _call(message: Json) -> str:
    return name(message.get("call_id")) or ""


_READ: dict[str, Callable[[Json], list[Event]]] = {
    "session_configured": _session,
    "stream_error": _retry,
    "warning": _warning,
    "deprecation_notice": _warning,
    "agent_message": _said,
    "assistant_message": _said,
    "agent_message_delta": _said_piece,
    "agent_reasoning": _thought,
    "agent_reasoning_delta": _thought_piece,
    "exec_command_begin": _command,
    "exec_command_end": _command_done,
    "mcp_tool_call_begin": _mcp,
    "mcp_tool_call_end": _mcp_done,
    "web_search_begin": _search,
    "web_search_end": _search_done,
    "plan_update": _plan,
    "token_count": _used,
}
