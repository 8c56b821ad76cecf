"""The table: its width, its columns, what stands below it."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wcwidth import wcswidth

import states
from fleet.errors import ErrorKind, HostError, Phase
from fleet.model import Fleet
from fleet.text import clean
from fleet.views.document import Document, document
from fleet.views.lines import Style, plain
from fleet.views.table import short_ids, table
from fleet_agent.wire import STATES, Problem, Session, Tokens
from states import NOW_AT, NOW_MONO_S, failed, fleet, read, session

_words = st.text(max_size=40).map(clean)
_sessions = st.builds(
    Session,
    tool=_words,
    id=_words,
    state=st.sampled_from([*STATES, "dreaming"]),
    title=st.none() | _words,
    cwd=st.none() | _words,
    branch=st.none() | _words,
    reason=_words,
    parent_id=st.none() | _words,
    since_at=st.none() | st.floats(allow_nan=False),
    tokens=st.none() | st.builds(Tokens, total=st.integers(min_value=-(2**63), max_value=2**63)),
    context_used_tokens=st.none() | st.integers(min_value=-(2**63), max_value=2**63),
    context_window_tokens=st.none() | st.integers(min_value=-(2**63), max_value=2**63),
)
_errors = st.builds(HostError, st.sampled_from(ErrorKind), st.sampled_from(Phase), _words, _words)


def _document(state: Fleet) -> Document:
    return document(state, NOW_AT, NOW_MONO_S)


def _lines(state: Fleet, width: int | None = None, **more: Any) -> list[str]:
    return [plain(line) for line in table(_document(state), width=width, **more)]


@settings(deadline=None)
@given(st.lists(_sessions, max_size=6), _errors, st.integers(min_value=20, max_value=200), st.booleans())
def test_no_line_is_wider_than_the_terminal(
    sessions: list[Session], error: HostError, width: int, why: bool
) -> None:
    """At any width no line is wider, whatever a host sends; and every session has its line."""
    state = fleet(read("one", *sessions, problems=(Problem("limit", error.message),)), failed("two", error))
    lines = _lines(state, width, why=why)
    assert [line for line in lines if wcswidth(line) > width] == []
    if sessions and not why:
        assert lines.index("") == 1 + len(sessions)


@settings(deadline=None)
@given(st.lists(_sessions, max_size=6))
def test_a_pipe_gets_everything(sessions: list[Session]) -> None:
    """Without a width nothing is cut: id, title, branch and directory of every session are there in full."""
    text = "\n".join(_lines(fleet(read("one", *sessions)), why=True))
    for one in sessions:
        for part in (one.id, one.title, one.cwd, one.branch, one.reason):
            assert (part or "") in text


@pytest.mark.parametrize("width", [50, 60, 80, 100, 120, 200])
def test_what_always_stays(width: int) -> None:
    """HOST, ID, STATE, AGE and TITLE are there at every width; 120 columns have room for all."""
    event = read(
        "web1", session("0190aaaa-1", "waiting", "approval", 5, title="Fix it", branch="main", cwd="/srv")
    )
    header = _lines(fleet(event), width)[0].split()
    assert {"HOST", "ID", "STATE", "AGE", "TITLE"} <= set(header)
    if width >= 120:
        assert header == ["HOST", "ID", "TOOL", "STATE", "AGE", "TITLE", "BRANCH", "CWD", "TOKENS", "CTX"]


def test_columns_are_aligned() -> None:
    """Every cell of a column begins, or ends, at the same cell, beside wide text too."""
    lines = _lines(states.everything(), 120)
    at = lines[0].index("STATE")
    rows = lines[1 : lines.index("")]
    assert {_cell(row, at)[:4] for row in rows} <= {"wait", "work", "idle", "ende", "unkn"}
    assert {wcswidth(row) for row in rows if row.endswith(("%", " -"))} == {wcswidth(lines[0])}


def _cell(line: str, at: int) -> str:
    """The text of `line` from the cell `at`."""
    return next(line[i:] for i in range(len(line)) if wcswidth(line[:i]) == at)


def test_short_ids_are_unique() -> None:
    """An id is as long as it takes to tell it from the others, at least 8: ids of one second share a prefix."""
    ids = ["019c2590-7a10-a", "019c2590-7a11-b", "019c2590-7a11-b", "7f3f1f8b-1", "short", "shorter-id"]
    assert list(short_ids(ids).values()) == ["019c2590-7a10", "019c2590-7a11", "7f3f1f8b", "short", "shorter-"]


@settings(deadline=None)
@given(st.lists(st.text(alphabet="ab-", min_size=1, max_size=30)))
def test_a_short_id_begins_no_other_id(ids: list[str]) -> None:
    """Where a short id is not the whole of it, no other id begins with it."""
    for one, short in short_ids(ids).items():
        assert short == one or [other for other in set(ids) if other.startswith(short)] == [one]


def test_weak_evidence_is_marked() -> None:
    """A state that is only a guess has a question mark; "unknown" needs none."""
    weak = [
        session("a", "waiting", "approval", 5, confidence="weak"),
        session("b", "unknown", None, 5, confidence="weak"),
    ]
    lines = _lines(fleet(read("one", *weak)))
    assert "waiting approval?" in lines[1]
    assert "unknown " in lines[2]
    assert "unknown?" not in lines[2]


def test_styles_follow_the_state() -> None:
    """Who waits, works and failed is told apart; stale and ended rows are quiet. No text depends on it."""
    lines = table(_document(states.everything()), width=None)
    styles = {plain(line).split()[0] + plain(line)[13:21]: {s for _, s in line if s} for line in lines[1:12]}
    assert styles["gpu01019c2590"] == {Style.QUIET}  # the last of three: ended
    assert styles["laptop9f3f1f8b"] == {Style.WAITING}
    assert styles["laptopcf3f1f8b"] == {Style.WORKING}
    assert styles["laptopaf3f1f8b"] == {Style.FAILED}
    assert styles["*old-serverdf3f1f8b"] == {Style.QUIET}
    assert styles["laptop7f3f1f8b"] == set()


def _error(message: str, hint: str = "mend it", kind: ErrorKind = ErrorKind.TIMEOUT) -> HostError:
    return HostError(kind, Phase.CONNECT, message, hint)


def test_hosts_are_folded_by_cause() -> None:
    """Hosts that failed alike are one line; names, addresses and keys do not make a difference."""
    state = fleet(
        failed("gpu01", _error("gpu01 (10.0.0.1:22) is silent", "ssh gpu01")),
        failed("web", _error("web is silent", "ssh web", ErrorKind.UNREACHABLE)),
        failed("gpu02", _error("gpu02 (10.0.0.2:22) is silent", "ssh gpu02")),
        failed("gpu03", _error("gpu03 ([fe80::3]:22) is silent", "ssh gpu03")),
    )
    assert _lines(state)[:4] == [
        "gpu[01-03]: timeout (connect): HOST (ADDRESS:22) is silent",
        "  hint: ssh HOST",
        "web: unreachable (connect): web is silent",
        "  hint: ssh web",
    ]


def test_different_messages_stay_apart() -> None:
    """Two ways in which agents failed are two lines; hosts that say the very same are quoted as they are."""
    state = fleet(
        failed("a", _error("exit status 1: no space left on device 10.0.0.9")),
        failed("b", _error("exit status 1: no space left on device 10.0.0.9")),
        failed("c", _error("exit status 3")),
    )
    text = "\n".join(_lines(state))
    assert "a,b: timeout (connect): exit status 1: no space left on device 10.0.0.9\n" in text
    assert "c: timeout (connect): exit status 3\n" in text


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(1, 99), st.sampled_from(["one", "two", "three"])), max_size=20))
def test_every_failed_host_is_named(hosts: list[tuple[int, str]]) -> None:
    """Folding loses no host."""
    from fleet.hosts import expand

    state = fleet(*(failed(f"h{n}", _error(message)) for n, message in dict(hosts).items()))
    named = [line.split(":")[0] for line in _lines(state) if ": timeout (connect)" in line]
    assert sorted(name for term in named for name in expand(term)) == sorted(state.hosts)


def test_warnings_are_folded_too() -> None:
    """The same warning of many hosts is one line."""
    limit = (Problem("limit", "more than 500 sessions"),)
    lines = _lines(fleet(*(read(f"n{i}", problems=limit) for i in range(1, 4))))
    assert "n[1-3]: warning (limit): more than 500 sessions" in lines


@pytest.mark.parametrize(
    ("state", "configured", "says"),
    [
        (states.nothing(), False, "list them in ~/.config/fleet/hosts.toml"),
        (states.nothing(), True, "No sessions on local: none is running and none ended lately. Start one"),
        (states.all_down(), True, "nothing is known about sessions. Mend"),
        (states.incomplete(), True, "does not mean that there are none"),
        (fleet(read("a"), failed("b")), True, "nothing is known about the others"),
        (fleet(pending=("a",)), True, "No host has answered yet."),
    ],
)
def test_no_sessions_says_why_and_what_next(state: Fleet, configured: bool, says: str) -> None:
    """An empty list has its own words for: not configured, none there, not readable, not all seen, not yet."""
    assert says in "\n".join(_lines(state, configured=configured))


@pytest.mark.parametrize(
    ("state", "says"),
    [
        (states.nothing(), "1 host up; no sessions"),
        (states.incomplete(), "2 hosts up; no sessions seen"),
        (states.all_down(), "3 hosts down; sessions not known"),
        (fleet(read("a", session("x", "idle", "new", 1))), "1 host up; 1 session: 1 idle"),
        (fleet(read("a"), failed("a")), "1 host stale; no sessions"),
    ],
)
def test_the_summary(state: Fleet, says: str) -> None:
    """The last line counts hosts and sessions, and claims none only where all was seen."""
    assert _lines(state)[-1] == says
