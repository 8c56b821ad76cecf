"""What a thread's rollout says of its tokens, for where the server did not say it."""

import msgspec

from fleet_agent.control.parse.values import tokens
from fleet_agent.tail import Source
from fleet_agent.wire import Tokens

REACH_BYTES = 8 << 20  # from its end: each response leaves a count
_COUNT = (b'"type":"token_count"',)


class _Info(msgspec.Struct):
    total_token_usage: object = None


class _Payload(msgspec.Struct):
    info: _Info | None = None


class _Line(msgspec.Struct):
    payload: _Payload = msgspec.field(default_factory=_Payload)


def last_total(path: str) -> Tokens | None:
    """The newest total in a rollout, as Codex counts; None where it has none, or cannot be read."""
    try:
        with Source(path) as source:
            at = source.last_line_with(_COUNT, source.end_of_lines(), REACH_BYTES)
            line = None if at is None else source.line_at(at)
    except OSError:
        return None
    return None if line is None else total_of(line.data)


def total_of(line: bytes) -> Tokens | None:
    """The total that one `token_count` line tells. Pure."""
    try:
        info = msgspec.json.decode(line, type=_Line).payload.info
    except (ValueError, RecursionError):
        return None
    return tokens(info.total_token_usage) if info else None
