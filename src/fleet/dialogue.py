"""Bytes from `fleet-agent control` -> what it says. Sans-I/O: no clock, no socket, no task.

    stream = ReplyStream()
    for reply in stream.feed(data): ...      # Hello first, then replies; each request ends with Done or Refused
    stream.close()                           # at the end of the output; says what was missing
    line = request_line(Send(target=target, text="go on"))

As in `fleet.stream`, what a host sends is bounded and made safe here, once. What goes out is not touched: a
prompt arrives as it was written.
"""

from functools import cache
from typing import Any, TypeVar, get_args

import msgspec
from msgspec import Raw

from fleet.errors import HostError, UsageError
from fleet.stream import BrokenStream, WireStream, bad, decoded, head
from fleet.text import clean, clean_text
from fleet_agent.control.events import ApprovalRequested, Asked, Event, Output, Unknown
from fleet_agent.control.wire import (
    MAX_REQUEST_BYTES,
    Done,
    Pending,
    Refused,
    Reply,
    Request,
    Run,
    Said,
    Stderr,
)
from fleet_agent.wire import At, Count

T = TypeVar("T")


class Failed(msgspec.Struct, frozen=True, tag_field="type", tag="failed"):
    """Of the daemon, which relays a host's replies: why no more of them come. No agent says it."""

    error: HostError


class _Said(msgspec.Struct, frozen=True, tag_field="type", tag="said"):
    """A `Said` whose event may be of a kind that only a newer agent knows."""

    event: Raw
    at: At
    seq: Count = 0


class _Pending(msgspec.Struct, frozen=True, tag_field="type", tag="pending"):
    request: Raw


def _tags(*kinds: type[msgspec.Struct]) -> frozenset[str]:
    return frozenset(str(kind.__struct_config__.tag) for kind in kinds)


_EVENTS = _tags(*get_args(Event))
_REQUESTS = _tags(ApprovalRequested, Asked)
_FAILED_MARK = b'{"type":"failed",'  # as the daemon writes it
_failed = msgspec.json.Decoder(Failed)
_said, _pending = msgspec.json.Decoder(_Said), msgspec.json.Decoder(_Pending)
_decoders: dict[str, msgspec.json.Decoder[Any]] = {
    tag: msgspec.json.Decoder(kind)
    for kind in (Said, Stderr, Run, Pending, Done, Refused)
    for tag in _tags(kind)
}


class ReplyStream(WireStream[Reply]):
    """The reading side of the control wire."""

    def _frame(self, line: bytes) -> Reply | None:
        kind = decoded(head, line).type
        if kind == "hello":
            raise bad("a second hello: two agents write to one output", "run one agent per connection")
        if kind == "said":
            said = decoded(_said, line)
            if (what := _kind(said.event)) not in _EVENTS:
                return Said(Unknown(clean(what)), said.at, said.seq)
        is_known = kind in _decoders
        if kind == "pending":
            is_known = _kind(decoded(_pending, line).request) in _REQUESTS
        if not is_known:
            self.skipped_frames += 1
            return None
        return _cleaned(decoded(_decoders[kind], line))  # type: ignore[no-any-return]


class RelayedStream(ReplyStream):
    """The replies of a host as the daemon relays them: after them may come why there are no more."""

    def _frame(self, line: bytes) -> Reply | None:
        if line.startswith(_FAILED_MARK):
            error = decoded(_failed, line).error
            raise BrokenStream(error.kind, error.message, error.hint)
        return super()._frame(line)


def request_line(request: Request) -> bytes:
    """The request as it is sent. Raises `UsageError` for one that is too long."""
    line = msgspec.json.encode(request) + b"\n"
    if len(line) > MAX_REQUEST_BYTES:
        limit = f"at most {MAX_REQUEST_BYTES >> 10} KiB are taken"
        raise UsageError(f"the text is too long ({len(line) >> 10} KiB; {limit}): put it into a file there")
    return line


def _kind(raw: Raw) -> str:
    return decoded(head, bytes(raw)).type


def _cleaned(value: T, is_text: bool = False) -> T:
    """`value` with every string in it made safe; only in an `Output` line ends stay."""
    if isinstance(value, str):
        return clean_text(value) if is_text else clean(value)  # type: ignore[return-value]
    if isinstance(value, tuple):
        return tuple(_cleaned(v, is_text) for v in value)  # type: ignore[return-value]
    if isinstance(value, msgspec.Struct):
        texts = _texts(type(value))
        return type(value)(
            **{name: _cleaned(getattr(value, name), name in texts) for name in value.__struct_fields__}
        )
    return value


@cache
def _texts(kind: type[msgspec.Struct]) -> frozenset[str]:
    """The fields of this type that hold texts of several lines."""
    fields = msgspec.structs.fields(kind)
    return frozenset(f.name for f in fields if Output in (f.type, *get_args(f.type)))
