"""fleet.cli.daemon_events, daemon_event_lines and waiting: what is made of the daemon's events."""

import json

import pytest

from fleet.cli.daemon_event_lines import as_line, as_ndjson
from fleet.cli.daemon_events import Event, parsed
from fleet.cli.options import Goal
from fleet.cli.waiting import NEVER, REACHED, chosen, verdict
from fleet.errors import UsageError

AT = "2026-11-21T08:42:26.721Z"
ENTRY = {"key": "gpu01:01a1", "id": "01a1", "state": "waiting", "detail": "approval", "title": "fix it"}


def event(type_: str, **told: object) -> Event:
    return Event("e1-7", type_, json.dumps({"type": type_, "at": AT, **told}).encode())


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (event("session", key="gpu01:01a1", is_new=False, entry=ENTRY), "gpu01:01a1  waiting approval  fix it"),
        (
            event("session", key="x", is_new=True, entry={**ENTRY, "title": None, "detail": None}),
            "gpu01:01a1  waiting  (new)",
        ),
        (event("gone", key="gpu01:01a1"), "gpu01:01a1  gone"),
        (event("host", host="gpu01", entry={"link": "up"}, error=None), "gpu01  up"),
        (event("host", host="gpu01", entry=None, error=None), "gpu01  is followed no more"),
        (
            event(
                "host",
                host="gpu01",
                entry={"link": "stale"},
                error={"kind": "timeout", "phase": "idle", "message": "no frame came"},
            ),
            "gpu01  stale: timeout (idle): no frame came",
        ),
    ],
)
def test_a_change_in_words(given: Event, line: str) -> None:
    """When, where and what, on one line."""
    assert as_line(given) == f"08:42:26  {line}\n"


def test_a_gap_is_said_and_hello_is_not() -> None:
    """What was missed is worth a line; that it begins is not."""
    assert as_line(Event("e1-1", "gap", b'{"type":"gap","reason":"5 events are no longer kept"}')) == (
        "(some changes were missed: 5 events are no longer kept)\n"
    )
    assert as_line(Event("e1-1", "hello", b'{"type":"hello"}')) is None


def test_as_ndjson() -> None:
    """One object: id, number, then all that was sent."""
    line = as_ndjson(event("gone", key="x"))
    assert line.endswith(b"\n")
    assert json.loads(line) == {"id": "e1-7", "seq": 7, "type": "gone", "at": AT, "key": "x"}


def test_events_in_a_stream() -> None:
    """Comments and unknown fields are passed over, an event without data is none."""
    lines = [
        b": hi\n",
        b"\n",
        b"id: e-1\n",
        b"\n",
        b"id: e-2\r\n",
        b"event: gone\r\n",
        b"odd: 1\n",
        b"data: {}\n",
        b"\n",
    ]
    assert list(parsed(lines)) == [Event("e-2", "gone", b"{}")]
    assert list(parsed(lines[:-1])) == []  # cut off in the middle


SESSIONS = [
    {"key": "a:01a1-1", "id": "01a1-1"},
    {"key": "b:01a1-1", "id": "01a1-1"},
    {"key": "a:01a1-12", "id": "01a1-12"},
    {"key": "a:ff", "id": "ff"},
]


@pytest.mark.parametrize(
    ("selector", "key"),
    [("ff", "a:ff"), ("f", "a:ff"), ("a:f", "a:ff"), ("a:01a1-1", "a:01a1-1"), ("01a1-12", "a:01a1-12")],
)
def test_the_session_that_is_meant(selector: str, key: str) -> None:
    """An id, the beginning of one, or HOST:ID; what is exact comes before what only begins so."""
    assert chosen(selector, SESSIONS)["key"] == key


@pytest.mark.parametrize(
    ("selector", "says"), [("01a1-1", "2 sessions .*a:01a1-1, b:01a1-1"), ("zz", "no session 'zz'")]
)
def test_what_cannot_be_meant(selector: str, says: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(UsageError, match=says):
        chosen(selector, SESSIONS)


def test_when_waiting_ends() -> None:
    """With the state that is waited for; an ended session gets nowhere else."""
    assert verdict("working", Goal.ANY) is None
    assert verdict("unknown", Goal.ANY) is None
    assert {verdict(state, Goal.ANY) for state in ("idle", "waiting", "ended")} == {REACHED}
    assert (verdict("idle", Goal.IDLE), verdict("waiting", Goal.IDLE)) == (REACHED, None)
    assert (verdict("ended", Goal.ENDED), verdict("ended", Goal.IDLE)) == (REACHED, NEVER)
