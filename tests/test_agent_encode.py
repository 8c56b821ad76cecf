"""fleet_agent.encode: readings as lines."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet_agent import encode
from fleet_agent.scan import Reading
from fleet_agent.wire import (
    MAX_LINE_BYTES,
    MAX_SESSIONS,
    MAX_SNAPSHOT_BYTES,
    MAX_TEXT_CHARS,
    Problem,
    Session,
    Snapshot,
    Tokens,
)


def decoded(reading: Reading) -> list[Snapshot]:
    lines = encode.snapshot_lines(reading, seq=7)
    assert all(line.endswith(b"\n") and len(line) <= MAX_LINE_BYTES for line in lines)
    assert all(line.count(b"\n") == 1 for line in lines)
    assert sum(map(len, lines)) <= MAX_SNAPSHOT_BYTES
    parts = [msgspec.json.decode(line, type=Snapshot) for line in lines]
    assert [part.more for part in parts] == [True] * (len(parts) - 1) + [False]
    assert {(part.seq, part.now) for part in parts} == {(7, reading.now)}
    return parts


def sessions_of(parts: list[Snapshot]) -> list[Session]:
    return [session for part in parts for session in part.sessions]


def problems_of(parts: list[Snapshot]) -> list[Problem]:
    return [problem for part in parts for problem in part.problems]


def test_a_reading_is_one_line() -> None:
    """What goes in comes out."""
    session = Session(
        "codex", "a", "idle", "turn_done", title="fix it", tokens=Tokens(1, 0, 2, 0, 3), pids=(1, 2)
    )
    reading = Reading(5.0, (session,), (Problem("unreadable", "why", "/x"),), complete=False, scan_ms=1.5)
    (part,) = decoded(reading)
    assert part == Snapshot(7, 5.0, (session,), reading.problems, complete=False, scan_ms=1.5)


def test_a_large_reading_is_several_lines_with_one_seq() -> None:
    """Past 1 MiB the snapshot is split; nothing is lost and the order stays."""
    sessions = tuple(Session("codex", str(i), cwd="/" + "d" * 4000, home="/" + "h" * 2000) for i in range(400))
    parts = decoded(Reading(5.0, sessions))
    assert len(parts) > 1
    assert sessions_of(parts) == list(sessions)


def test_too_many_sessions_lose_the_oldest_that_ended_first() -> None:
    """At most 500 sessions: those that wait for a person stay, and a problem says that some are missing."""
    ended = [Session("codex", f"e{i}", "ended", last_activity_at=float(i)) for i in range(MAX_SESSIONS)]
    idle = [Session("codex", f"i{i}", "idle", last_activity_at=float(i)) for i in range(10)]
    waiting = [Session("codex", "w", "waiting", last_activity_at=0.0), Session("codex", "n", "working")]
    parts = decoded(Reading(5.0, (*ended, *idle, *waiting)))
    kept = {session.id for session in sessions_of(parts)}
    assert len(kept) == MAX_SESSIONS
    assert kept >= {"w", "n", *(s.id for s in idle)}
    assert {s.id for s in ended} - kept == {f"e{i}" for i in range(12)}
    assert [(p.kind, p.message) for p in problems_of(parts)] == [("limit", "12 of 512 sessions are not listed")]


def test_a_snapshot_never_passes_its_bound() -> None:
    """500 sessions of the longest texts there can be: cut at 4 MiB, and said so."""
    longest = "\x01" * MAX_TEXT_CHARS
    sessions = tuple(
        Session("codex", str(i), cwd=longest, title=longest, branch=longest) for i in range(MAX_SESSIONS)
    )
    parts = decoded(Reading(5.0, sessions))
    assert 0 < len(sessions_of(parts)) < MAX_SESSIONS
    assert problems_of(parts)[-1].kind == "limit"


def test_many_problems_are_cut() -> None:
    """A host with thousands of unreadable files still sends a snapshot."""
    problems = tuple(Problem("unreadable", "\x01" * 9000, "\x02" * 9000) for _ in range(5000))
    parts = decoded(Reading(5.0, (Session("codex", "a"),), problems))
    assert len(problems_of(parts)) == encode.MAX_PROBLEMS + 1
    assert [s.id for s in sessions_of(parts)] == ["a"]


@pytest.mark.parametrize("field", ["reason", "title", "cwd", "branch", "model", "source", "home", "transcript"])
def test_no_secret_leaves_in_any_text(field: str) -> None:
    """PROMISES 13: titles, paths, branch names, reasons ... go through `redact`; so do problems."""
    secret = "ghp_16C7e42F292c6912E7710c838347Ae178B4a"
    session = msgspec.structs.replace(Session("codex", "a"), **{field: f"/x/{secret}/y"})
    reading = Reading(5.0, (session,), (Problem("unreadable", f"no {secret}", f"/x/{secret}"),))
    assert secret.encode() not in b"".join(encode.snapshot_lines(reading, 1))


@settings(deadline=None)
@given(st.text(alphabet=st.characters(), max_size=60), st.sampled_from(("title", "cwd", "reason", "tty")))
def test_any_text_can_be_sent(text: str, field: str) -> None:
    """Lone surrogates (paths that are no UTF-8), controls, anything: the line is valid and decodes."""
    session = msgspec.structs.replace(Session("codex", "a"), **{field: text})
    (part,) = decoded(Reading(5.0, (session,), (Problem("unreadable", text, text),)))
    sent = getattr(part.sessions[0], field)
    assert not any("\ud800" <= c <= "\udfff" for c in sent)
