"""The fold of a rollout: lines in, facts of one thread out. Sans-I/O, and no line can make it raise.

Unknown types and fields are passed over, lines that are no JSON object are counted. Rollouts of any release and
mixtures of them are taken; those before 0.101 do not say where a turn begins and ends.
"""

import re
from collections.abc import Callable
from typing import Any, ClassVar

import msgspec

from fleet_agent.evidence import Call, Turn
from fleet_agent.fields import count, epoch, member, text
from fleet_agent.tail import Line
from fleet_agent.tools.codex import plan
from fleet_agent.tools.codex.compaction import Compaction
from fleet_agent.tools.codex.limits import Window, windows
from fleet_agent.tools.codex.lines import Entry, Meta, Payload, decode, release
from fleet_agent.wire import Plan, Tokens

# What the line is looked for with which the reading of a long file begins. Whole JSON strings: inside a longer
# string their quotes would be escaped.
TURN_START = (b'"task_started"', b'"turn_started"')
OLD_TURN_START = (b'"user_message"',)  # 0.36 to 0.90
BARE_TURN_START = (b'"role":"user"', b'"role": "user"')  # 0.21
TURN_END = (b'"task_complete"', b'"turn_complete"')
RATE_LIMITS = (b'"rate_limits"',)
TOKEN_COUNTS = (b'"total_token_usage"', b'"thread_token_usage"')
SETTINGS = (b'"turn_context"',)
ANY_SETTINGS = (*SETTINGS, b'"thread_settings_applied"')

_SHELL = frozenset(
    ("exec_command", "shell", "shell_command", "local_shell", "local_shell_call", "container.exec")
)
_KINDS = {"apply_patch": "patch", "request_user_input": "question", "wait_agent": "wait", "wait": "wait"}
_ESCALATED_SCRIPT = re.compile(r"sandbox_permissions[\"']?\s*:\s*[\"']require_escalated")
_SCRIPT_CALLS = re.compile(r"\btools\s*[.\[]")
_SCRIPT_REPEATS = re.compile(r"\b(?:for|while|function)\b|=>")
_CALLS = ("function_call", "custom_tool_call", "local_shell_call")
_COUNTS = ("event_msg", "token_count")
_APPLIED = ("event_msg", "thread_settings_applied")
_EARLIER = (_COUNTS, ("token_usage_record", None), ("turn_context", None), _APPLIED)
_ENDS = (("event_msg", "task_complete"), ("event_msg", "turn_complete"))
_HTTP_STATUS = re.compile(r"\b(?:unexpected|last) status:? (\d{3})\b")
_ERRORS_SINCE = (0, 145)  # a failed turn says so; before, it only ends without an answer
_MAX_CALLS = 1000
_MAX_ALIASES = 10
_MAX_NAME_CHARS = 100


_Take = Callable[["Rollout", Payload, "float | None"], None]


