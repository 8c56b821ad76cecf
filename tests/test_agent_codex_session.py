"""fleet_agent.tools.codex.session: a thread as a row."""

import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fake_codex import DATA, event, item
from fleet_agent.evidence import Turn
from fleet_agent.processes import Process
from fleet_agent.status import judge
from fleet_agent.tail import Line
from fleet_agent.tools.codex.holders import Holder
from fleet_agent.tools.codex.lines import Meta, decode_meta
from fleet_agent.tools.codex.rollout import Rollout
from fleet_agent.tools.codex.session import Thread, created_at, evidence, session, title
from fleet_agent.wire import CONFIDENCES, DETAILS, STATES, CurrentTool, Plan, Session

V7 = "01a1fbf3-d4da-78f3-8f80-8b9a0611d5f6"


def process(*arguments: str, tty: str | None = None, started_at: float = 5.0) -> Process:
    return Process(1, 1, started_at, "/x/codex", ("codex", *arguments), 0, tty, "/its/own/cwd")


@pytest.mark.parametrize(
    ("name", "prompt", "cwd", "expected"),
    [
        ("a name", "a prompt", "/x/dir", ("a name", "name")),
        (None, "a prompt\nmore", "/x/dir", ("a prompt", "prompt")),
        (None, None, "/x/dir/", ("dir", "directory")),
        (" \n", None, "/", ("/", "directory")),
        (None, None, None, (None, None)),
        ("use sk-abcdefghijklmnop1234567890", None, None, ("use [redacted]", "name")),
    ],
)
def test_titles(
    name: str | None, prompt: str | None, cwd: str | None, expected: tuple[str | None, str | None]
) -> None:
    """Name, else first prompt, else directory; one line, no secrets."""
    assert title(name, prompt, cwd) == expected


def test_a_directory_whose_path_is_secret_names_no_thread() -> None:
    """PROMISES 13: the last part of a path does not look like the secret that it is a part of."""
    assert title(None, None, "/ci/SECRET_KEY=wJalrXUtnFEMI/K7MDENG/bPxRfiCYKEY")[0] == "SECRET_KEY=[redacted]"


def test_a_thread_that_was_never_asked_anything() -> None:
    """Only its lock is held: it is new, since its id was made, and belongs where its process works."""
    thread = Thread(V7, "/home", holder=Holder([process(tty="pts/3")], "/home"))
    row = session(thread, judge(evidence(thread, 2e9, None)))
    assert (row.state, row.detail, row.title, row.title_source) == ("idle", "new", "cwd", "directory")
    assert (row.cwd, row.tty, row.pids, row.home) == ("/its/own/cwd", "pts/3", (1,), "/home")
    assert row.started_at == row.since_at == pytest.approx(1795228423.386)
    assert (row.root_id, row.tokens, row.model, row.transcript) == (None, None, None, None)


def test_a_daemons_directory_is_not_its_threads() -> None:
    """The daemon keeps the directory of the first TUI; a new thread in it has none that is known."""
    holder = Holder([process("app-server", "--managed-daemon")], "/home")
    assert session(Thread(V7, "/home", holder=holder), judge(evidence(Thread(V7, None), 2e9, None))).cwd is None


def test_the_turn_of_a_killed_process_is_not_the_new_ones() -> None:
    """Evidence carries the start of the earliest writer, and whether it is an exec or a server."""
    thread = Thread(
        V7, None, holder=Holder([process("exec", started_at=9.0), process("exec", started_at=7.0)], "/h")
    )
    found = evidence(thread, 2e9, None)
    assert (found.writer_at, found.one_shot, found.server) == (7.0, True, False)
    server = evidence(Thread(V7, None, holder=Holder([process("app-server")], "/h")), 2e9, None)
    assert (server.one_shot, server.server) == (False, True)


