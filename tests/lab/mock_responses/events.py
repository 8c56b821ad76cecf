"""The server-sent events of one response, and the ways in which it can go wrong. Pure."""

import json
import re
import time
from collections.abc import Iterator
from typing import NamedTuple

from lab.mock_responses.directives import Step
from lab.mock_responses.items import outputs
from lab.model_api import Json

FOR_EVER = float("inf")


class Pause(NamedTuple):
    """Wait so long, keeping the connection alive."""

    seconds: float


class Hold(NamedTuple):
    """Wait until the test releases this name."""

    name: str


def events(body: Json, step: Step, failure: str | None, response_id: str) -> Iterator[Json | Pause | Hold]:
    """What is sent, in order. `failure` is the kind of a FAIL directive that strikes this time."""
    if failure == "DISCONNECT":
        return
    yield {"type": "response.created", "response": {"id": response_id}}
    if failure == "HANG":
        yield Pause(FOR_EVER)
    if failure == "CONTEXT":
        error = {"code": "context_length_exceeded", "message": "Your input exceeds the context window"}
        failed = {"id": response_id, "status": "failed", "error": error}
        yield {"type": "response.failed", "response": failed}
        return
    yield Pause(step.seconds("SLOW"))
    if held := step.argument("HOLD"):
        yield Hold(held)
    for index, item in enumerate(outputs(body, step)):
        yield from _item_events(index, item, step.seconds("STREAM"))
    if failure != "MIDSTREAM":
        completed = {"id": response_id, "usage": _usage(body, step)}
        yield {"type": "response.completed", "response": completed}


def refusal(failure: str | None) -> tuple[int, Json] | None:
    """The HTTP status and body with which a failure is answered at once; None if it strikes later or never."""
    if failure == "QUOTA":
        resets_at = int(time.time()) + 3600
        error = {"type": "usage_limit_reached", "message": "limit", "plan_type": "pro", "resets_at": resets_at}
        return 429, {"error": error}
    if failure is not None and failure.isdigit():
        message = f"mock failure {failure}"
        return int(failure), {"error": {"type": "mock_error", "code": f"mock_{failure}", "message": message}}
    return None


def rate_headers(step: Step) -> dict[str, str]:
    """The rate limit headers that Codex reads, with the percentages of a LIMIT directive."""
    used = (step.argument("LIMIT") or "").split()
    primary, secondary = (used + ["12.5", "40"][len(used) :])[:2]
    now = int(time.time())
    return {
        "x-codex-primary-used-percent": primary,
        "x-codex-primary-window-minutes": "300",
        "x-codex-primary-reset-at": str(now + 3600),
        "x-codex-secondary-used-percent": secondary,
        "x-codex-secondary-window-minutes": "10080",
        "x-codex-secondary-reset-at": str(now + 86400),
        "x-codex-credits-has-credits": "true",
        "x-codex-credits-unlimited": "false",
        "x-codex-credits-balance": "9.99",
        "x-codex-plan-type": "pro",
    }


def _item_events(index: int, item: Json, spread_s: float) -> Iterator[Json | Pause]:
    if item["type"] == "message":
        yield {"type": "response.output_item.added", "output_index": index, "item": item | {"content": []}}
        text = item["content"][0]["text"]
        deltas = (re.findall(r"\S+\s*", text) or [text]) if spread_s else [text]
        for delta in deltas:
            yield {"type": "response.output_text.delta", "content_index": 0, **_part(index, item, delta)}
            yield Pause(spread_s / len(deltas))
    elif item["type"] == "reasoning":
        yield {"type": "response.output_item.added", "output_index": index, "item": item | {"summary": []}}
        delta = item["summary"][0]["text"]
        yield {"type": "response.reasoning_summary_text.delta", "summary_index": 0, **_part(index, item, delta)}
    yield {"type": "response.output_item.done", "output_index": index, "item": item}


def _part(index: int, item: Json, delta: str) -> Json:
    return {"item_id": item["id"], "output_index": index, "delta": delta}


def _usage(body: Json, step: Step) -> Json:
    """Token counts: those of a USAGE directive, else ones that grow with the request."""
    size = len(json.dumps(body)) // 4
    used = [int(count) for count in (step.argument("USAGE") or "").split()[:4]]
    tokens_in, cached, out, reasoning = used + [size, size // 2, 50, 10][len(used) :]
    return {
        "input_tokens": tokens_in,
        "input_tokens_details": {"cached_tokens": cached},
        "output_tokens": out,
        "output_tokens_details": {"reasoning_tokens": reasoning},
        "total_tokens": tokens_in + out,
    }
