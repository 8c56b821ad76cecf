"""From a request to the step of its script, and what that answers. Pure."""

import json
import re
import uuid
from collections.abc import Callable
from typing import NamedTuple

from lab.model_api import Json

MODIFIERS = ("SLOW", "WAIT", "HOLD", "CTX", "OUT")
_MODIFIER = re.compile(rf"\b({'|'.join(MODIFIERS)}) (\S+)")
_NOISE = re.compile(r"<system-reminder>.*?</system-reminder>", re.DOTALL)
_WRAPPED = re.compile(r"</?pasted_content[^>]*>")  # around a long paste
_TITLE = "You are a title generator"  # what OpenCode asks beside the first turn
_SUMMARIZE = "create a detailed summary"  # in what Claude Code asks when it compacts


class Step(NamedTuple):
    """One step of a script: what it does, its argument, and its modifiers."""

    verb: str
    argument: str
    modifiers: dict[str, str]

    def seconds(self, name: str) -> float:
        """The argument of a modifier that takes seconds."""
        return float(self.modifiers.get(name, "0"))

    def tokens(self, name: str) -> int | None:
        """The argument of a modifier that takes a number of tokens."""
        return int(self.modifiers[name]) if name in self.modifiers else None


class Reply(NamedTuple):
    """The content blocks of a message, and why it stops."""

    stop_reason: str
    blocks: list[Json]


def script_of(messages: list[Json]) -> tuple[str, int]:
    """The newest prompt of the user, and how many messages of the assistant came after it."""
    answered = 0
    for message in reversed(messages):
        if message.get("role") == "assistant":
            answered += 1
        elif message.get("role") == "user" and (prompt := _prompt(message.get("content"))):
            return prompt, answered
    return "", answered


def step_of(body: Json) -> tuple[str, Step]:
    """The script that a request is for, and its step."""
    script, answered = script_of(body.get("messages") or [])
    steps = script.split(";;")
    return script, parse(steps[answered]) if answered < len(steps) else Step("SAY", "all done", {})


def parse(text: str) -> Step:
    """One step. What follows AGENT is the script of a sub-agent, with its modifiers."""
    agent = re.search(r"\bAGENT(?:BG)?\b", text)
    own, nested = (text[: agent.start()], text[agent.start() :]) if agent else (text, "")
    modifiers = dict(_MODIFIER.findall(own))
    words = (_MODIFIER.sub("", own) + nested).strip()
    verb, _, argument = words.partition(" ")
    return Step(verb, argument.strip(), modifiers) if verb in VERBS else Step("", words, modifiers)


def answer(body: Json, step: Step) -> Reply:
    """What a request gets: of the schema it asks for, a summary if it compacts, else what its step says."""
    if schema := _schema(body):
        return Reply("end_turn", [_text(json.dumps(_fill(schema, "value")))])
    if any(_SUMMARIZE in text for message in (body.get("messages") or [])[-2:] for text in _texts(message)):
        return Reply("end_turn", [_text("<summary>\nA summary of the mock.\n</summary>")])
    return VERBS[step.verb](step.argument)


def is_aside(body: Json) -> bool:
    """Whether this is no part of the conversation: a title, say."""
    return _schema(body) is not None or _TITLE in json.dumps(body.get("system") or "")


def _prompt(content: object) -> str:
    texts = [_WRAPPED.sub("", _NOISE.sub("", text)).strip() for text in _texts({"content": content})]
    texts = [text for text in texts if text and not text.startswith("[Request interrupted")]
    if isinstance(content, list) and any(_kind(block) == "tool_result" for block in content):
        # behind results of tools, a text counts only if it is a script of its own: typed in mid-turn
        texts = [text for text in texts if parse(text).verb or ";;" in text]
    return texts[-1].strip('" \n') if texts else ""


def _texts(message: Json) -> list[str]:
    content = message.get("content")
    if isinstance(content, str):
        return [content]
    return [block.get("text", "") for block in content or [] if _kind(block) == "text"]


def _kind(block: object) -> str:
    return str(block.get("type")) if isinstance(block, dict) else ""


def _schema(body: Json) -> Json | None:
    asked = (body.get("output_config") or {}).get("format") or body.get("output_format") or {}
    return asked.get("schema") or None


def _fill(schema: Json, name: str) -> object:
    """Something that a JSON schema allows."""
    fixed = schema.get("const", (schema.get("enum") or [None])[0])
    if fixed is not None:
        return fixed
    if schema.get("type") == "object":
        return {key: _fill(inner, key) for key, inner in (schema.get("properties") or {}).items()}
    simple: dict[str, object] = {"array": [], "boolean": True, "number": 1, "integer": 1}
    return simple.get(str(schema.get("type")), f"mock {name}")


