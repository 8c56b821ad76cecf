"""Reading fields of foreign JSON: what is not of the expected kind is None, never an exception. Pure."""

import math
from datetime import datetime
from typing import Any

LAST_SECOND = 253_402_300_799.0  # 9999-12-31; more is not a time
_MAX_COUNT = 1 << 53  # more is absurd, and readers of JSON elsewhere lose digits


def text(value: Any, max_chars: int = 4096) -> str | None:
    """A non-empty string, cut to `max_chars`."""
    return value[:max_chars] if isinstance(value, str) and value else None


def count(value: Any) -> int | None:
    """A whole number from 0 to 2**53."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if 0 <= value <= _MAX_COUNT else None


def epoch(value: Any) -> float | None:
    """A time as epoch seconds, from a number of seconds or RFC 3339 text such as 2026-11-21T02:33:43.423Z."""
    if isinstance(value, str) and len(value) <= 40:
        try:
            parsed = datetime.fromisoformat(value.replace("Z", "+00:00"))
            value = parsed.timestamp() if parsed.tzinfo else None
        except (ValueError, OverflowError):
            return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value) if 0 < value <= LAST_SECOND else None


def member(value: Any, *names: str) -> Any:
    """The member at a path of names inside nested objects, or None."""
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value
