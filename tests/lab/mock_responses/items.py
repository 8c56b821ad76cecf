"""The output items of a response: messages, reasoning and calls of the tools that the client offers. Pure."""

import json
import re
import uuid
from collections.abc import Callable

from lab.mock_responses.directives import Directive, Step
from lab.model_api import Json

_PLAN = [
    {"step": "look", "status": "completed"},
    {"step": "do", "status": "in_progress"},
    {"step": "check", "status": "pending"},
]
_OPTIONS = [{"label": "Alpha", "description": "first"}, {"label": "Beta", "description": "second"}]


class Offer:
    """The tools that a request offers, and how to call them."""

    def __init__(self, body: Json) -> None:
        self._tools: dict[str, tuple[Json, str | None]] = {}  # name -> (tool, namespace)
        for tool in _offered(body):
            if tool.get("type") == "namespace":
                for inner in tool.get("tools") or []:
                    self._tools.setdefault(inner.get("name", ""), (inner, tool.get("name")))
            else:
                self._tools[tool.get("name") or tool.get("type", "")] = (tool, None)
        self.text = json.dumps(body)

    def __contains__(self, name: str) -> bool:
        return name in self._tools

    def kind(self, name: str) -> str:
        """`function` or `custom`."""
        tool, _ = self._tools.get(name, ({}, None))
        return str(tool.get("type", "function"))

    def parameters(self, name: str) -> Json:
        """The properties of a tool's arguments."""
        tool, _ = self._tools.get(name, ({}, None))
        properties: Json = (tool.get("parameters") or {}).get("properties") or {}
        return properties

    def call(self, name: str, arguments: Json) -> Json:
        """A call of this tool, by itself if it is offered, else from code mode's `exec`."""
        if name in self._tools or "exec" not in self._tools:
            return function_call(name, json.dumps(arguments), self._namespace(name))
        return code_mode(f"text(JSON.stringify(await tools.{self._code_name(name)}({json.dumps(arguments)})));")

    def _namespace(self, name: str) -> str | None:
        if name in self._tools:
            return self._tools[name][1]
        # a deferred namespace (found by tool_search) is not in the list and can be called all the same
        return "multi_agent_v1" if name.endswith("_agent") and "multi_agent_v1" in self.text else None

    def _code_name(self, name: str) -> str:
        return f"collaboration__{name}" if f"collaboration__{name}" in self.text else name


def outputs(body: Json, step: Step) -> list[Json]:
    """The output items of this step; the prompt repeated if it says nothing and calls nothing."""
    offer = Offer(body)
    found = [_BUILDERS[d.word](offer, d) for d in step.directives if d.word in _BUILDERS]
    if all(item["type"] == "reasoning" for item in found):
        found.append(message("ok: " + step.prompt.strip()[:200], "final_answer"))
    return found


def message(text: str, phase: str) -> Json:
    """An assistant message; `phase` is commentary or final_answer."""
    content = [{"type": "output_text", "text": text, "annotations": []}]
    return {"type": "message", "id": _id("msg"), "role": "assistant", "content": content, "phase": phase}


def function_call(name: str, arguments: str, namespace: str | None = None) -> Json:
    """A call of a function tool; `arguments` is JSON text."""
    item = {
        "type": "function_call",
        "id": _id("fc"),
        "name": name,
        "arguments": arguments,
        "call_id": _id("call"),
    }
    return item | ({"namespace": namespace} if namespace else {})


def custom_call(name: str, text: str) -> Json:
    """A call of a custom tool, which takes free text."""
    return {
        "type": "custom_tool_call",
        "id": _id("ctc"),
        "status": "completed",
        "call_id": _id("call"),
        "name": name,
        "input": text,
    }


def code_mode(source: str) -> Json:
    """A code-mode call: JavaScript in which `tools` holds the other tools."""
    return custom_call("exec", source)


def _id(prefix: str) -> str:
    return f"{prefix}_{uuid.uuid4().hex[:20]}"


def _offered(body: Json) -> list[Json]:
    tools: list[Json] = list(body.get("tools") or [])
    for item in body.get("input") or []:
        if isinstance(item, dict) and item.get("type") == "additional_tools":
            tools += item.get("tools") or []
    return tools


