"""fleet_agent.scan: one reading of the host."""

import os
import subprocess
import sys
from typing import Any

import msgspec
import pytest

from fleet_agent import procfs
from fleet_agent.processes import ProcessTable
from fleet_agent.scan import Reading, Scanner
from fleet_agent.tools import Found
from fleet_agent.wire import Child, Cost, OrphanPort, Problem, Session, Vitals


class Works:
    """A tool that always has one session."""

    name = "works"
    variables = ()
    session_variable = call_variable = ""

    def is_tool(self, _image: str) -> bool:
        return False

    def is_helper(self, _image: str) -> bool:
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
    monkeypatch.setattr("fleet_agent.native.pids", lambda: 1 / 0)
    reading = Scanner((Works(),)).scan()
    assert (reading.sessions, reading.complete) == ((), False)
    assert reading.problems[0].kind == "internal"


def test_time_alone_is_no_change() -> None:
    """Two readings that differ in their time and cost only say the same."""
    session = Session("codex", "a")
    first = Reading(1.0, (session,), scan_ms=1.0)
    assert Reading(2.0, (session,), scan_ms=9.0, cost=Cost(cpu_ms=1.0)).says_the_same(first)
    assert Reading(2.0, (session,), cost=Cost(cpu_ms=1.0)).figures_as(first)
    assert not Reading(2.0, (Session("codex", "a", "idle"),)).says_the_same(first)
    assert not Reading(2.0, (session,), (Problem("limit", "x"),)).says_the_same(first)
    assert not Reading(2.0, (session,), complete=False).says_the_same(first)
    assert not Reading(2.0).says_the_same(first)
    assert not Reading(2.0, (session,), orphan_ports=(OrphanPort(80, 1),)).says_the_same(first)


@pytest.mark.parametrize(
    "changed",
    [
        {"cpu_percent": 3.0},
        {"rss_bytes": 2},
        {"transcript_bytes": 2},
        {"grown_bytes": 2},
        {"children": (Child(1, "a", (80,), rss_bytes=2),)},
    ],
)
def test_figures_that_always_change_are_no_news(changed: dict[str, Any]) -> None:
    """They say the same all the same, but not the same figures."""
    session = Session("codex", "a", children=(Child(1, "a", (80,), rss_bytes=1),))
    first, later = Reading(1.0, (session,)), Reading(2.0, (msgspec.structs.replace(session, **changed),))
    assert later.says_the_same(first)
    assert not later.figures_as(first)


def test_a_child_or_a_port_that_comes_or_goes_is_news() -> None:
    """Who watches a host wants to see it at once."""
    one, two = Child(1, "a"), Child(2, "a")
    first = Reading(1.0, (Session("codex", "a", children=(one,), child_count=1),))
    more = Reading(2.0, (Session("codex", "a", children=(one, two), child_count=2),))
    port = Reading(2.0, (Session("codex", "a", children=(Child(1, "a", (80,)),), child_count=1),))
    assert not more.says_the_same(first)
    assert not port.says_the_same(first)


def test_vitals_are_no_news() -> None:
    """A machine that computes is not a session that changed."""
    first, later = Reading(1.0, vitals=Vitals(load_1m=1.0)), Reading(2.0, vitals=Vitals(load_1m=2.0))
    assert later.says_the_same(first)
    assert not later.figures_as(first)


def test_a_bug_around_the_sessions_leaves_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be told of their processes is a problem; the sessions are as their tools found them."""
    monkeypatch.setattr("fleet_agent.surroundings.trees.grow", lambda *_: 1 / 0)
    reading = Scanner((Works(),)).scan()
    assert [s.id for s in reading.sessions] == ["a"]
    assert reading.problems[-1].kind == "internal"


class Hides(Works):
    """A tool that cannot tell its sessions any more, because of a bug."""

    name = "hides"
    session_variable = "CODEX_THREAD_ID"
    broken = False

    def find(self, _table: ProcessTable, now: float) -> Found:  # noqa: ARG002
        return Found((), (Problem("internal", "a bug"),)) if self.broken else Found()


@pytest.mark.skipif(not procfs.AVAILABLE, reason="/proc is Linux's")
def test_what_a_bug_hides_has_not_ended() -> None:
    """Its processes are no orphans, as long as nobody knows."""
    code = "import socket; s = socket.create_server(('127.0.0.1', 0)); print(1, flush=True); input()"
    environ = {**os.environ, "CODEX_THREAD_ID": "11111111-1111-4111-8111-111111111111"}
    argv = [sys.executable, "-c", code]
    tool = Hides()
    scanner = Scanner((tool,))
    scanner.scan()
    with subprocess.Popen(argv, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        assert server.stdout
        server.stdout.readline()
        assert server.pid in [orphan.pid for orphan in scanner.scan().orphan_ports]
        tool.broken = True
        assert scanner.scan().orphan_ports == ()
        server.kill()
