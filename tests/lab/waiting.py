"""Waiting for what comes about by itself."""

import time
from collections.abc import Callable
from typing import TypeVar

from lab import LabError

T = TypeVar("T")


def wait_until(look: Callable[[], T | None], what: str, *, timeout_s: float) -> T:
    """What `look` finds, as soon as it is something: not None, False or empty."""
    until = time.monotonic() + timeout_s
    while not (found := look()):
        if time.monotonic() > until:
            raise LabError(f"it did not come about within {timeout_s:g} s that {what}")
        time.sleep(0.05)
    return found