def _shell(offer: Offer, directive: Directive) -> Json:
    """A shell command, with whichever of the shell tools that Codex has had over the years is offered."""
    command = directive.argument
    more: Json = {"yield_time_ms": 300} if directive.word == "BG" else {}
    if directive.word == "ESC":
        more["sandbox_permissions"] = "require_escalated"
        more["justification"] = "mock wants to run this outside the sandbox"
    if "exec_command" in offer:
        return offer.call("exec_command", {"cmd": command} | more)
    if "shell_command" in offer:
        return offer.call("shell_command", {"command": command} | more)
    if "shell" in offer:
        return offer.call("shell", {"command": ["bash", "-lc", command]} | more)
    if "exec" in offer:
        arguments = json.dumps({"cmd": command} | more)
        return code_mode(f"const r = await tools.exec_command({arguments});\ntext(r.output);")
    return message("(mock: no shell tool offered)", "final_answer")


def _patch(offer: Offer, directive: Directive) -> Json:
    name = directive.argument or "mock.txt"
    patch = f"*** Begin Patch\n*** Add File: {name}\n+hello from mock\n+second line\n*** End Patch\n"
    if "apply_patch" not in offer and "exec" in offer:
        return code_mode(f"const r = await tools.apply_patch({json.dumps(patch)});\ntext(r);")
    if "apply_patch" not in offer:
        return _shell(offer, Directive("TOOL", f"apply_patch <<'EOF'\n{patch}EOF"))
    if offer.kind("apply_patch") == "custom":
        return custom_call("apply_patch", patch)
    return offer.call("apply_patch", {"input": patch})


def _ask(offer: Offer, directive: Directive) -> Json:
    question = directive.argument or "Which one?"
    asked = {"id": "q1", "header": "Choice", "question": question, "options": _OPTIONS}
    return offer.call("request_user_input", {"questions": [asked]})


def _spawn(offer: Offer, directive: Directive) -> Json:
    child = directive.argument.strip()
    if child.startswith("{"):
        child = child[1 : child.rindex("}")]
    arguments: Json = {"message": child}
    if "task_name" in offer.parameters("spawn_agent"):
        arguments["task_name"] = f"child_{uuid.uuid4().hex[:4]}"
    if "ROLE=" in child:
        arguments["agent_type"] = child.split("ROLE=")[1].split()[0]
    return offer.call("spawn_agent", arguments)


def _wait_agent(offer: Offer, _: Directive) -> Json:
    spawned = re.findall(r'\\*"agent_id\\*":\s*\\*"([0-9a-f-]{36})', offer.text)
    arguments: Json = {"timeout_ms": 20000}
    if spawned:
        arguments["targets"] = spawned[-1:]
    return offer.call("wait_agent", arguments)


def _call(offer: Offer, directive: Directive) -> Json:
    name, _, arguments = directive.argument.partition(" ")
    namespace, _, name = name.rpartition("/")  # "namespace/name" for deferred (MCP) tools
    if namespace:
        return function_call(name, arguments or "{}", namespace)
    return offer.call(name, json.loads(arguments or "{}"))


def _reason(_: Offer, directive: Directive) -> Json:
    summary = {"type": "summary_text", "text": f"**Thinking**\n\n{directive.argument or 'hmm'}"}
    return {
        "type": "reasoning",
        "id": _id("rs"),
        "summary": [summary],
        "content": None,
        "encrypted_content": "ENCRYPTED",
    }


_BUILDERS: dict[str, Callable[[Offer, Directive], Json]] = {
    "REASON": _reason,
    "NOTE": lambda _, d: message(d.argument, "commentary"),
    "SAY": lambda _, d: message(d.argument, "final_answer"),
    "BIG": lambda _, d: message("x" * int(d.argument or 100_000), "final_answer"),
    "TOOL": _shell,
    "BG": _shell,
    "ESC": _shell,
    "PATCH": _patch,
    "PLAN": lambda offer, _: offer.call("update_plan", {"explanation": "mock plan", "plan": _PLAN}),
    "ASK": _ask,
    "SPAWN": _spawn,
    "WAITAGENT": _wait_agent,
    "CALL": _call,
    "JS": lambda _, d: code_mode(d.argument),
}
