"""Numbers and times as people and programs read them. Pure; None, "not known", stays None or becomes "-"."""

from datetime import UTC, datetime
from functools import lru_cache

from fleet.views.rows import END_OF_TIME_AT

UNKNOWN = "-"
_LAST_AT = END_OF_TIME_AT - 1
_SECONDS = tuple(f"{second:02}." for second in range(60))
_MILLISECONDS = tuple(f"{ms:03}Z" for ms in range(1000))
_AGES = ((86_400, "d"), (3_600, "h"), (60, "m"), (1, "s"))
_MOST_AGE_S = 100_000 * 86_400.0
_MAGNITUDES = "kMGTPE"  # 64-bit counts end within E


def rfc3339(at: float | None) -> str | None:
    """Epoch seconds as RFC 3339 in UTC with milliseconds; None for a time that no clock shows.

    >>> rfc3339(1.5)
    '1970-01-01T00:00:01.500Z'
    """
    if at is None or not 0 < at < _LAST_AT:
        return None
    ms = round(at * 1000)
    return _minute(ms // 60_000) + _SECONDS[ms // 1000 % 60] + _MILLISECONDS[ms % 1000]


def epoch(text: str | None) -> float | None:
    """The inverse of `rfc3339`."""
    return datetime.fromisoformat(text).timestamp() if text else None


@lru_cache(maxsize=4096)  # many times of a fleet fall into few minutes, and calendars are dear
def _minute(minute: int) -> str:
    return datetime.fromtimestamp(minute * 60, UTC).isoformat()[: len("1970-01-01T00:00:")]


def seconds(value: float | None) -> float | None:
    """Seconds to the millisecond: more digits are noise."""
    return None if value is None else round(value * 1000) / 1000


def age(value_s: float | None) -> str:
    """A duration in its largest whole unit: 45s, 12m, 3h, 2d. What is absurdly long is only said to be so.

    >>> age(59.9), age(7199), age(None)
    ('59s', '1h', '-')
    """
    if value_s is None:
        return UNKNOWN
    if value_s >= _MOST_AGE_S:
        return ">99999d"
    size, unit = next(((size, unit) for size, unit in _AGES if value_s >= size), (1, "s"))
    return f"{int(value_s // size)}{unit}"


def count(value: int | None) -> str:
    """A count in at most five characters or so: 950, 12.3k, 4.5M.

    >>> count(950), count(12_345), count(999_960)
    ('950', '12.3k', '1.0M')
    """
    if value is None:
        return UNKNOWN
    if value < 1000:
        return str(value)
    scaled, power = value / 1000, 0
    while scaled >= 999.95 and power < len(_MAGNITUDES) - 1:  # 999.95 would be written 1000.0
        scaled, power = scaled / 1000, power + 1
    return f"{scaled:.1f}{_MAGNITUDES[power]}"


def percent(value: float | None) -> str:
    """A whole percentage; what is absurdly high is only said to be so."""
    if value is None:
        return UNKNOWN
    return f"{value:.0f}%" if value < 1000 else ">999%"