def _text(text: str) -> Json:
    return {"type": "text", "text": text}


def _thinking(text: str) -> Json:
    return {"type": "thinking", "thinking": text, "signature": "c2ln"}


def _call(name: str, arguments: Json) -> Json:
    return {"type": "tool_use", "id": f"toolu_mock{uuid.uuid4().hex[:18]}", "name": name, "input": arguments}


def _said(make: Callable[[str], list[Json]], stop_reason: str = "end_turn") -> Callable[[str], Reply]:
    return lambda argument: Reply(stop_reason, make(argument))


def _called(name: str, arguments: Callable[[str], Json]) -> Callable[[str], Reply]:
    return lambda argument: Reply("tool_use", [_call(name, arguments(argument))])


def _bash(command: str, **more: object) -> Json:
    return _call("Bash", {"command": command, "description": f"mock: {command[:40]}", **more})


def _words(argument: str, count: int) -> list[str]:
    return (argument.split(" ", count - 1) + [""] * count)[:count]


def _write(argument: str) -> Json:
    path, text = _words(argument, 2)
    return {"file_path": path, "content": text or "mock\n"}


def _edit(argument: str) -> Json:
    path, old, new = _words(argument, 3)
    return {"file_path": path, "old_string": old, "new_string": new}


def _task_update(argument: str) -> Json:
    task, status = _words(argument, 2)
    return {"taskId": task, "status": status or "completed"}


def _agent(argument: str) -> Json:
    script = argument.replace(",,", ";;")
    return {"description": "mock sub task", "prompt": script, "subagent_type": "general-purpose"}


def _any_tool(argument: str) -> Reply:
    name, arguments = _words(argument, 2)
    return Reply("tool_use", [_call(name, json.loads(arguments or "{}"))])


def _several(argument: str) -> Reply:
    calls = [_bash(command.strip()) for command in argument.split("|")]
    return Reply("tool_use", [_thinking("mock thinking"), _text("Several at once."), *calls])


def _big(argument: str) -> list[Json]:
    size = int(argument)
    return [_text(("0123456789abcde\n" * (size // 16 + 1))[:size])]


_TODOS = [
    {"content": f"{word} thing", "status": status, "activeForm": f"Doing {word.lower()} thing"}
    for word, status in (("First", "completed"), ("Second", "in_progress"), ("Third", "pending"))
]
_QUESTION = {
    "question": "Which colour?",
    "header": "Colour",
    "multiSelect": False,
    "options": [{"label": "Red", "description": "red"}, {"label": "Blue", "description": "blue"}],
}
_cut_short = _said(lambda _: [_text("about to fail " * 5)])

VERBS: dict[str, Callable[[str], Reply]] = {
    "": _said(lambda text: [_text("ok: " + (text[:200] or "done"))]),
    "SAY": _said(lambda text: [_text(text or "said")]),
    "THINK": _said(lambda text: [_thinking(f"thinking about {text}"), _text(f"thought: {text}")]),
    "BIG": _said(_big),
    "MAXTOK": _said(lambda _: [_text("cut short by max tokens")], "max_tokens"),
    "REFUSE": _said(lambda _: [_text("I can't")], "refusal"),
    "ERR": _said(lambda _: []),
    "ERRN": _said(lambda _: [_text("recovered after errors")]),
    "MIDERR": _cut_short,
    "CUT": _cut_short,
    "RUN": lambda command: Reply("tool_use", [_text("Running a command."), _bash(command)]),
    "RUNBG": lambda command: Reply("tool_use", [_bash(command, run_in_background=True)]),
    "MULTI": _several,
    "READ": _called("Read", lambda path: {"file_path": path}),
    "WRITE": _called("Write", _write),
    "EDIT": _called("Edit", _edit),
    "TODO": _called("TodoWrite", lambda _: {"todos": _TODOS}),
    "TASKNEW": _called("TaskCreate", lambda s: {"subject": s, "description": s, "activeForm": f"Doing {s}"}),
    "TASKUP": _called("TaskUpdate", _task_update),
    "ASK": _called("AskUserQuestion", lambda _: {"questions": [_QUESTION]}),
    "PLAN": _called("ExitPlanMode", lambda _: {"plan": "# Mock plan\n1. do it"}),
    "AGENT": _called("Agent", _agent),
    "AGENTBG": _called("Agent", lambda script: {**_agent(script), "run_in_background": True}),
    "TOOL": _any_tool,
}
