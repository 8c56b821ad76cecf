"""What `claude -p --output-format stream-json --verbose` prints -> session events. Pure.

Measured on 2.1.197 and 2.1.329. `system/init` comes at the start of each turn, `result` at its end; a message
comes as one line for each of its blocks. Claude counts cached input beside `input_tokens`, the wire within.
"""

from collections.abc import Iterator
from typing import Any

from fleet_agent.control.events import (
    Event,
    Failure,
    Message,
    Prompted,
    Reasoning,
    SessionStarted,
    Unknown,
    Used,
)
from fleet_agent.control.parse.claude_blocks import Blocks
from fleet_agent.control.parse.turns import Turns
from fleet_agent.control.parse.values import Json, decode, joined, name, objects, output, pick
from fleet_agent.fields import count, member
from fleet_agent.wire import Tokens

_MAX_MODELS = 64
_MAX_COST_USD = 1e9  # more is absurd
_QUIET_SYSTEM = frozenset(
    (
        "status",
        "thinking_tokens",
        "task_started",
        "task_progress",
        "task_updated",
        "task_notification",
        "hook_started",
        "hook_progress",
        "hook_response",
        "files_persisted",
        "permission_denied",
        "background_tasks_changed",
    )
)
_QUIET = frozenset({"rate_limit_event", "tool_progress", "tool_use_summary", "auth_status", "keep_alive"})


class ClaudeStream:
    """One run of `claude -p`. What subagents say stays with them: only their call and its result are told."""

    def __init__(self) -> None:
        self._turns = Turns()
        self._session_id: str | None = None
        self._message_id: str | None = None  # of the message that is being streamed
        self._blocks = Blocks()

    def feed(self, line: bytes) -> list[Event]:
        """The events of one line, whatever it is."""
        said = decode(line)
        if isinstance(said, Failure):
            return [said]
        if name(said.get("parent_tool_use_id")):
            return []
        match said.get("type"):
            case "system":
                return self._system(said)
            case "assistant":
                return list(self._assistant(said))
            case "user":
                return list(self._user(said))
            case "stream_event":
                return self._piece(said.get("event"))
            case "result":
                return self._result(said)
        what = name(said.get("type"))
        return [] if what in _QUIET else [Unknown(what or "line")]

    def _system(self, said: Json) -> list[Event]:
        what = name(said.get("subtype")) or "system"
        if what == "init":
            return self._init(said)
        if what == "api_retry":
            return [Failure(_retry(said), retrying=True)]
        return [] if what in _QUIET_SYSTEM else [Unknown(what)]

    def _init(self, said: Json) -> list[Event]:
        session_id, began = name(said.get("session_id")), [] if self._turns.is_open else self._turns.start()
        if session_id is None or session_id == self._session_id:
            return began
        self._session_id = session_id
        model, version = name(said.get("model")), name(said.get("claude_code_version"))
        return [SessionStarted(session_id, model, version), *began]

    def _assistant(self, said: Json) -> Iterator[Event]:
        self._turns.going()
        return self._blocks.said(said.get("message"), failed=said.get("error") is not None)

    def _user(self, said: Json) -> Iterator[Event]:
        content = member(said, "message", "content")
        if said.get("isReplay") is True and (prompt := joined(content)) and not prompt.startswith("<"):
            yield Prompted(prompt)
        yield from self._blocks.results(content, said.get("tool_use_result"))

    def _piece(self, event: Any) -> list[Event]:
        """Of a text that comes whole afterwards; with --include-partial-messages only."""
        if pick(event, "type") == "message_start":
            self._message_id = name(member(event, "message", "id"))
        delta = pick(event, "delta")
        text, thought = output(pick(delta, "text")), output(pick(delta, "thinking"))
        if text:
            return [Message(text, self._message_id, delta=True)]
        return [Reasoning(thought, self._message_id, delta=True)] if thought else []

    def _result(self, said: Json) -> list[Event]:
        """One for each turn; a turn that waited for a subagent in the background may have two."""
        end, why = "completed", None
        if said.get("is_error") is True:
            end = "failed"
            why = output(said.get("result")) or joined(said.get("errors")) or name(said.get("subtype"))
        if (name(said.get("terminal_reason")) or "").startswith("aborted"):
            end, why = "aborted", None
        ended = self._turns.end(end, message=why)
        return [*_used(said), *ended] if ended or why is None else [Failure(why)]


def _retry(said: Json) -> str:
    error, status = name(said.get("error")) or "error", name(said.get("error_status"))
    which = f"attempt {name(said.get('attempt'))} of {name(said.get('max_retries'))}"
    return f"{error} {status}: {which}" if status else f"{error}: {which}"


def _used(said: Json) -> list[Event]:
    """Of all models of this process so far, subagents included; `usage` beside it is without those."""
    models = said.get("modelUsage")
    found = objects(list(models.values()), _MAX_MODELS) if isinstance(models, dict) else []
    cost: Any = said.get("total_cost_usd")
    known = isinstance(cost, int | float) and not isinstance(cost, bool) and 0 <= cost < _MAX_COST_USD
    cost_usd = float(cost) if known else None
    if not found:
        return [Used(cost_usd=cost_usd)] if cost_usd else []
    window = max((count(model.get("contextWindow")) or 0 for model in found), default=0)
    return [Used(_total(found), context_window_tokens=window or None, cost_usd=cost_usd)]


def _total(models: list[Json]) -> Tokens:
    def summed(*names: str) -> int:
        return count(sum(count(model.get(counter)) or 0 for model in models for counter in names)) or 0

    cached, said = summed("cacheReadInputTokens"), summed("outputTokens")
    asked = summed("inputTokens", "cacheReadInputTokens", "cacheCreationInputTokens")
    return Tokens(input=asked, cached_input=cached, output=said, total=asked + said)