class Rollout:
    """The facts of one thread so far. Feed it the lines from the start of its last turn on, or all of them."""

    def __init__(self, meta: Meta) -> None:
        self.meta = meta
        self.turn: Turn | None = None
        self.calls: dict[str, Call] = {}
        self.turn_aliases: set[str] = set()
        self.resumed_at: float | None = None  # the last call of this turn got its output
        self.last_actor: str | None = None  # user | assistant | tool
        self.last_at: float | None = None
        self.cwd = meta.cwd
        self.model: str | None = None
        self.approvals: str | None = None
        self.reviewer: str | None = None
        self.effort: str | None = None
        self.provider = meta.provider
        self.sandbox: str | None = None
        self.plan: Plan | None = None  # of the last turn
        self.last_error: str | None = None  # of the last turn that failed, until another succeeds
        self.settled = False  # a turn was seen to fail or to succeed
        self.limits: tuple[Window, ...] = ()
        self.tokens: Tokens | None = None  # the newest running total, with what was inherited (see `usage`)
        self.context_used: int | None = None
        self.context_window: int | None = None
        self.compaction = Compaction()
        self.gapless = True  # nothing of the current turn was passed over unread
        self.cut_lines = 0
        self.bad_lines = 0

    def feed(self, line: Line) -> None:
        """One line. The copy of a parent's history at the start of a subagent's file is passed over."""
        entry = decode(line) if line.data else None
        if entry is None:
            self.bad_lines += bool(line.data)
            return
        if not self._own(entry):
            return
        self.last_at = entry.at or self.last_at
        if line.cut:
            self.cut_lines += 1
            self.gapless &= not (entry.payload.type in _CALLS and text(entry.payload.call_id) is None)
        take = self._TAKE.get(entry.kind) or self._TAKE.get((entry.type, None))
        if take:
            take(self, entry.payload, entry.at)
        self.compaction.feed(entry.kind, self.context_used, self.context_window)

    def feed_earlier(self, line: Line | None) -> None:
        """A line from before the current turn, for what the turn has not said yet: token counts, settings."""
        entry = decode(line) if line else None
        if entry is None or not self._own(entry):
            return
        if entry.kind in _ENDS:
            self._settle(entry.payload)
        elif entry.kind == _COUNTS:
            self._earlier_counts(entry.payload, entry.at)
        elif entry.kind in _EARLIER:
            self._TAKE[entry.kind](self, entry.payload, entry.at)

    def _own(self, entry: Entry) -> bool:
        return entry.ordinal is None or entry.ordinal >= self.meta.own_from_ordinal

    def _turn_started(self, p: Payload, at: float | None) -> None:
        trigger = text(member(p.turn_attribution, "turn_trigger"), _MAX_NAME_CHARS)
        self.turn = Turn("open", text(p.turn_id), at or epoch(p.started_at), trigger=trigger)
        self.calls, self.turn_aliases = {}, set()
        self.resumed_at, self.gapless, self.plan = None, True, None
        self.context_window = count(p.model_context_window) or self.context_window

    def _turn_complete(self, p: Payload, at: float | None) -> None:
        self._end_turn("failed" if p.error else "complete", p, at)
        silent = not p.error and not p.last_agent_message
        if silent and self.turn and (release(self.meta.version) or _ERRORS_SINCE) < _ERRORS_SINCE:
            self.turn = msgspec.structs.replace(self.turn, doubtful=True)

    def _turn_aborted(self, p: Payload, at: float | None) -> None:
        self._end_turn("aborted", p, at)

    def _item_completed(self, p: Payload, _at: float | None) -> None:
        """The turn of a review begins under one id and goes on, and ends, under another."""
        turn_id = text(p.turn_id)
        if turn_id and len(self.turn_aliases) < _MAX_ALIASES:
            self.turn_aliases.add(turn_id)

    def _end_turn(self, status: str, p: Payload, at: float | None) -> None:
        turn, turn_id = self.turn, text(p.turn_id)
        foreign = turn and turn.id and turn_id and turn_id not in (turn.id, *self.turn_aliases)
        if turn and (turn.status != "open" or foreign):
            return  # another writer's, or said twice
        begun = turn or Turn(status, started_at=epoch(p.started_at))
        ended_at, error = at or epoch(p.completed_at), _error_word(p.error)
        self.turn = Turn(status, turn_id, begun.started_at, ended_at, error, begun.trigger)
        self.calls, self.gapless = {}, True
        if status != "aborted":
            self._settle(p)

    def _settle(self, p: Payload) -> None:
        self.settled, self.last_error = True, _error(p.error) if p.error else None

    def _call_began(self, p: Payload, at: float | None) -> None:
        self.last_actor = "tool"
        call_id = text(p.call_id)
        if call_id is None or len(self.calls) >= _MAX_CALLS:
            return
        name = text(p.name, _MAX_NAME_CHARS) or text(p.type, _MAX_NAME_CHARS) or "a tool"
        space = text(p.namespace, _MAX_NAME_CHARS)
        full_name = f"{space}.{name}" if space else name
        if name == plan.NAME:
            self.plan = plan.plan_of(p.arguments) or self.plan
        kind = _call_kind(p, name, space)
        several = kind == "script" and _calls_several(p.input)
        self.calls[call_id] = Call(call_id, full_name, kind, at, _escalated(p), several=several)

    def _call_ended(self, p: Payload, at: float | None) -> None:
        self.last_actor = "tool"
        if self.calls.pop(text(p.call_id) or "", None):
            self.resumed_at = at or self.resumed_at

    def _message(self, p: Payload, _at: float | None) -> None:
        if p.role in ("user", "assistant"):
            self.last_actor = p.role

    def _user_spoke(self, _p: Payload, _at: float | None) -> None:
        self.last_actor = "user"

    def _model_spoke(self, _p: Payload, _at: float | None) -> None:
        self.last_actor = "assistant"

    def _token_count(self, p: Payload, at: float | None) -> None:
        self._told_limits(p, at)
        self._count_tokens(member(p.info, "total_token_usage"), member(p.info, "last_token_usage"))
        self.context_window = count(member(p.info, "model_context_window")) or self.context_window

    def _earlier_counts(self, p: Payload, at: float | None) -> None:
        """What is known already is newer than this line."""
        limits, used, window = self.limits, self.context_used, self.context_window
        (self._told_limits if self.tokens else self._token_count)(p, at)
        self.limits = limits or self.limits
        self.context_used = self.context_used if used is None else used
        self.context_window = window or self.context_window

    def _told_limits(self, p: Payload, at: float | None) -> None:
        self.limits = (windows(p.rate_limits, at) if at else ()) or self.limits

    def _usage_record(self, p: Payload, _at: float | None) -> None:
        self._count_tokens(p.thread_token_usage, p.usage)

    def _count_tokens(self, total: Any, last: Any) -> None:
        """A total without parts is Codex's estimate of the context after an overflow or a compaction."""
        tokens, latest = _tokens(total), _tokens(last)
        if tokens and (tokens.input or tokens.output):
            self.tokens = tokens
        if latest:
            self.context_used = latest.total

    def _turn_context(self, p: Payload, _at: float | None) -> None:
        self._set(p.model, p.approval_policy, p.approvals_reviewer, p.cwd)
        self.effort = _effort(p.effort, p.collaboration_mode)
        self.sandbox = _sandbox(p.sandbox_policy) or _sandbox(p.permission_profile) or self.sandbox

    def _settings_applied(self, p: Payload, _at: float | None) -> None:
        names = ("model", "approval_policy", "approvals_reviewer", "cwd")
        self._set(*(member(p.thread_settings, name) for name in names))
        self.provider = text(member(p.thread_settings, "model_provider_id")) or self.provider
        told = (member(p.thread_settings, name) for name in ("reasoning_effort", "collaboration_mode"))
        self.effort = _effort(*told)

    def _set(self, model: Any, approvals: Any, reviewer: Any, cwd: Any) -> None:
        self.model = text(model) or self.model
        self.approvals = text(approvals, _MAX_NAME_CHARS) or self.approvals
        self.reviewer = text(reviewer, _MAX_NAME_CHARS) or self.reviewer
        self.cwd = text(cwd) or self.cwd

    _TAKE: ClassVar[dict[tuple[str | None, str | None], "_Take"]] = {
        ("event_msg", "task_started"): _turn_started,
        ("event_msg", "turn_started"): _turn_started,
        ("event_msg", "task_complete"): _turn_complete,
        ("event_msg", "turn_complete"): _turn_complete,
        ("event_msg", "turn_aborted"): _turn_aborted,
        ("event_msg", "item_completed"): _item_completed,
        ("event_msg", "token_count"): _token_count,
        _APPLIED: _settings_applied,
        ("event_msg", "user_message"): _user_spoke,
        ("event_msg", "agent_message"): _model_spoke,
        ("response_item", "function_call"): _call_began,
        ("response_item", "custom_tool_call"): _call_began,
        ("response_item", "local_shell_call"): _call_began,
        ("response_item", "function_call_output"): _call_ended,
        ("response_item", "custom_tool_call_output"): _call_ended,
        ("response_item", "message"): _message,
        ("turn_context", None): _turn_context,
        ("token_usage_record", None): _usage_record,
    }


