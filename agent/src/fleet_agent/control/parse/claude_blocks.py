"""The messages of Claude Code, block by block -> session events. Pure.

A message is the same in what it prints (`claude`) and in what it writes down (`transcript`).
"""

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from fleet_agent.control.events import (
    Event,
    Failure,
    FileChange,
    FilesChanged,
    Message,
    PlanUpdated,
    Reasoning,
    Step,
    ToolEnded,
    ToolStarted,
)
from fleet_agent.control.parse.values import Json, joined, name, objects, output, pick, steps

MAX_BLOCKS = 1000  # of one message
_MAX_CALLS = 256  # that are under way
_WRITES = {"Write": "add", "Edit": "update", "MultiEdit": "update", "NotebookEdit": "update"}
_KINDS = {"create": "add", "update": "update"}  # of what is written, in the result
_EXIT_CODE = re.compile(r"Exit code (\d{1,4})$", re.ASCII | re.MULTILINE)


class _Call(msgspec.Struct, frozen=True):
    """A tool call that has no result yet. `path`: the file that it writes; `plan`: the plan that it makes."""

    name: str = ""
    command: str | None = None
    path: str | None = None
    plan: tuple[Step, ...] = ()


class Blocks:
    """The blocks of one session's messages, in their order: a result is told with the call that it is of."""

    def __init__(self) -> None:
        self._calls: dict[str, _Call] = {}

    def said(self, message: Any, *, failed: bool) -> Iterator[Event]:
        """What a message of the assistant tells. `failed`: its text is why there is no answer."""
        message_id = name(pick(message, "id"))
        for block in objects(pick(message, "content"), MAX_BLOCKS):
            text, thought = output(block.get("text")), output(block.get("thinking"))
            match block.get("type"):
                case "text" if text:
                    yield Failure(text) if failed else Message(text, message_id)
                case "thinking" if thought:
                    yield Reasoning(thought, message_id)
                case "tool_use":
                    yield from self._call(block)

    def results(self, content: Any, result: Any) -> Iterator[Event]:
        """What came of calls. `result`: Claude Code's own word for it, beside the message."""
        for block in objects(content, MAX_BLOCKS):
            if block.get("type") == "tool_result":
                yield from self._answered(block, result)

    def _call(self, block: Json) -> Iterator[Event]:
        call_id, tool, given = name(block.get("id")) or "", name(block.get("name")) or "", block.get("input")
        path = name(pick(given, "file_path", "notebook_path")) if tool in _WRITES else None
        plan = steps(pick(given, "todos")) if tool == "TodoWrite" else ()
        call = _Call(tool, output(pick(given, "command")), path, plan)
        if len(self._calls) < _MAX_CALLS:
            self._calls[call_id] = call
        yield ToolStarted(call_id, tool, call.command)

    def _answered(self, block: Json, result: Any) -> Iterator[Event]:
        call_id, ok = name(block.get("tool_use_id")) or "", block.get("is_error") is not True
        call = self._calls.pop(call_id, _Call())
        said = joined(block.get("content"))
        yield ToolEnded(call_id, call.name, call.command, said, exit_code=_exit_code(call, said, ok), ok=ok)
        if call.path and ok:
            kind = _KINDS.get(name(pick(result, "type")) or "", _WRITES[call.name])
            yield FilesChanged((FileChange(call.path, kind),), call_id, ok)
        if call.plan and ok:
            yield PlanUpdated(call.plan)


def _exit_code(call: _Call, said: str | None, ok: bool) -> int | None:
    """A command's: 0 where it is said to be fine, else in the first line of what it said."""
    if call.name != "Bash":
        return None
    if ok:
        return 0
    found = _EXIT_CODE.match(said or "")
    return int(found[1]) if found else None
