"""The server-sent events of one message, and the ways in which it can go wrong. Pure."""

import json
from collections.abc import Iterator
from typing import NamedTuple

from lab.mock_anthropic.steps import Reply, Step
from lab.model_api import Json

# https://docs.claude.com/en/api/errors
_ERRORS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}


class Pause(NamedTuple):
    """Wait so long."""

    seconds: float


class Cut(NamedTuple):
    """Close the connection."""


def message(message_id: str, body: Json, step: Step, reply: Reply) -> Json:
    """A message as one whole."""
    return {
        "id": message_id,
        "type": "message",
        "role": "assistant",
        "model": body.get("model"),
        "content": reply.blocks,
        "stop_reason": reply.stop_reason,
        "stop_sequence": None,
        "usage": {**_usage(body, step), "output_tokens": _output_tokens(step, reply)},
    }


def events(whole: Json, step: Step) -> Iterator[Json | Pause | Cut]:
    """The same message as a stream; with SLOW, spread over that time."""
    usage = {**whole["usage"], "output_tokens": 1}
    yield {"type": "message_start", "message": {**whole, "content": [], "stop_reason": None, "usage": usage}}
    yield {"type": "ping"}
    for index, block in enumerate(whole["content"]):
        yield from _block(index, block, step, step.seconds("SLOW") / len(whole["content"]))
    delta = {"stop_reason": whole["stop_reason"], "stop_sequence": None}
    yield {"type": "message_delta", "delta": delta, "usage": whole["usage"]}
    yield {"type": "message_stop"}


def refusal(step: Step, times: int) -> tuple[int, Json] | None:
    """The HTTP status and body with which a step fails at once, asked for so many times; None: it does not."""
    if step.verb not in ("ERR", "ERRN"):
        return None
    words = [int(word) for word in step.argument.split()]
    if step.verb == "ERRN" and times > words[1]:
        return None
    return words[0], error(_ERRORS.get(words[0], "api_error"), f"mock {words[0]}")


def error(kind: str, text: str) -> Json:
    """The body of an error, and the event of one."""
    return {"type": "error", "error": {"type": kind, "message": text}}


def _block(index: int, block: Json, step: Step, within_s: float) -> Iterator[Json | Pause | Cut]:
    start, kind, field, text = _parts(block)
    yield {"type": "content_block_start", "index": index, "content_block": start}
    pieces = max(1, int(within_s))
    size = max(1, -(-len(text) // pieces))
    for at in range(0, pieces * size, size):
        delta = {"type": kind, field: text[at : at + size]}
        yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield Pause(within_s / pieces)
        if step.verb == "MIDERR":
            yield error("overloaded_error", "mock mid-stream")
        if step.verb in ("MIDERR", "CUT"):
            yield Cut()
    if block["type"] == "thinking":
        signature = {"type": "signature_delta", "signature": block["signature"]}
        yield {"type": "content_block_delta", "index": index, "delta": signature}
    yield {"type": "content_block_stop", "index": index}


def _parts(block: Json) -> tuple[Json, str, str, str]:
    """How a block begins; the type and the field of its deltas; and all that they carry."""
    if block["type"] == "text":
        return {"type": "text", "text": ""}, "text_delta", "text", block["text"]
    if block["type"] == "thinking":
        begin = {"type": "thinking", "thinking": "", "signature": ""}
        return begin, "thinking_delta", "thinking", block["thinking"]
    return {**block, "input": {}}, "input_json_delta", "partial_json", json.dumps(block["input"])


def _usage(body: Json, step: Step) -> Json:
    """What a cache would do: the last message is new, the rest was read."""
    messages = body.get("messages") or []
    new = _tokens(messages[-1:])
    rest = _tokens([body.get("system"), body.get("tools"), messages[:-1]])
    cached = step.tokens("CTX")
    return {
        "input_tokens": 3,
        "cache_creation_input_tokens": new,
        "cache_read_input_tokens": rest if cached is None else cached,
        "service_tier": "standard",
    }


def _output_tokens(step: Step, reply: Reply) -> int:
    told = step.tokens("OUT")
    return sum(_tokens(block) for block in reply.blocks) if told is None else told


def _tokens(value: object) -> int:
    return max(1, len(json.dumps(value)) // 4)