def _call_kind(p: Payload, name: str, space: str | None) -> str:
    if (space and space.startswith("mcp__")) or (name == "wait" and not space):
        return "opaque"
    if name in _SHELL:
        return "shell"
    if name == "exec" and p.type == "custom_tool_call":
        return "script"
    return _KINDS.get(name, "other")


def _escalated(p: Payload) -> bool:
    """Whether a call asks to leave the sandbox. A script may ask for it; when it does is not written down."""
    if isinstance(p.input, str):
        return _ESCALATED_SCRIPT.search(p.input) is not None
    if not isinstance(p.arguments, str) or "escalated" not in p.arguments:
        return False
    try:
        arguments = msgspec.json.decode(p.arguments)
    except (ValueError, RecursionError):
        return False
    asks = member(arguments, "sandbox_permissions") == "require_escalated"
    return asks or member(arguments, "with_escalated_permissions") is True


def _calls_several(script: Any) -> bool:
    """Whether a script may call more than one tool: by its text, so rather too often than too seldom."""
    if not isinstance(script, str):
        return True
    return len(_SCRIPT_CALLS.findall(script)) > 1 or _SCRIPT_REPEATS.search(script) is not None


def _error_word(error: Any) -> str | None:
    """Codex's own word for what failed a turn: a string, or an object named after it."""
    kind = member(error, "codex_error_info")
    if isinstance(kind, dict) and kind:
        name, detail = next(iter(kind.items()))
        status = count(member(detail, "http_status_code"))
        return text(f"{name}, HTTP {status}" if status else name, _MAX_NAME_CHARS)
    return text(kind, _MAX_NAME_CHARS) if kind != "other" else None


def _error(error: Any) -> str:
    """The same, with the HTTP status that its message names, if any."""
    word = _error_word(error) or "other"
    status = _HTTP_STATUS.search(text(member(error, "message")) or "")
    return f"{word}, HTTP {status[1]}" if status and "HTTP" not in word else word


def _effort(effort: Any, collaboration_mode: Any) -> str | None:
    of_mode = member(collaboration_mode, "settings", "reasoning_effort")
    return text(effort, _MAX_NAME_CHARS) or text(of_mode, _MAX_NAME_CHARS)


def _sandbox(policy: Any) -> str | None:
    """The name of a sandbox policy: its `type`, `mode` up to 0.36, or the policy itself if it is a string."""
    named = member(policy, "type") or member(policy, "mode") or policy
    return text(named, _MAX_NAME_CHARS)


def _tokens(usage: Any) -> Tokens | None:
    if not isinstance(usage, dict):
        return None
    names = ("input_tokens", "cached_input_tokens", "output_tokens", "reasoning_output_tokens")
    counts = [count(usage.get(name)) or 0 for name in names]
    total = count(usage.get("total_tokens")) or counts[0] + counts[2]
    return Tokens(counts[0], counts[1], counts[2], counts[3], total)
