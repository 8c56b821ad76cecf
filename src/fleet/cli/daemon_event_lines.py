"""An event of the daemon -> the line that is printed of it."""

import json
from typing import Any

from fleet.cli.daemon_events import Event


def as_ndjson(event: Event) -> bytes:
    """The event as one JSON object: its id and number first, then what it says."""
    number = event.id.rpartition("-")[2]
    head = b'{"id":%b,"seq":%b' % (
        json.dumps(event.id).encode(),
        number.encode() if number.isdigit() else b"null",
    )
    return head + b"," + event.data.lstrip()[1:] + b"\n"


def as_line(event: Event) -> str | None:
    """The event in words; None for one that says nothing to a person."""
    told: dict[str, Any] = json.loads(event.data)
    if event.type == "session":
        what = _session(told["entry"], is_new=told["is_new"])
    elif event.type == "gone":
        what = f"{told['key']}  gone"
    elif event.type == "host":
        what = _host(told)
    elif event.type == "gap":
        return f"(some changes were missed: {told['reason']})\n"
    else:
        return None
    return f"{told['at'][11:19]}  {what}\n"


def _session(entry: dict[str, Any], *, is_new: bool) -> str:
    state = f"{entry['state']} {entry['detail']}" if entry["detail"] else entry["state"]
    title = f"  {entry['title']}" if entry["title"] else ""
    return f"{entry['key']}  {state}{'  (new)' if is_new else ''}{title}"


def _host(told: dict[str, Any]) -> str:
    if told["entry"] is None:
        return f"{told['host']}  is followed no more"
    error = told["error"]
    because = f": {error['kind']} ({error['phase']}): {error['message']}" if error else ""
    return f"{told['host']}  {told['entry']['link']}{because}"
