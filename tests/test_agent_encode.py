"""fleet_agent.encode: readings as lines."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet_agent import encode
from fleet_agent.scan import Reading
from fleet_agent.wire import (
    MAX_CHILDREN,
    MAX_LIMITS,
    MAX_LINE_BYTES,
    MAX_PORTS,
    MAX_SESSIONS,
    MAX_SNAPSHOT_BYTES,
    MAX_TEXT_CHARS,
    Child,
    Cost,
    CurrentTool,
    OrphanPort,
    Pane,
    Plan,
    Problem,
    RateLimit,
    Session,
    Snapshot,
    Tokens,
    Vitals,
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


SECRET = "ghp_16C7e42F292c6912E7710c838347Ae178B4a"


def nested(text: str) -> Reading:
    """A reading with this text in everything that is inside of something else."""
    session = Session(
        "codex",
        "a",
        tool_call=CurrentTool(text),
        plan=Plan(1, 2, current=text),
        children=(Child(1, text, call_id=text),),
        pane=Pane("tmux", "%1", socket=text),
    )
    return Reading(
        5.0,
        (session,),
        rate_limits=(RateLimit("codex", "account", text, 300, 1.0, 5.0),),
        orphan_ports=(OrphanPort(80, 1, text, text),),
    )


def test_no_secret_leaves_in_anything_nested() -> None:
    """PROMISES 13: names of programs, plan steps, sockets, ids from an environment, words of a provider."""
    assert SECRET.encode() not in b"".join(encode.snapshot_lines(nested(f"/x/{SECRET}/y"), 1))


@settings(deadline=None, max_examples=50)
@given(st.text(alphabet=st.characters(), max_size=60))
def test_any_nested_text_can_be_sent(text: str) -> None:
    """Program names and sockets are paths: they need not be UTF-8."""
    (part,) = decoded(nested(text))
    (session,) = part.sessions
    assert session.pane
    for sent in (session.children[0].name, session.pane.socket or "", part.orphan_ports[0].name):
        assert not any("\ud800" <= c <= "\udfff" for c in sent)


def test_every_list_is_bounded() -> None:
    """One more than may be sent of each: the snapshot decodes, which checks the wire's own bounds."""
    child = Child(1, ports=tuple(range(1, MAX_PORTS + 2)))
    session = Session("codex", "a", children=(child,) * (MAX_CHILDREN + 1), pids=(1,) * 1001)
    limit = RateLimit("codex", "account", "x", 300, 1.0, 5.0)
    reading = Reading(
        5.0,
        (session,),
        rate_limits=(limit,) * (MAX_LIMITS + 1),
        orphan_ports=(OrphanPort(80, 1),) * (MAX_PORTS + 1),
    )
    (part,) = decoded(reading)
    assert len(part.sessions[0].children) == MAX_CHILDREN
    assert len(part.sessions[0].children[0].ports) == MAX_PORTS
    assert (len(part.rate_limits), len(part.orphan_ports)) == (MAX_LIMITS, MAX_PORTS)


def test_facts_of_the_host_come_with_the_last_line() -> None:
    """Readers take them from there, once the snapshot is whole."""
    sessions = tuple(Session("codex", str(i), cwd="/" + "d" * 4000, home="/" + "h" * 2000) for i in range(400))
    vitals, cost = Vitals(cpus=2), Cost(cpu_ms=1.0)
    *first, last = decoded(Reading(5.0, sessions, vitals=vitals, cost=cost, orphan_ports=(OrphanPort(80, 1),)))
    assert (last.vitals, last.cost, last.orphan_ports) == (vitals, cost, (OrphanPort(80, 1),))
    assert first
    assert all((part.vitals, part.cost, part.orphan_ports) == (None, None, ()) for part in first)


def test_a_session_that_would_fill_a_line_is_left_out() -> None:
    """Made of the longest texts there can be, each character of six bytes: said, and the others come."""
    longest = "\x01" * MAX_TEXT_CHARS
    names = ("cwd", "title", "branch", "home", "transcript", "model", "reason", "source", "tty", "last_error")
    texts = {
        name: f"{name}{longest}" for name in (*names, "originator", "nickname", "role", "effort", "sandbox")
    }
    children = (Child(1, longest, call_id=longest),) * MAX_CHILDREN
    huge = msgspec.structs.replace(Session("codex", "huge", children=children), **texts)
    parts = decoded(Reading(5.0, (huge, Session("codex", "small"))))
    assert [s.id for s in sessions_of(parts)] == ["small"]
    assert problems_of(parts)[-1].message == "1 of 2 sessions are not listed"
