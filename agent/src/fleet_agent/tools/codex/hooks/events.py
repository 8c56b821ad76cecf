"""What the hooks recorded last of each thread. Reads only, and only what an entry in hooks.json leads to."""

import os
from typing import Annotated

import msgspec

from fleet_agent.fields import LAST_SECOND
from fleet_agent.files import read_small
from fleet_agent.tools.codex.hooks.expiry import Asked

MAX_HOOKS_JSON_BYTES = 1 << 20
_MAX_EVENT_BYTES = 4096

_NAME = b"record.py"  # is in every entry of fleet's

_Stamp = tuple[int, int, int]


class Event(msgspec.Struct, frozen=True):
    """One recorded event, as `record` writes it. `at` is epoch seconds of this host's clock."""

    event: str
    at: Annotated[float, msgspec.Meta(gt=0, le=LAST_SECOND)]
    tool: str | None = None
    turn_id: str | None = None


_decode = msgspec.json.Decoder(Event).decode


class HookEvents:
    """The events of all homes. A hooks.json is looked at once a reading, and read again when it has changed."""

    def __init__(self) -> None:
        self._directories: dict[str, tuple[_Stamp, str | None]] = {}
        self._seen: dict[str, str | None] = {}  # in this reading: home -> where its hooks record

    def begin(self) -> None:
        """A new reading."""
        self._seen.clear()

    def asked(self, home: str, thread_id: str) -> Asked | None:
        """What the thread asked a person last, as far as its home's hooks tell."""
        if home not in self._seen:
            self._seen[home] = self._directory(home)
        directory = self._seen[home]
        event = read(f"{directory}/{thread_id}.json") if directory else None
        return asked(event) if event else None

    def _directory(self, home: str) -> str | None:
        """Where the hooks of this home record. The file that Codex obeys is the one that tells."""
        path = f"{home}/hooks.json"
        try:
            status = os.stat(path)
        except OSError:
            return None
        stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
        known = self._directories.get(home)
        if known is None or known[0] != stamp:
            known = self._directories[home] = stamp, _recorded_in(path)
        return known[1]


def read(path: str) -> Event | None:
    """The event in a file; None if there is none that can be read."""
    try:
        return _decode(read_small(path, _MAX_EVENT_BYTES))
    except (OSError, ValueError, RecursionError):
        return None


def asked(event: Event) -> Asked | None:
    """What is asked of a person with an event. Pure."""
    if event.event == "PermissionRequest":
        return Asked("approval", event.at, event.turn_id)
    if (event.event, event.tool) == ("PreToolUse", "request_user_input"):
        return Asked("question", event.at, event.turn_id)
    return None


def _recorded_in(path: str) -> str | None:
    try:
        text = read_small(path, MAX_HOOKS_JSON_BYTES)
        document = msgspec.json.decode(text) if _NAME in text else None
    except (OSError, ValueError, RecursionError):
        return None
    if document is None:
        return None
    from fleet_agent.tools.codex.hooks import entries  # few homes have fleet's, and it imports json

    found = next(entries.ours(document), None) if isinstance(document, dict) else None
    return found.directory if found else None
