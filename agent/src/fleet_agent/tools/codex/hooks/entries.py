"""hooks.json with fleet's entries and without them. Pure: text in, text out.

The form, as Codex 0.145 to 0.169 read it: `{"hooks": {EVENT: [GROUP, ...]}}`, a group `{"matcher"?: regular
expression over the tool's name, "hooks": [HANDLER, ...]}`, a handler `{"type": "command", "command": a line for
the shell, "timeout": whole seconds}`. Codex refuses the whole file for a key at its top that it does not know,
so only their command marks the entries as fleet's. It remembers by its *place* which handler is trusted: so
fleet's come last, and where others follow them, an empty group stays behind.
"""

import json
import re
import shlex
from collections.abc import Iterator
from typing import Any

import msgspec

# What is installed: the event, and of which tools. Both only come when a person is about to be asked.
WANTED = (("PermissionRequest", None), ("PreToolUse", "^request_user_input$"))
TIMEOUT_S = 5  # Codex's own is 600; this takes hundredths
RECORDER = "fleet_agent/tools/codex/hooks/record.py"

Json = dict[str, Any]


class Entry(msgspec.Struct, frozen=True):
    """One of fleet's handlers: where it is in the file, and what it is.

    `python`, `recorder` and `directory` are the words of its command line.
    """

    event: str
    group: int
    handler: int
    matcher: str | None
    definition: Json
    python: str
    recorder: str
    directory: str


def command(python: str, recorder: str, directory: str) -> str:
    """The command line of fleet's handlers. It ends with 0 even when the agent is gone, in any shell."""
    return shlex.join((python, "-ISB", recorder, directory)) + " || :"


def parse(text: str) -> Json:
    """The document. Raises `ValueError` when it has not the form of a hooks.json."""
    try:
        document = json.loads(text, object_pairs_hook=_unique)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    if not isinstance(document, dict):
        raise ValueError("it is not a JSON object")  # noqa: TRY004 - the file's fault, not the caller's
    hooks = document.get("hooks", {})
    if not isinstance(hooks, dict) or not all(isinstance(groups, list) for groups in hooks.values()):
        raise ValueError('"hooks" is not an object of lists, one for each event')
    return document


def render(document: Json, like: str) -> str:
    """The document as text, indented as `like` is."""
    found = re.search(r"\n([ \t]+)\S", like)
    indent = found[1] if found else 2 if "\n" in like.strip() or not like.strip() else None
    escaped = like.isascii() or "\\ud" in like.lower()  # half a surrogate pair has no other form
    text = json.dumps(document, indent=indent, ensure_ascii=escaped)
    return text + "\n" if like.endswith("\n") or not like else text


def ours(document: Json) -> Iterator[Entry]:
    """Fleet's handlers in a document of any form."""
    hooks = document.get("hooks")
    for event, groups in hooks.items() if isinstance(hooks, dict) else ():
        for g, group in enumerate(groups if isinstance(groups, list) else ()):
            matcher = group.get("matcher") if isinstance(group, dict) else None
            for h, handler in enumerate(_handlers(group)):
                words = _words(handler)
                if words:
                    yield Entry(event, g, h, matcher, handler, *words)


def with_ours(document: Json, line: str) -> Json:
    """The document with fleet's handlers, which run the command `line`; older ones of fleet are replaced."""
    hooks = dict(document.get("hooks", {}))
    for event, matcher in WANTED:
        hooks[event] = _with_group(hooks.get(event, []), _group(matcher, line))
    return {**document, "hooks": hooks}


def without_ours(document: Json) -> Json:
    """The document without fleet's handlers. What stands beside them stays, and stays in its place."""
    hooks = {event: _without_groups(groups) for event, groups in document.get("hooks", {}).items()}
    emptied = {event for event, groups in hooks.items() if not groups and document["hooks"][event]}
    return {**document, "hooks": {event: groups for event, groups in hooks.items() if event not in emptied}}


def _group(matcher: str | None, line: str) -> Json:
    handler = {"type": "command", "command": line, "timeout": TIMEOUT_S}
    return {**({"matcher": matcher} if matcher else {}), "hooks": [handler]}


def _with_group(groups: list[Any], wanted: Json) -> list[Any]:
    if wanted in groups:
        return groups
    places = [i for i, group in enumerate(groups) if len(_handlers(group)) == 1 and _words(group["hooks"][0])]
    if not places:
        return [*groups, wanted]
    return [*groups[: places[0]], wanted, *groups[places[0] + 1 :]]


def _without_groups(groups: list[Any]) -> list[Any]:
    left: list[Any] = []
    for group in reversed(groups):
        others = [handler for handler in _handlers(group) if not _words(handler)]
        if len(others) == len(_handlers(group)):
            left.append(group)
        elif others or left:
            left.append({**group, "hooks": others} if others else {"hooks": []})
    return left[::-1]


def _handlers(group: Any) -> list[Any]:
    handlers = group.get("hooks") if isinstance(group, dict) else None
    return handlers if isinstance(handlers, list) else []


def _words(handler: Any) -> tuple[str, str, str] | None:
    """Python, recorder and directory of a handler's command, if it is one of fleet's."""
    line = handler.get("command") if isinstance(handler, dict) else None
    if not isinstance(line, str) or RECORDER not in line:
        return None
    try:
        words = shlex.split(line)
    except ValueError:
        return None
    is_ours = len(words) >= 4 and words[2].endswith(f"/{RECORDER}")
    return (words[0], words[2], words[3]) if is_ours else None


def _unique(pairs: list[tuple[str, Any]]) -> Json:
    """An object. One that says a key twice would lose something when it is written again."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("an object in it has the same key twice")
    return found