@pytest.mark.parametrize(
    ("source", "trigger", "detail"),
    [
        ("exec", "exec", "failed"),
        ("exec", "user", "ok"),
        ("cli", "exec", "failed"),
        ("cli", "user", "ok"),
        ("exec", None, "failed"),
        ("cli", None, "ok"),
    ],
)
def test_an_interrupted_run_has_failed_whoever_began_the_session(
    source: str, trigger: str | None, detail: str
) -> None:
    """The last turn tells whether it was a run; before 0.163 only who began the session does."""
    facts = Rollout(Meta(source=source))
    facts.turn = Turn("aborted", "t", 1.0, 2.0, trigger=trigger)
    verdict = judge(evidence(Thread(V7, "/home", facts=facts), 2e9, None))
    assert (verdict.state, verdict.detail) == ("ended", detail)


@pytest.mark.parametrize(("source", "confidence"), [("cli", "weak"), ("exec", "weak"), ("vscode", "strong")])
def test_a_server_may_hold_a_turn_that_another_process_began(source: str, confidence: str) -> None:
    """An app-server that is older than the turn did not begin it for sure if it did not begin the thread."""
    facts = Rollout(Meta(source=source))
    facts.turn = Turn("open", "t", started_at=10.0)
    server = Holder([process("app-server")], "/home")
    verdict = judge(evidence(Thread(V7, "/home", holder=server, facts=facts), 20.0, None))
    assert (verdict.detail, verdict.confidence) == ("thinking", confidence)


def test_the_directory_of_a_thread_is_where_it_works_now() -> None:
    """A turn may go on in another directory than the session began in."""
    facts = Rollout(Meta(id=V7, root_id=V7, cwd="/began/here", source="exec"))
    facts.feed(Line(b'{"type":"turn_context","payload":{"cwd":"/works/here","model":"m"}}'))
    thread = Thread(V7, "/h", "/h/r.jsonl", facts=facts)
    row = session(thread, judge(evidence(thread, 2e9, None)))
    assert (row.cwd, row.title, row.model, row.root_id, row.transcript) == (
        "/works/here",
        "here",
        "m",
        V7,
        "/h/r.jsonl",
    )
    assert evidence(thread, 2e9, None).one_shot


def test_the_age_of_an_id() -> None:
    """UUIDv7 tells when it was made; the UUIDv4 of old releases does not."""
    assert created_at(V7) == pytest.approx(1795228423.386)
    assert created_at("08f215e0-7476-4cbb-be70-8f84df334b78") is None


def fed(*lines: bytes, meta: Meta | None = None) -> Rollout:
    rollout = Rollout(meta or Meta())
    for line in lines:
        rollout.feed(Line(line))
    return rollout


def row_of(thread: Thread, now: float = 2e9) -> Session:
    return session(thread, judge(evidence(thread, now, None)))


def test_the_facts_that_a_rollout_tells() -> None:
    """Settings, names, size, error and the call that a session is in are in its row."""
    at = 1_800_000_000.0
    meta = Meta(id=V7, provider="openai", branch="main", nickname="Hume", role="explorer")
    context = {"effort": "high", "approval_policy": "never", "sandbox_policy": {"type": "read-only"}}
    facts = fed(
        event(at, "task_started", turn_id="t"),
        json.dumps({"type": "turn_context", "payload": context}).encode(),
        item(at + 1, "function_call", call_id="c", name="exec_command", arguments="{}"),
        meta=meta,
    )
    calls = tuple(facts.calls.values())
    live = Holder([process("exec", started_at=at - 1)], "/h")
    thread = Thread(V7, "/h", "/h/r", live, facts, calls, size_bytes=900, grown_bytes=30, modified_at=at + 1)
    row = row_of(thread, at + 2)
    assert (row.effort, row.provider, row.approval_policy, row.sandbox) == (
        "high",
        "openai",
        "never",
        "read-only",
    )
    assert (row.branch_at_start, row.nickname, row.role) == ("main", "Hume", "explorer")
    assert (row.transcript_bytes, row.grown_bytes, row.last_error) == (900, 30, None)
    assert row.tool_call == CurrentTool("exec_command", at + 1)
    assert row_of(msgspec.structs.replace(thread, holder=None)).tool_call is None


