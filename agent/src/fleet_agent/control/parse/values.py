"""Values of foreign JSON, as the control wire carries them: what is of no use is None, never an error. Pure."""

import re
import shlex
from typing import Any, TypeAlias

import msgspec

from fleet_agent.control.events import MAX_OUTPUT_CHARS, Failure, FileChange, Step
from fleet_agent.fields import count, text
from fleet_agent.wire import Tokens

Json: TypeAlias = dict[str, Any]

MAX_SHOWN_BYTES = 200  # of a line that cannot be read, in what is said of it
MAX_CHANGES = 500  # files of one patch
MAX_STEPS = 100  # of one plan
_MAX_EXIT_CODE = 1 << 32

# Every escape of a JSON text; group 1 is half of a surrogate pair without its other half.
_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F]|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.DOTALL
)
_KINDS = {"create": "add", "edit": "update", "modify": "update", "move": "update", "remove": "delete"}
_STEPS = {"inProgress": "in_progress", "done": "completed"}


def decode(line: bytes) -> Json | Failure:
    """The JSON object of a line, or what to say of a line that has none."""
    try:
        value = _decoded(line)
    except (ValueError, RecursionError):
        return unreadable("A line is no JSON", line, len(line))
    return value if isinstance(value, dict) else unreadable("A line is no JSON object", line, len(line))


def _decoded(line: bytes) -> Any:
    try:
        return msgspec.json.decode(line)
    except ValueError:
        return msgspec.json.decode(_without_lone_surrogates(line))


def unreadable(why: str, head: bytes, size_bytes: int) -> Failure:
    """`head` is shown, cut; `size_bytes`: of the whole line."""
    shown = head[:MAX_SHOWN_BYTES].decode(errors="replace")
    return Failure(f"{why} ({size_bytes} bytes): {shown}", source="stream", dropped_bytes=size_bytes)


def _without_lone_surrogates(line: bytes) -> bytes:
    r"""JavaScript that cuts a text within an emoji writes a lone \ud83d, which has no UTF-8."""
    return _ESCAPE.sub(lambda found: rb"\ufffd" if found[1] else found[0], line)


def pick(value: Any, *names: str) -> Any:
    """The first of these members of an object that is there and not null."""
    if isinstance(value, dict):
        for name in names:
            if value.get(name) is not None:
                return value[name]
    return None


def objects(value: Any, most: int) -> list[Json]:
    """The objects of an array, `most` at most."""
    return [item for item in value[:most] if isinstance(item, dict)] if isinstance(value, list) else []


def output(value: Any) -> str | None:
    """A text of any length: its end, where the news is. None if it is none, or empty."""
    return value[-MAX_OUTPUT_CHARS:] if isinstance(value, str) and value else None


def name(value: Any) -> str | None:
    """A short text, or the id that a number is."""
    if isinstance(value, int) and not isinstance(value, bool):
        return text(str(value))
    return text(value)


def integer(value: Any) -> int | None:
    """An exit code; negative ones are met."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    return value if whole and abs(value) < _MAX_EXIT_CODE else None


def command(value: Any) -> str | None:
    """A command line, from text or from an argv."""
    if isinstance(value, list) and all(isinstance(word, str) for word in value):
        return output(shlex.join(value))
    return output(value)


def duration_ms(value: Any) -> int | None:
    """A duration: milliseconds, or Rust's {"secs","nanos"}."""
    if isinstance(value, dict):
        seconds, nanos = count(value.get("secs")), count(value.get("nanos"))
        return None if seconds is None else count(seconds * 1000 + (nanos or 0) // 1_000_000)
    return count(value)


def tokens(value: Any) -> Tokens | None:
    """Codex's counts, in either spelling: cached input is a part of the input, reasoning of the output."""
    asked = count(pick(value, "input_tokens", "inputTokens"))
    said = count(pick(value, "output_tokens", "outputTokens"))
    if asked is None and said is None:
        return None
    asked, said = asked or 0, said or 0
    cached = count(pick(value, "cached_input_tokens", "cachedInputTokens")) or 0
    thought = count(pick(value, "reasoning_output_tokens", "reasoningOutputTokens")) or 0
    return Tokens(asked, min(cached, asked), said, min(thought, said), asked + said)


def changes(value: Any) -> tuple[FileChange, ...]:
    """The files of a patch: [{"path","kind"}]; {path: {"type": kind}} or {path: {kind: ...}} of old."""
    if isinstance(value, dict):
        value = [{"path": path, "kind": kind} for path, kind in list(value.items())[:MAX_CHANGES]]
    found = [(name(item.get("path")), _kind(item.get("kind"))) for item in objects(value, MAX_CHANGES)]
    return tuple(FileChange(path, kind) for path, kind in found if path)


def _kind(value: Any) -> str:
    if isinstance(value, dict):
        value = value.get("type") or next(iter(value), None)
    word = name(value) or "update"
    return _KINDS.get(word, word)


def steps(value: Any) -> tuple[Step, ...]:
    """A plan: {"step","status"} of codex, {"text","completed"} of its exec, {"content","status"} of claude."""
    items = objects(value, MAX_STEPS)
    found = [(name(pick(item, "step", "text", "content")), _status(item)) for item in items]
    return tuple(Step(words, status) for words, status in found if words)


def _status(item: Json) -> str:
    if isinstance(item.get("completed"), bool):
        return "completed" if item["completed"] else "pending"
    word = name(item.get("status")) or "pending"
    return _STEPS.get(word, word)


def joined(value: Any) -> str | None:
    """The texts of a message or of a result: a text, or an array of texts and of {"text"} blocks."""
    if isinstance(value, list):
        texts = [block if isinstance(block, str) else pick(block, "text") for block in value]
        value = "\n".join(found for found in texts if isinstance(found, str))
    return output(value)


def reason(error: Any) -> str | None:
    """Why something failed: a text, or {"message"} with details that the message may lack."""
    message = output(pick(error, "message"))
    details = output(pick(error, "additionalDetails", "additional_details"))
    if message and details and details not in message:
        return output(f"{message} ({details})")
    return message or details or output(error)
