"""Spans of time and moments, as they are typed. Pure."""

import re
from datetime import datetime

import typer

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_SPAN = re.compile(r"(\d{1,6})([smhd])", re.ASCII)


def seconds_of(text: str) -> float:
    """`90s`, `10m`, `2h` or `7d` in seconds.

    >>> seconds_of("2h")
    7200.0
    """
    match = _SPAN.fullmatch(text)
    if match is None:
        raise typer.BadParameter(f"{text!r} is no span of time; write it like 90s, 10m, 2h or 7d")
    return float(int(match[1]) * _UNITS_S[match[2]])


def since(text: str, clock_at: float) -> float:
    """The moment that a span before `clock_at`, or an RFC 3339 time, means; in seconds since the epoch."""
    if _SPAN.fullmatch(text):
        return max(0.0, clock_at - seconds_of(text))
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        message = f"{text!r} is neither a span of time (10m, 2h) nor a time (2026-11-21T14:00:00Z)"
        raise typer.BadParameter(message) from None
