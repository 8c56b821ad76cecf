"""A tool call of a Codex model, and what came of it, as its history has them -> values of session events. Pure.

The history is what the model sees: arguments are a JSON text, a result is a text with a head that differs from
release to release. Measured on 0.21 to 0.169.
"""

import re
from typing import Any

import msgspec

from fleet_agent.control.events import FileChange, ToolStarted
from fleet_agent.control.parse.items import SHELL
from fleet_agent.control.parse.values import (
    MAX_CHANGES,
    Json,
    command,
    integer,
    name,
    output,
    pick,
)
from fleet_agent.fields import count, member

_HEAD_CHARS = 2000
_HEAD_LINES = (
    r"Chunk ID: [^\n]*|Wall time:? [^\n]*|Exit code: [^\n]*|Original token count: [^\n]*"
    r"|Total output lines: [^\n]*|Process (?:exited|running) with [^\n]*|Script \w+"
)
_HEAD = re.compile(rf"(?:Command: (?s:.*?)\n(?=Chunk ID: ))?(?:(?:{_HEAD_LINES})\n)+Output:\n?")
_EXIT_CODE = re.compile(r"^(?:Exit code:|Process exited with code) (-?\d{1,10})$", re.MULTILINE)
_WALL_TIME = re.compile(r"^Wall time:? (\d{1,9}(?:\.\d{1,9})?)", re.MULTILINE)
_RUNNING = re.compile(r"^Process running with session ID", re.MULTILINE)
_REFUSED = re.compile(r"(?:Wall time:? [^\n]*\n)?(?:\w{1,40} failed: |unsupported |aborted by user)")
_PATCHED = re.compile(r"^\*\*\* (Add|Update|Delete) File: (.+)$", re.MULTILINE)
_KINDS = {"Add": "add", "Update": "update", "Delete": "delete"}


class Result(msgspec.Struct, frozen=True):
    """What came of a call. `running`: it was only put into the background."""

    text: str | None
    exit_code: int | None = None
    duration_ms: int | None = None
    ok: bool | None = None
    running: bool = False


def started(payload: Json) -> ToolStarted:
    """The call that a `function_call`, `custom_tool_call` or `local_shell_call` is."""
    given = arguments(payload)
    action = payload.get("action")
    run = command(pick(given, "cmd", "command")) or command(pick(action, "command"))
    tool = name(payload.get("name")) or SHELL
    space = name(payload.get("namespace"))
    where = name(pick(given, "workdir")) or name(pick(action, "working_directory"))
    return ToolStarted(
        name(payload.get("call_id")) or "", name(f"{space}.{tool}") or "" if space else tool, run, where
    )


def arguments(payload: Json) -> Any:
    """What a call was given; None if that is no JSON."""
    try:
        return msgspec.json.decode(payload.get("arguments") or b"null")
    except (TypeError, ValueError, RecursionError):
        return None


def patched(patch: Any) -> tuple[FileChange, ...]:
    """The files of a patch in Codex's own format."""
    found = _PATCHED.findall(patch) if isinstance(patch, str) else []
    named = [(name(path), _KINDS[kind]) for kind, path in found[:MAX_CHANGES]]
    return tuple(FileChange(path, kind) for path, kind in named if path)


def result(value: Any) -> Result:
    """What a call's output says: a text, or a list of them."""
    if isinstance(value, list):
        texts = [text for part in value if isinstance(text := pick(part, "text"), str)]
        value = "\n".join(texts)
    if not isinstance(value, str):
        return Result(None)
    return _old_result(value) or _new_result(value)


def _old_result(text: str) -> Result | None:
    """Up to 0.11x a command's is JSON: {"output", "metadata": {"exit_code", "duration_seconds"}}."""
    if not text.startswith('{"output":'):
        return None
    try:
        found = msgspec.json.decode(text)
    except (ValueError, RecursionError):
        return None
    code = integer(member(found, "metadata", "exit_code"))
    took_s = member(found, "metadata", "duration_seconds")
    took_ms = count(took_s * 1000) if isinstance(took_s, int | float) else None
    return Result(output(member(found, "output")), code, took_ms, _ok(code))


def _new_result(text: str) -> Result:
    head, body = "", text
    while found := _HEAD.match(body[:_HEAD_CHARS]):  # a patch by the shell has two
        head, body = head + found[0], body[found.end() :]
    code, took = _EXIT_CODE.search(head), _WALL_TIME.search(head or text[:_HEAD_CHARS])
    exit_code = integer(int(code[1])) if code else None
    refused = code is None and _REFUSED.match(body[:_HEAD_CHARS]) is not None
    return Result(
        output(body),
        exit_code,
        count(float(took[1]) * 1000) if took else None,
        False if refused else _ok(exit_code),
        _RUNNING.search(head) is not None,
    )


def _ok(code: int | None) -> bool | None:
    return None if code is None else code == 0
