"""From a request to what the prompt in it asks for: steps and directives. Pure."""

import json
import re
from typing import NamedTuple

from lab.model_api import Json

WORDS = (
    "SAY", "NOTE", "SLOW", "HOLD", "STREAM", "REASON", "TOOL", "BG", "ESC", "PATCH", "PLAN", "ASK", "SPAWN",
    "WAITAGENT", "CALL", "JS", "BIG", "USAGE", "LIMIT", "FAIL",
)  # fmt: skip
VERBATIM = ("JS", "CALL")  # take the rest of the step as it stands
_WORD = re.compile(rf"(?<![A-Za-z_])({'|'.join(WORDS)})(?![A-Za-z_])")

# Prefixes of user messages that Codex itself injects: they are not the prompt.
_INJECTED = (
    "<environment_context>", "<user_instructions>", "# AGENTS.md", "<ENVIRONMENT", "<turn_aborted>",
    "<subagent_notification>", "<user_shell_command>", "<skills", "<permissions", "<INSTRUCTIONS>", "<goal",
)  # fmt: skip


class Directive(NamedTuple):
    """One word of `WORDS` and its argument."""

    word: str
    argument: str


class Step(NamedTuple):
    """What one model request is asked to answer."""

    prompt: str
    directives: list[Directive]

    def argument(self, word: str) -> str | None:
        """The argument of the first directive with this word; None if there is none."""
        return next((d.argument for d in self.directives if d.word == word), None)

    def seconds(self, word: str) -> float:
        """The sum of the arguments of a directive that takes seconds."""
        return sum(float(d.argument.split()[0]) for d in self.directives if d.word == word and d.argument)


def step_of(body: Json) -> Step:
    """The step of the last prompt that this request is for."""
    items = body.get("input") or []
    if isinstance(items, str):
        items = [{"type": "message", "role": "user", "content": items}]
    last = max((i for i, item in enumerate(items) if _is_prompt(item)), default=-1)
    prompt = _text(items[last]) if last >= 0 else ""
    answered = sum(str(item.get("type", "")).endswith("_output") for item in items[last + 1 :])
    steps = split_steps(prompt)
    return Step(prompt, directives(steps[answered]) if answered < len(steps) else [])


def split_steps(prompt: str) -> list[str]:
    """The prompt cut at every ';;' outside of braces."""
    masked = _mask_braces(prompt)
    cuts = [match.start() for match in re.finditer(";;", masked)]
    starts, ends = [0, *(cut + 2 for cut in cuts)], [*cuts, len(prompt)]
    return [prompt[start:end] for start, end in zip(starts, ends, strict=True)]


def directives(step: str) -> list[Directive]:
    """The directives of a step; an argument runs to the next word (outside of braces) or to the end."""
    words = list(_WORD.finditer(_mask_braces(step)))
    ends = [*(word.start() for word in words[1:]), len(step)]
    found = []
    for word, end in zip(words, ends, strict=False):
        verbatim = word.group() in VERBATIM
        argument = step[word.end() : len(step) if verbatim else end]
        found.append(Directive(word.group(), argument.strip()))
        if verbatim:
            break
    return found


def _mask_braces(text: str) -> str:
    """The text with everything inside {...} blotted out; the same length."""
    masked, depth = [], 0
    for char in text:
        depth += char == "{"
        masked.append("\0" if depth else char)
        depth = max(0, depth - (char == "}"))
    return "".join(masked)


def _is_prompt(item: Json) -> bool:
    if item.get("type") == "agent_message":  # multi-agent v2: only a task handed to a child
        return "Message Type: NEW_TASK" in json.dumps(item)
    said_by_user = item.get("type") in (None, "message") and item.get("role") == "user"
    return said_by_user and not _text(item).lstrip().startswith(_INJECTED)


def _text(item: Json) -> str:
    content = item.get("content") or []
    if isinstance(content, str):
        return content
    parts = [
        part.get("text") or part.get("encrypted_content") or "" for part in content if isinstance(part, dict)
    ]
    text = "\n".join(parts)
    if item.get("type") == "agent_message" and "Payload:" in text:
        return text.split("Payload:", 1)[1]
    return text
