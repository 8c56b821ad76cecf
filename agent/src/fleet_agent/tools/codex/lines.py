"""One line of a rollout: bytes in, the fields that matter out. Pure, and no line can make it raise.

A line is `{"timestamp","ordinal"?,"type","payload"}`; release 0.21 wrote bare items without the wrapper. What
each release writes was seen by running 0.21 to 0.169.
"""

import re
from collections.abc import Iterable
from typing import Any

import msgspec

from fleet_agent.fields import count, epoch, member, text
from fleet_agent.tail import Line

THREAD_ID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"

_THREAD_ID = re.compile(THREAD_ID)
_FLAT_TEXT = re.compile(rb'"(\w{1,40})"\s*:\s*"([^"\\]*)"')
_TYPE_FIRST = re.compile(rb'[\s:]*\{\s*"type"')
_ORDINAL = re.compile(rb'"ordinal"\s*:\s*(\d{1,15})[,}]')
_MAX_PROMPT_CHARS = 4096
_UNREADABLE = (ValueError, RecursionError)  # msgspec's errors and bad UTF-8 are ValueErrors
_ABSENT = msgspec.Raw(b"")


class Meta(msgspec.Struct, frozen=True):
    """The first line: who the thread is. Later session_meta lines are copies of its ancestors'."""

    id: str | None = None
    root_id: str | None = None
    parent_id: str | None = None
    forked_from_id: str | None = None
    cwd: str | None = None
    originator: str | None = None
    source: str | None = None
    version: str | None = None
    provider: str | None = None
    branch: str | None = None  # of its directory when it began
    nickname: str | None = None  # of a subagent
    role: str | None = None
    started_at: float | None = None
    base_id: str | None = None  # the rollout that it goes on from: another thread's, or its own earlier one
    own_from_ordinal: int = 0  # the lines before it are a copy of the parent's history


class Payload(msgspec.Struct, gc=False):
    """The fields that matter of any payload. `Any` takes what comes; other fields are never built."""

    type: Any = None
    turn_id: Any = None
    turn_attribution: Any = None
    started_at: Any = None
    completed_at: Any = None
    error: Any = None
    last_agent_message: Any = None
    call_id: Any = None
    name: Any = None
    namespace: Any = None
    arguments: Any = None
    input: Any = None
    role: Any = None
    info: Any = None
    rate_limits: Any = None
    model_context_window: Any = None
    usage: Any = None
    thread_token_usage: Any = None
    thread_settings: Any = None
    cwd: Any = None
    model: Any = None
    approval_policy: Any = None
    approvals_reviewer: Any = None
    effort: Any = None
    collaboration_mode: Any = None
    sandbox_policy: Any = None
    permission_profile: Any = None


class Entry(msgspec.Struct, gc=False):
    """One line, decoded. `type` is the line's, `payload.type` that of what is in it; `at` is epoch seconds."""

    type: str | None
    payload: Payload
    at: float | None = None
    ordinal: int | None = None

    @property
    def kind(self) -> tuple[str | None, str | None]:
        """The two types together; None for one that is no string."""
        return self.type, self.payload.type if isinstance(self.payload.type, str) else None


class _Wrapper(msgspec.Struct, gc=False):
    timestamp: Any = None
    ordinal: Any = None
    type: Any = None
    payload: msgspec.Raw = _ABSENT


class _MetaPayload(msgspec.Struct, gc=False):
    id: Any = None
    session_id: Any = None
    parent_thread_id: Any = None
    forked_from_id: Any = None
    cwd: Any = None
    originator: Any = None
    source: Any = None
    cli_version: Any = None
    model_provider: Any = None
    git: Any = None
    agent_nickname: Any = None
    agent_role: Any = None
    timestamp: Any = None
    history_base: Any = None
    subagent_history_start_ordinal: Any = None


_decode_wrapper = msgspec.json.Decoder(_Wrapper).decode
_decode_payload = msgspec.json.Decoder(Payload).decode
_decode_meta = msgspec.json.Decoder(_MetaPayload).decode


def decode(line: Line) -> Entry | None:
    """A line, or None if it is no JSON object. Of a line that was cut, what its head says."""
    if line.cut:
        return _decode_head(line.data)
    try:
        wrapper = _decode_wrapper(line.data)
        bare = wrapper.payload is _ABSENT
        payload = _decode_payload(line.data if bare else wrapper.payload)
    except _UNREADABLE:
        return None
    line_type = "response_item" if bare else text(wrapper.type)
    return Entry(line_type, payload, epoch(wrapper.timestamp), count(wrapper.ordinal))


