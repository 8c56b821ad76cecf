"""The daemon's events, read by the command line: one after another, across restarts of the daemon."""

import time
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from fleet import client
from fleet.client import NoDaemon
from fleet.errors import DaemonError

_AGAIN_S = 1.0  # between attempts to reach a daemon that has ended


class Event(NamedTuple):
    """One event. `data` is JSON."""

    id: str
    type: str
    data: bytes


def parsed(lines: Iterable[bytes]) -> Iterator[Event]:
    """The events in the lines of a stream. Keep-alive comments are passed over."""
    fields: dict[str, bytes] = {}
    for line in lines:
        name, _, value = line.rstrip(b"\r\n").partition(b": ")
        if name:
            fields[name.decode("ascii", "replace")] = value
        elif fields:
            if "data" in fields:
                yield Event(fields.get("id", b"").decode(), fields.get("event", b"").decode(), fields["data"])
            fields = {}


def follow(after: str | None, *, until_s: float | None = None) -> Iterator[Event]:
    """All events, from now on or after that id. Raises `DaemonError` if no daemon runs at the beginning.

    When the daemon ends, waits for the next one and goes on there; it says itself that there is a gap. With
    `until_s`, a time of the monotonic clock, raises `TimeoutError` then.
    """
    has_begun = False
    while True:
        try:
            headers = {"Last-Event-ID": after} if after else {}
            for event in parsed(client.stream("/v1/events", headers, until_s=until_s)):
                has_begun, after = True, event.id
                yield event
        except NoDaemon as exc:
            if not has_begun:
                raise DaemonError(f"{exc}; start one with `fleet daemon`") from None
        time.sleep(_AGAIN_S)
        if until_s is not None and time.monotonic() >= until_s:
            raise TimeoutError
