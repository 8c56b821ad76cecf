"""fleet_agent.scan: one reading of the host."""

import pytest

from fleet_agent.processes import ProcessTable
from fleet_agent.scan import Reading, Scanner
from fleet_agent.tools import Found
from fleet_agent.wire import Problem, Session


class Works:
    """A tool that always has one session."""

    name = "works"
    variables = ()

    def is_tool(self, _image: str) -> bool:
        return False

    def find(self, _table: ProcessTable, now: float) -> Found:
        return Found((Session("works", "a", last_activity_at=now),), (Problem("unreadable", "x"),))


class Breaks(Works):
    """A tool whose reader has a bug."""

    name = "breaks"

    def find(self, _table: ProcessTable, now: float) -> Found:  # noqa: ARG002
        raise ZeroDivisionError("planted")


def test_a_reading_joins_what_all_tools_found() -> None:
    """Sessions and problems of every tool, at one time."""
    reading = Scanner((Works(), Works()), clock=lambda: 7.0).scan()
    assert [s.last_activity_at for s in reading.sessions] == [7.0, 7.0]
    assert len(reading.problems) == 2
    assert (reading.now, reading.complete) == (7.0, True)
    assert reading.scan_ms is not None


def test_a_tool_that_breaks_does_not_hide_the_others() -> None:
    """A bug in one reader is a problem, says that the reading is not complete, and leaves the rest."""
    reading = Scanner((Breaks(), Works())).scan()
    assert [s.tool for s in reading.sessions] == ["works"]
    assert ("internal", "a bug of the agent in reading breaks: ZeroDivisionError: planted") in [
        (p.kind, p.message) for p in reading.problems
    ]
    assert not reading.complete


def test_without_processes_nothing_is_claimed(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the processes cannot be listed, the reading says so instead of "no sessions"."""
    monkeypatch.setattr("psutil.pids", lambda: 1 / 0)
    reading = Scanner((Works(),)).scan()
    assert (reading.sessions, reading.complete) == ((), False)
    assert reading.problems[0].kind == "internal"


def test_time_alone_is_no_change() -> None:
    """Two readings that differ in their time and cost only say the same."""
    session = Session("codex", "a")
    first = Reading(1.0, (session,), scan_ms=1.0)
    assert Reading(2.0, (session,), scan_ms=9.0).says_the_same(first)
    assert not Reading(2.0, (Session("codex", "a", "idle"),)).says_the_same(first)
    assert not Reading(2.0, (session,), (Problem("limit", "x"),)).says_the_same(first)
    assert not Reading(2.0, (session,), complete=False).says_the_same(first)
