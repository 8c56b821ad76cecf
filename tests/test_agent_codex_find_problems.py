"""fleet_agent.tools.codex.find: what cannot be read is said, and loses nothing else."""

import os
import time
from pathlib import Path

import pytest

from codex_host import Host
from fake_codex import (
    FakeCodex,
    event,
    item,
    lock_path,
    rollout_path,
    sample,
    thread_id,
)
from fake_daemon import FakeDaemon
from fleet_agent.evidence import Evidence, Verdict
from fleet_agent.status import judge
from fleet_agent.tail import Line
from fleet_agent.tools.codex.rollout import Rollout


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path / "codex-home")


def test_a_daemon_that_does_not_answer_is_a_problem(tmp_path: Path, host: Host) -> None:
    """The sessions are there as their files tell them, and the problem says what is missing."""
    thread = thread_id()
    environ = {"CODEX_HOME": str(host.home)}
    arguments = ["app-server", "--managed-daemon"]
    with (
        FakeDaemon(host.home, lambda *_: None).running(),
        FakeCodex(tmp_path, [lock_path(host.home, thread)], arguments, environ),
    ):
        found = host.look()
    assert [(s.state, s.evidence) for s in found.sessions if s.id == thread] == [("idle", "process")]
    (problem,) = [p for p in found.problems if (p.path or "").startswith(str(host.home))]
    assert problem.kind == "unreadable"
    assert "does not answer" in problem.message


def test_one_absurd_file_is_a_problem_and_the_others_are_read(tmp_path: Path, host: Host) -> None:
    """Garbage, a trap, a vanished file: each named, none of them hides or breaks a sibling."""
    good, garbage, trap, deleted = (thread_id() for _ in range(4))
    rollout_path(host.home, good).write_bytes(sample("exec_tool"))
    rollout_path(host.home, garbage).write_bytes(b"\xff\xfe\x00 no rollout\n" * 100)
    os.mkfifo(rollout_path(host.home, trap))
    with FakeCodex(tmp_path, [rollout_path(host.home, deleted)]):
        rollout_path(host.home, deleted).unlink()
        found = host.look()
    sessions = {s.id: s for s in found.sessions}
    assert (sessions[good].state, sessions[garbage].state, sessions[deleted].state) == (
        "ended",
        "unknown",
        "unknown",
    )
    assert trap not in sessions
    problems = {p.path: p for p in found.problems}
    assert problems[str(rollout_path(host.home, garbage))].kind == "unreadable"
    assert "session_meta" in problems[str(rollout_path(host.home, garbage))].message
    assert problems[f"{rollout_path(host.home, deleted)} (deleted)"].kind == "unreadable"


def test_a_bug_in_reading_one_session_does_not_lose_the_others(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An exception nobody thought of is a problem of kind `internal` for that session alone."""
    good, bad = thread_id(), thread_id()
    rollout_path(host.home, good).write_bytes(sample("exec_tool"))
    rollout_path(host.home, bad).write_bytes(sample("exec_mcp"))
    feed = Rollout.feed

    def broken(self: Rollout, line: Line) -> None:
        if b"mcp__mini" in line.data:
            raise ZeroDivisionError("planted")
        feed(self, line)

    monkeypatch.setattr(Rollout, "feed", broken)
    found = host.look()
    states = {s.id: s.state for s in found.sessions}
    assert (states[good], states[bad]) == ("ended", "unknown")
    (problem,) = [p for p in found.problems if p.path == str(rollout_path(host.home, bad))]
    assert (problem.kind, problem.message) == ("internal", "a bug of the agent: ZeroDivisionError: planted")


def test_a_bug_in_judging_one_session_does_not_lose_the_others(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same after its file was read."""
    good, bad = thread_id(), thread_id()
    rollout_path(host.home, good).write_bytes(sample("exec_tool"))
    rollout_path(host.home, bad).write_bytes(sample("exec_fail400"))

    def broken(evidence: Evidence) -> Verdict:
        return judge(evidence) if evidence.turn and evidence.turn.status == "complete" else 1 / 0  # type: ignore[return-value]

    monkeypatch.setattr("fleet_agent.tools.codex.find.judge", broken)
    found = host.sessions() | {s.id: s for s in host.look().sessions if s.id == bad}
    assert (found[good].state, found[bad].state) == ("ended", "unknown")


def test_a_line_too_long_is_said(host: Host) -> None:
    """A line of megabytes is read in part, and that is a problem of kind `oversize`."""
    thread = thread_id()
    long = item(time.time(), "message", role="user", content="x" * (5 << 20))
    rollout_path(host.home, thread).write_bytes(
        sample("exec_tool") + event(time.time(), "task_started", turn_id="t") + long
    )
    found = host.look()
    (problem,) = [p for p in found.problems if p.path == str(rollout_path(host.home, thread))]
    assert problem.kind == "oversize"
    assert "1 line(s) of more than 4 MiB" in problem.message
