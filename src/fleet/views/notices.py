"""Changes of the fleet -> the events that are sent of them: what happened, and the entry as it is now. Pure."""

from collections.abc import Iterable, Iterator

import msgspec

from fleet.changes import Change, SessionChanged, SessionGone
from fleet.views.document import host_entry, host_error_entry, session_entry
from fleet.views.entries import HostEntry, HostErrorEntry, SessionEntry
from fleet.views.units import rfc3339


class HostNotice(msgspec.Struct, frozen=True, tag_field="type", tag="host"):
    """A host's link or error is another. `entry` is null when it is followed no more."""

    at: str | None
    host: str
    entry: HostEntry | None
    error: HostErrorEntry | None


class SessionNotice(msgspec.Struct, frozen=True, tag_field="type", tag="session"):
    """A session is new, or something about it is."""

    at: str | None
    host: str
    key: str
    is_new: bool
    entry: SessionEntry


class GoneNotice(msgspec.Struct, frozen=True, tag_field="type", tag="gone"):
    """A session is listed no more. `state` is the last that was known of it."""

    at: str | None
    host: str
    key: str
    tool: str
    state: str


Notice = HostNotice | SessionNotice | GoneNotice


def notices(changes: Iterable[Change], now_at: float, now_mono_s: float) -> Iterator[tuple[str, bytes]]:
    """Type and JSON of each change, at `now_at` (epoch seconds) and `now_mono_s` (monotonic)."""
    at = rfc3339(now_at)
    for change in changes:
        made = notice(change, at, now_mono_s)
        yield made.__struct_config__.tag, msgspec.json.encode(made)  # type: ignore[misc]


def notice(change: Change, at: str | None, now_mono_s: float) -> Notice:
    """What is said of one change."""
    if isinstance(change, SessionChanged):
        entry = session_entry(change.host, change.session, now_mono_s)
        return SessionNotice(at, change.host.name, entry.key, change.is_new, entry)
    if isinstance(change, SessionGone):
        session = change.session
        return GoneNotice(at, change.host, f"{change.host}:{session.id}", session.tool, session.state)
    state = change.state
    entry_of_host = host_entry(state, now_mono_s) if state else None
    return HostNotice(at, change.host, entry_of_host, host_error_entry(state) if state else None)
