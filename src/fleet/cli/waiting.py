"""What `fleet wait` does."""

import json
import time
from typing import Any

from fleet import client
from fleet.cli.daemon_client import check
from fleet.cli.daemon_events import follow
from fleet.cli.options import Goal
from fleet.client import NoDaemon
from fleet.errors import DaemonError, UsageError

REACHED, NEVER, TIMED_OUT = 0, 3, 124  # 124 is that of timeout(1)
_SHOWN = 5


def reached(selector: str, goal: Goal, timeout_s: float | None) -> int:
    """Wait, print what it came to, and return the exit code. Raises `UsageError` and `DaemonError`."""
    until_s = None if timeout_s is None else time.monotonic() + timeout_s
    sessions, after = _known()
    entry = chosen(selector, sessions)
    if (code := verdict(entry["state"], goal)) is not None:
        return _say(entry, code)
    try:
        for event in follow(after, until_s=until_s):
            entry = _after(event.type, json.loads(event.data), entry)
            if (code := verdict(entry["state"], goal)) is not None:
                return _say(entry, code)
    except TimeoutError:
        pass
    return _say(entry, TIMED_OUT)


def chosen(selector: str, sessions: list[dict[str, Any]]) -> dict[str, Any]:
    """The one session that is meant. Raises `UsageError` if there is none, or more than one."""
    exact = [s for s in sessions if selector in (s["key"], s["id"])]
    found = exact or [s for s in sessions if s["key"].startswith(selector) or s["id"].startswith(selector)]
    if len(found) == 1:
        return found[0]
    if not found:
        raise UsageError(f"no session {selector!r}: give an id, or its beginning, as `fleet status` shows it")
    keys = ", ".join(s["key"] for s in found[:_SHOWN]) + (" ..." if len(found) > _SHOWN else "")
    raise UsageError(f"{len(found)} sessions begin with {selector!r}: {keys}; give more of it, or HOST:ID")


def verdict(state: str, goal: Goal) -> int | None:
    """The exit code in this state; None to wait on."""
    if state == goal or (goal is Goal.ANY and state in (Goal.IDLE, Goal.WAITING, Goal.ENDED)):
        return REACHED
    return NEVER if state == Goal.ENDED else None


def _after(type_: str, told: dict[str, Any], entry: dict[str, Any]) -> dict[str, Any]:
    """The session after an event."""
    if type_ == "gap":
        sessions, _ = _known()
        return next(
            (s for s in sessions if s["key"] == entry["key"]), {**entry, "state": "ended", "detail": None}
        )
    if told.get("key") != entry["key"]:
        return entry
    return told["entry"] if type_ == "session" else {**entry, "state": "ended", "detail": None}


def _known() -> tuple[list[dict[str, Any]], str]:
    """All sessions, and the id of the event after which others follow."""
    try:
        answer = client.ask("/v1/fleet")
    except NoDaemon as exc:
        raise DaemonError(f"{exc}; start one with `fleet daemon`") from None
    check(answer)
    return json.loads(answer.body)["sessions"], answer.headers["fleet-event-id"]


def _say(entry: dict[str, Any], code: int) -> int:
    state = f"{entry['state']} {entry['detail']}" if entry["detail"] else entry["state"]
    print(f"{entry['key']}  {state}")
    return code
