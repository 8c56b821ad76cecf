"""Items of a Codex turn -> session events. Pure.

`command_execution` of exec, `commandExecution` of app-server, `CommandExecution` of a rollout.
"""

from typing import Any

from fleet_agent.control.events import (
    Event,
    Failure,
    FilesChanged,
    Message,
    Prompted,
    Reasoning,
    ToolEnded,
    ToolStarted,
    Unknown,
)
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
)

SHELL = "exec_command"  # codex's own word for its shell tool; items do not say it
_MESSAGES = ("agentmessage", "assistantmessage", "plan")  # plan: what plan mode proposes, a text
_CALLS = (
    "commandexecution",
    "mcptoolcall",
    "dynamictoolcall",
    "collabtoolcall",
    "collabagenttoolcall",
    "websearch",
    "imagegeneration",
)
_WORDS = {"commandexecution": SHELL, "websearch": "web_search", "imagegeneration": "image_generation"}
_OK = {"completed": True, "failed": False, "declined": False, "interrupted": False}


def kind(item: Json) -> str:
    """The item's type in one spelling. Releases around 0.40 called the member `item_type`."""
    return (name(pick(item, "type", "item_type")) or "").replace("_", "").lower()


def begun(item: Json) -> list[Event]:
    """What the start of an item tells."""
    what, item_id = kind(item), name(item.get("id"))
    if what in _CALLS:
        return [ToolStarted(item_id or "", _tool(item), command(item.get("command")), _directory(item))]
    if what == "filechange":
        return [FilesChanged(changes(item.get("changes")), item_id)]
    return []


def done(item: Json, turn_id: str | None = None) -> list[Event]:
    """What the end of an item tells."""
    what, item_id = kind(item), name(item.get("id"))
    if what in _CALLS:
        return [_result(item)]
    if what == "filechange":
        return [FilesChanged(changes(item.get("changes")), item_id, _ok(item))]
    if what in _MESSAGES:
        said = output(item.get("text")) or joined(item.get("content"))
        return [Message(said, item_id)] if said else []
    if what == "reasoning":
        thought = output(item.get("text")) or joined(pick(item, "summary", "summary_text", "content"))
        return [Reasoning(thought, item_id)] if thought else []
    return _rest(item, what, turn_id)


def _rest(item: Json, what: str, turn_id: str | None) -> list[Event]:
    if what == "usermessage":
        prompt = joined(item.get("content"))
        return [Prompted(prompt, turn_id)] if prompt else []
    if what == "error":  # as an item it is a warning: the turn goes on
        return [Failure(reason(item) or "", source="warning")]
    return [Unknown(name(pick(item, "type", "item_type")) or "item")]


def _result(item: Json) -> ToolEnded:
    result = pick(item, "result", "contentItems")
    printed = output(pick(item, "aggregated_output", "aggregatedOutput"))
    return ToolEnded(
        name(item.get("id")) or "",
        _tool(item),
        command(item.get("command")),
        printed or joined(pick(result, "content") or result) or reason(item.get("error")),
        integer(pick(item, "exit_code", "exitCode")),
        duration_ms(pick(item, "durationMs", "duration_ms", "duration")),
        _ok(item),
    )


def _tool(item: Json) -> str:
    what = kind(item)
    if what == "mcptoolcall":
        return mcp_tool(item)
    return _WORDS.get(what) or name(item.get("tool")) or what


def mcp_tool(called: Any) -> str:
    """A tool of an MCP server, as codex itself names it to the model."""
    return name(f"mcp__{name(pick(called, 'server'))}.{name(pick(called, 'tool'))}") or "mcp"


def _directory(item: Json) -> str | None:
    """In a rollout it is a URI."""
    return (name(item.get("cwd")) or "").removeprefix("file://") or None


def _ok(item: Json) -> bool | None:
    return _OK.get(name(item.get("status")) or "")