def test_the_words_of_a_plan_stay_unless_they_are_allowed_to_leave() -> None:
    """How far it is may always be said; the step itself is the conversation's text."""
    arguments = '{"plan":[{"step":"secret","status":"in_progress"}]}'
    facts = fed(item(5.0, "function_call", call_id="c", name="update_plan", arguments=arguments))
    assert row_of(Thread(V7, "/h", "/h/r", facts=facts)).plan == Plan(0, 1, None)
    assert row_of(Thread(V7, "/h", "/h/r", facts=facts, show_steps=True)).plan == Plan(0, 1, "secret")


@pytest.mark.parametrize(
    ("modified_at", "started_at", "expected"),
    [
        (1000.0, 500.0, "stuck"),
        (1590.0, 500.0, "thinking"),  # the file was touched, its lines carry another clock's times
        (1000.0, 1590.0, "aborted"),  # opened again a moment ago
        (9000.0, 500.0, "thinking"),  # a clock that was set back
    ],
)
def test_a_session_moves_with_its_file_and_its_process(
    modified_at: float, started_at: float, expected: str
) -> None:
    """Stuck is only what no line, no write and no new process has moved."""
    said = item(1000.0, "message", role="assistant")
    facts = fed(event(1000.0, "task_started", turn_id="t"), said)
    holder = Holder([process(started_at=started_at)], "/h")
    row = row_of(Thread(V7, "/h", "/h/r", holder, facts, modified_at=modified_at), 1601.0)
    assert row.detail == expected


def test_a_limit_is_reset_by_what_the_failed_turn_was_told() -> None:
    """Windows of an earlier turn say nothing of this failure; a first reading would not have seen them."""

    def told(at: float) -> bytes:
        full = {"used_percent": 100, "window_minutes": 300, "resets_at": 5000}
        return event(at, "token_count", rate_limits={"primary": full})

    began = event(2000.0, "task_started", turn_id="t")
    failed = event(2001.0, "task_complete", turn_id="t", error={"codex_error_info": "usage_limit_exceeded"})
    before = Thread(V7, "/h", "/h/r", facts=fed(told(1999.0), began, failed))
    during = Thread(V7, "/h", "/h/r", facts=fed(began, told(2000.5), failed))
    assert evidence(before, 3000.0, None).limit_resets_at is None
    assert evidence(during, 3000.0, None).limit_resets_at == 5000.0
    live = msgspec.structs.replace(during, holder=Holder([process(started_at=1.0)], "/h"))
    assert (row_of(live, 3000.0).detail, row_of(live, 5000.0).detail) == ("rate_limit", "failed")


LINES = sorted({line for path in DATA.glob("*.jsonl") for line in path.read_bytes().splitlines()})


@settings(deadline=None)
@given(st.lists(st.sampled_from(LINES), max_size=40), st.booleans(), st.sampled_from((0.0, 1.8e9, 9e9)))
def test_any_lines_in_any_order_make_a_row(lines: list[bytes], live: bool, now: float) -> None:
    """Releases mixed, lines lost, doubled and out of order, any clock: a verdict and a row that can be sent."""
    facts = fed(*lines, meta=decode_meta(Line(lines[0])) if lines else None)
    holder = Holder([process(started_at=1.7e9)], "/h") if live else None
    thread = Thread(V7, "/h", "/h/r", holder, facts, tuple(facts.calls.values()), modified_at=1.79e9)
    row = row_of(thread, now)
    assert row.state in STATES
    assert row.detail is None or row.detail in DETAILS[row.state]
    assert row.confidence in CONFIDENCES
    assert row.reason.endswith(".")
    assert msgspec.json.decode(msgspec.json.encode(row), type=Session) == row