def decode_meta(line: Line) -> Meta | None:
    """The first line of a rollout; None if it is not one."""
    if line.cut:
        payload = line.data.partition(b'"payload"')[2] or line.data
        meta = _meta(_MetaPayload(**_known_texts(_MetaPayload, payload)))
        return meta if meta.id else None
    try:
        wrapper = _decode_wrapper(line.data)
        return _meta(_decode_meta(line.data if wrapper.payload is _ABSENT else wrapper.payload))
    except _UNREADABLE:
        return None


def first_prompt(lines: Iterable[Line], own_from_ordinal: int = 0) -> str | None:
    """What the person asked first, as far as it is in `lines`: the start of the text."""
    for line in lines:
        if line.cut or not re.search(rb'"UserMessage"|"user_message"|"role": ?"user"', line.data):
            continue
        try:
            entry = msgspec.json.decode(line.data)
        except _UNREADABLE:
            continue
        ordinal = count(member(entry, "ordinal"))
        if ordinal is None or ordinal >= own_from_ordinal:
            prompt = _prompt(entry)
            if prompt:
                return prompt
    return None


def thread_id(value: Any) -> str | None:
    """A thread id in its usual spelling."""
    lower = value.lower() if isinstance(value, str) else ""
    return lower if _THREAD_ID.fullmatch(lower) else None


def release(version: str | None) -> tuple[int, int] | None:
    """The first two numbers of a Codex version; None if unknown, or built from source (0.0.0).

    >>> release("0.169.0")
    (0, 169)
    """
    numbers = re.match(r"(\d{1,6})\.(\d{1,6})", version or "")
    found = (int(numbers[1]), int(numbers[2])) if numbers else (0, 0)
    return found if found != (0, 0) else None


def _meta(p: _MetaPayload) -> Meta:
    spawned = member(p.source, "subagent", "thread_spawn")
    parent_id = thread_id(p.parent_thread_id) or thread_id(member(spawned, "parent_thread_id"))
    own_id, root_id = thread_id(p.id), thread_id(p.session_id)
    if root_id is None and count(member(spawned, "depth")) == 1:
        root_id = parent_id  # before 0.145 there is no session_id
    subagent = parent_id is not None or isinstance(p.source, dict)
    return Meta(
        id=own_id,
        root_id=root_id if subagent else own_id,
        parent_id=parent_id,
        forked_from_id=thread_id(p.forked_from_id),
        cwd=text(p.cwd),
        originator=text(p.originator),
        source="subagent" if isinstance(p.source, dict) else text(p.source),
        version=text(p.cli_version),
        provider=text(p.model_provider),
        branch=text(member(p.git, "branch")),
        nickname=text(p.agent_nickname) or text(member(spawned, "agent_nickname")),
        role=text(p.agent_role) or text(member(spawned, "agent_role")),
        started_at=epoch(p.timestamp),
        base_id=thread_id(member(p.history_base, "thread_id")),
        own_from_ordinal=count(p.subagent_history_start_ordinal) or 0,
    )


def _decode_head(head: bytes) -> Entry:
    """A line of megabytes: its head says what it is, and usually enough else."""
    before, wrapped, after = head.partition(b'"payload"')
    outer, ordinal = _texts(before) if wrapped else {}, _ORDINAL.search(before)
    payload = Payload(**_known_texts(Payload, after if wrapped else head))
    if not _TYPE_FIRST.match(after if wrapped else head):
        payload.type = None  # the type that was found is of something inside
    return Entry(
        type=outer.get("type") if wrapped else "response_item",
        payload=payload,
        at=epoch(outer.get("timestamp")),
        ordinal=int(ordinal[1]) if wrapped and ordinal else None,
    )


def _texts(raw: bytes) -> dict[str, str]:
    """The plain string members at any depth; the first of each name."""
    found: dict[str, str] = {}
    for name, value in _FLAT_TEXT.findall(raw):
        found.setdefault(name.decode(), value.decode("utf-8", "replace"))
    return found


def _known_texts(struct: type[msgspec.Struct], raw: bytes) -> dict[str, Any]:
    return {name: value for name, value in _texts(raw).items() if name in struct.__struct_fields__}


def _prompt(entry: Any) -> str | None:
    payload = member(entry, "payload")
    if payload is None:  # 0.21; it has no event, so what Codex injects itself must be told by its look
        prompt = _content_text(member(entry, "content")) if member(entry, "role") == "user" else None
        return None if prompt is None or prompt.startswith(("<", "# AGENTS.md")) else prompt
    if member(payload, "type") == "user_message" and member(payload, "kind") in (None, "plain"):
        return text(member(payload, "message"), _MAX_PROMPT_CHARS)
    item = member(payload, "item")
    return _content_text(member(item, "content")) if member(item, "type") == "UserMessage" else None


def _content_text(content: Any) -> str | None:
    parts = content if isinstance(content, list) else []
    return next((found for part in parts if (found := text(member(part, "text"), _MAX_PROMPT_CHARS))), None)
