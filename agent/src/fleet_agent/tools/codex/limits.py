"""Rate limits: what `token_count` lines say of an account's windows, and the newest word on each. Pure.

A line has {"limit_id"?, "primary": {"used_percent", "window_minutes", "resets_at"}, "secondary": {..}}. 0.44
wrote `resets_in_seconds` (often null) for `resets_at`; before 0.101 there is no `limit_id`, in 0.36 nothing.
"""

import hashlib
import math
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import msgspec

from fleet_agent.fields import count, epoch, member, text
from fleet_agent.wire import MAX_LIMITS, RateLimit

DEFAULT_LIMIT = "codex"
_NAMES = ("primary", "secondary")
_MAX_WORD_CHARS = 100
_FULL_PERCENT = 100.0
_CLOCK_SLACK_S = 60.0


class Window(msgspec.Struct, frozen=True, gc=False):
    """How much of one window was used at `observed_at`. All `_at` are epoch seconds."""

    limit_id: str
    window_minutes: int
    used_percent: float
    observed_at: float
    resets_at: float | None = None

    @property
    def reached(self) -> bool:
        """Whether it was used up."""
        return self.used_percent >= _FULL_PERCENT

    @property
    def expires_at(self) -> float:
        """When it says nothing any more: at its reset, or when one whole window has passed."""
        return self.observed_at + self.window_minutes * 60 if self.resets_at is None else self.resets_at


def windows(rate_limits: Any, observed_at: float) -> tuple[Window, ...]:
    """The windows of one `rate_limits` object; what is not of the expected kind is left out."""
    limit_id = text(member(rate_limits, "limit_id"), _MAX_WORD_CHARS) or DEFAULT_LIMIT
    found = (_window(limit_id, member(rate_limits, name), observed_at) for name in _NAMES)
    return tuple(window for window in found if window)


def resets_at(observed: Iterable[Window]) -> float | None:
    """When the last of the used-up windows is reset; None if none is used up, or it is not known."""
    times = [window.resets_at for window in observed if window.reached]
    return max((at for at in times if at is not None), default=None) if None not in times else None


class Limits:
    """The newest word on every window of every account."""

    def __init__(self) -> None:
        self._newest: dict[tuple[str, str, int], Window] = {}

    def note(self, account: str, observed: Iterable[Window], now: float) -> None:
        """Take what one session was told of its account. What is dated into the future cannot be the newest."""
        for window in observed:
            if window.observed_at > now + _CLOCK_SLACK_S:
                continue
            key = (account, window.limit_id, window.window_minutes)
            known = self._newest.get(key)
            if known is None or known.observed_at < window.observed_at:
                self._newest[key] = window

    def current(self, now: float) -> tuple[RateLimit, ...]:
        """Those that are not reset yet at `now`, in a stable order. The others are forgotten."""
        self._newest = {key: window for key, window in self._newest.items() if window.expires_at > now}
        return tuple(
            RateLimit(
                tool="codex",
                account=account,
                limit_id=window.limit_id,
                window_minutes=window.window_minutes,
                used_percent=window.used_percent,
                observed_at=window.observed_at,
                resets_at=window.resets_at,
                reached=window.reached,
            )
            for (account, _, _), window in sorted(self._newest.items())[:MAX_LIMITS]
        )


@lru_cache(maxsize=1024)
def account(home: str, provider: str | None) -> str:
    """What tells accounts apart without naming anybody: a home has one login with each provider."""
    return hashlib.sha256(f"{home}\0{provider or ''}".encode("utf-8", "surrogateescape")).hexdigest()[:12]


def _window(limit_id: str, found: Any, observed_at: float) -> Window | None:
    used, minutes = member(found, "used_percent"), count(member(found, "window_minutes"))
    if minutes is None or isinstance(used, bool) or not isinstance(used, int | float):
        return None
    if not (math.isfinite(used) and used >= 0):
        return None
    at, in_s = epoch(member(found, "resets_at")), count(member(found, "resets_in_seconds"))
    if at is None and in_s is not None:
        at = epoch(observed_at + in_s)
    return Window(limit_id, minutes, float(used), observed_at, at)
