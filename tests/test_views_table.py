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
from fleet.views.document import document
from fleet.views.entries import Document
from fleet.views.lines import Style, plain
from fleet.views.subagents import folded
from fleet.views.table import short_ids, table
from fleet_agent.wire import (
    DETAILS,
    STATES,
    CurrentTool,
    OrphanPort,
    Plan,
    Problem,
    RateLimit,
    Session,
    Tokens,
)
from states import NOW_AT, NOW_MONO_S, failed, fleet, read, session

_words = st.text(max_size=40).map(clean)
_sessions = st.builds(
    Session,
    tool=_words,
    id=_words,
    state=st.sampled_from([*STATES, "dreaming"]),
    detail=st.none() | st.sampled_from([word for words in DETAILS.values() for word in words]),
    dirty_files=st.none() | st.integers(0, 2**63),
    ahead=st.none() | st.integers(0, 2**63),
    tool_call=st.none() | st.builds(CurrentTool, _words, st.none() | st.floats(allow_nan=False)),
    plan=st.none() | st.builds(Plan, st.integers(0, 2**63), st.integers(0, 2**63), st.none() | _words),
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


HEADER = ["HOST", "ID", "TOOL", "STATE", "AGE", "TITLE", "DOING", "BRANCH", "CWD", "TOKENS", "CTX"]


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
        assert lines.index("") == 1 + len([*folded(_document(state).sessions)])


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
    facts = {"branch": "main", "cwd": "/srv", "tokens": Tokens(total=9), "plan": Plan(1, 2)}
    full = {"context_used_tokens": 1, "context_window_tokens": 2}
    event = read("web1", session("0190aaaa-1", "waiting", "approval", 5, title="Fix it", **facts, **full))
    header = _lines(fleet(event), width)[0].split()
    assert {"HOST", "ID", "STATE", "AGE", "TITLE"} <= set(header)
    if width >= 120:
        assert header == HEADER


def test_columns_that_say_nothing() -> None:
    """On a terminal a column of dashes is left out, however wide it is; a pipe always gets the same columns."""
    state = fleet(read("web1", session("0190aaaa-1", "idle", "new", 5, cwd="/srv")))
    assert _lines(state, 200)[0].split() == ["HOST", "ID", "TOOL", "STATE", "AGE", "TITLE", "CWD"]
    assert _lines(state)[0].split() == HEADER


def test_what_still_fits_is_shown() -> None:
    """A narrow column is not left out because a wider one that matters more does not fit."""
    event = read("web1", session("0190aaaa-1", "idle", "new", 5, title="t" * 30, cwd="/" * 30, tokens=Tokens()))
    assert _lines(fleet(event), 72)[0].split() == ["HOST", "ID", "TOOL", "STATE", "AGE", "TITLE", "TOKENS"]


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


def _row(one: Session, *others: Session, width: int | None = None) -> str:
    """The line of the first session, each cell of it between two spaces."""
    return _lines(fleet(read("web1", one, *others)), width)[1] + "  "


def test_a_tool_call_shows_how_long_it_runs() -> None:
    """Who works in a tool call shows since when; AGE is the time in the state."""
    call = CurrentTool("exec_command", states.HOST_NOW - 185)
    assert "  working tool 3m  " in _row(session("a", "working", "tool", 500, tool_call=call))
    assert "  exec_command  " in _row(session("a", "working", "tool", 500, tool_call=call))
    assert "  working tool  " in _row(session("a", "working", "tool", 500, tool_call=CurrentTool("exec")))
    assert "  waiting approval  " in _row(session("a", "waiting", "approval", 500, tool_call=call))


def test_a_stuck_turn_stands_out() -> None:
    """Without colour too, and right after what waits; the summary counts it."""
    state = fleet(
        read("web1", session("w", "working", "tool", 9_999), session("s", "working", "stuck", 700)),
        read("web2", session("a", "waiting", "approval", 1)),
    )
    lines = _lines(state, 80)
    assert [line.split()[1] for line in lines[1:4]] == ["a", "s", "w"]
    assert "working STUCK" in lines[2]
    assert lines[-1] == "2 hosts up; 3 sessions: 1 waiting, 2 working (1 stuck)"
    stuck = table(_document(state), width=80)[2]
    assert [text.strip() for text, style in stuck if style is Style.WAITING] == ["working STUCK"]


def test_plan_and_subagents_are_what_it_is_doing() -> None:
    """DOING has the steps done of the plan and how many subagents are in a turn."""
    plan = Plan(2, 5, "write the tests")
    assert "  2/5 write the tests  " in _row(session("a", "working", "thinking", 5, plan=plan))
    assert "  2/5  " in _row(session("a", "working", "thinking", 5, plan=Plan(2, 5)))
    below = [session(str(i), "working", "tool", 5, parent_id="a") for i in range(3)]
    assert "  subagents: 3 working  " in _row(session("a", "working", "subagents", 5), *below)


def test_a_root_says_that_a_subagent_waits() -> None:
    """At 80 columns too the root of a group tells what is more urgent below it, in that style."""
    below = [session(str(i), "waiting", "question", 5, parent_id="a") for i in range(2)]
    state = fleet(read("web1", session("a", "idle", "turn_done", 5), *below))
    assert "idle +2 waiting" in _lines(state, 80)[1]
    spans = table(_document(state), width=80)[1]
    assert [text.strip() for text, style in spans if style is Style.WAITING] == ["idle +2 waiting"]
    stuck = session("b", "working", "stuck", 5, parent_id="a")
    assert "  idle +STUCK  " in _row(session("a", "idle", "turn_done", 5), stuck)


def test_many_subagents_are_counted() -> None:
    """Of 365 subagents those that are done are one line, with their tokens; a pipe lists each of them."""
    used = {"tokens": Tokens(total=1000), "usage_confidence": "exact"}
    done = [session(f"{i:03}", "ended", "ok", 5, parent_id="a", **used) for i in range(300)]
    done += [session(f"{i:03}", "idle", "turn_done", 5, parent_id="a", **used) for i in range(300, 364)]
    waits = session("w", "waiting", "approval", 5, parent_id="a")
    state = fleet(read("web1", session("a", "working", "subagents", 5), *done, waits))
    lines = _lines(state, 90)
    assert lines[2].split()[1] == "w"
    cells = [cell.strip() for cell in lines[3].split("  ") if cell]
    assert cells == ["web1", "300 ended, 64 idle", "└ +364 subagents", "364.0k"]
    assert [line for line in lines if line.endswith(" ")] == []
    assert lines[4] == ""
    assert _lines(state).index("") == 1 + 366


@pytest.mark.parametrize(
    ("facts", "shown"),
    [
        ({}, "fix-1"),
        ({"dirty_files": 0, "ahead": 0, "behind": 0}, "fix-1"),
        ({"dirty_files": 3}, "fix-1 *"),
        ({"dirty_files": 3, "ahead": 2, "behind": 1}, "fix-1 *+2-1"),
        ({"behind": 12}, "fix-1 -12"),
    ],
)
def test_branch_marks(facts: dict[str, int], shown: str) -> None:
    """After the branch: * with uncommitted changes, +N with commits to push, -N with commits to pull."""
    assert f"  {shown}  " in _row(session("a", "idle", "new", 5, branch="fix-1", **facts))


def test_branch_marks_stay() -> None:
    """Where a branch is cut its marks are not."""
    one = session(
        "a", "idle", "new", 5, branch="b" * 300, cwd="/" * 300, title="t" * 300, dirty_files=1, ahead=2
    )
    assert "bbb… *+2  " in _row(one, width=120)


@pytest.mark.parametrize(
    ("confidence", "shown"),
    [("exact", "  1.5k  "), ("conservative", " ~1.5k  "), ("unknown", " ~1.5k  "), (None, " ~1.5k  ")],
)
def test_tokens_that_are_not_exact_are_marked(confidence: str | None, shown: str) -> None:
    """Only a count that is known to be exact stands without a mark."""
    one = session("a", "idle", "new", 5, tokens=Tokens(total=1500), usage_confidence=confidence)
    assert shown in _row(one)


def test_quotas_in_the_footer() -> None:
    """A limit that is reached or nearly so is said until it is reset, once for all hosts that say the same."""
    in_2_h = states.HOST_NOW + 7_300

    def limit(percent: float, resets_at: float | None, *, reached: bool = False) -> RateLimit:
        return RateLimit("codex", "a", "codex", 300, percent, states.HOST_NOW, resets_at, reached=reached)

    near, spent = limit(90.0, in_2_h), limit(100.0, in_2_h, reached=True)
    state = fleet(
        read("n1", rate_limits=(near, limit(89.9, in_2_h))),
        read("n2", rate_limits=(near, RateLimit("codex", "a", "other", 10_080, 99, states.HOST_NOW))),
        read("n3", rate_limits=(spent, limit(100.0, states.HOST_NOW - 1, reached=True))),
    )
    assert [line for line in _lines(state) if "quota" in line] == [
        "n[1-2]: quota: codex 5h window 90% used, resets in 2h",
        "n2: quota: codex other 7d window 99% used",
        "n3: quota: codex 5h window used up, resets in 2h",
    ]
    lines = [line for line in table(_document(state), width=80) if "quota" in plain(line)]
    assert [style for ((_, style),) in lines] == [None, None, Style.FAILED]


def test_orphan_ports_in_the_footer() -> None:
    """A port whose session is gone is named with its host and its process."""
    lines = _lines(fleet(read("web1", orphan_ports=(OrphanPort(8080, 777, "node"), OrphanPort(5173, 778)))))
    assert "web1: ports still open, session gone: 8080 (node, pid 777), 5173 (pid 778)" in lines


def test_styles_follow_the_state() -> None:
    """Who waits, works and failed is told apart; stale and ended rows are quiet. No text depends on it."""
    lines = table(_document(states.everything()), width=None)
    styles = {plain(line).split()[0] + plain(line)[13:21]: {s for _, s in line if s} for line in lines[1:13]}
    assert styles["gpu01019c2590"] == {Style.QUIET}  # the last of three: ended
    assert styles["laptop9f3f1f8b"] == {Style.WAITING}
    assert styles["laptopcf3f1f8b"] == {Style.WORKING}
    assert styles["laptopcf4f1f8b"] == {Style.WAITING}  # stuck: a person must look
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
        (states.nothing(), False, "to see other machines too: `fleet hosts add NAME`"),
        (states.nothing(), True, "No Codex sessions on local: none is running and none ended lately (those"),
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
