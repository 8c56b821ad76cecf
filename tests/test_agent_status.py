"""fleet_agent.status: evidence -> state."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet_agent.evidence import Call, Evidence, Turn
from fleet_agent.status import APPROVAL_GRACE_S, judge
from fleet_agent.wire import CONFIDENCES, DETAILS, EVIDENCE, STATES

NOW = 1_000_000.0
OPEN = Turn("open", "t", started_at=NOW - 60)
OVER = {status: Turn(status, "t", NOW - 60, NOW - 10) for status in ("complete", "failed", "aborted")}


def call(kind: str = "shell", age_s: float = 30.0, process: str = "no", escalated: bool = False) -> Call:
    return Call(
        "c", {"shell": "exec_command", "script": "exec"}.get(kind, kind), kind, NOW - age_s, escalated, process
    )


SEVERAL = msgspec.structs.replace(call("script", process="yes"), several=True)


def judged(live: bool = True, **evidence: Any) -> tuple[str, str | None, str]:
    verdict = judge(Evidence(NOW, live, **evidence))
    return verdict.state, verdict.detail, verdict.confidence


@pytest.mark.parametrize(
    ("evidence", "expected"),
    [
        # its turn is over, and a process holds it open
        ({"turn": OVER["complete"]}, ("idle", "turn_done", "fact")),
        ({"turn": OVER["failed"]}, ("idle", "failed", "fact")),
        ({"turn": OVER["aborted"]}, ("idle", "aborted", "fact")),
        ({"turn": msgspec.structs.replace(OVER["complete"], doubtful=True)}, ("idle", "turn_done", "weak")),
        ({}, ("idle", "new", "strong")),
        # in the middle of a turn
        ({"turn": OPEN}, ("working", "thinking", "strong")),
        ({"turn": OPEN, "calls": (call(process="yes"),)}, ("working", "tool", "strong")),
        ({"turn": OPEN, "calls": (call("script", process="yes"),)}, ("working", "tool", "strong")),
        ({"turn": OPEN, "calls": (call("question"),)}, ("waiting", "question", "strong")),
        ({"turn": OPEN, "calls": (call("wait"),)}, ("working", "subagents", "strong")),
        ({"turn": OPEN, "calls": (call("other"),)}, ("working", "tool", "strong")),
        ({"turn": OPEN, "calls": (call("opaque"),)}, ("working", "tool", "weak")),
        ({"turn": OPEN, "calls": (call("opaque"),), "approvals": "never"}, ("working", "tool", "strong")),
        # an open call for which nothing runs
        ({"turn": OPEN, "calls": (call(),)}, ("waiting", "approval", "weak")),
        ({"turn": OPEN, "calls": (call(escalated=True),)}, ("waiting", "approval", "strong")),
        ({"turn": OPEN, "calls": (call("patch"),)}, ("waiting", "approval", "weak")),
        ({"turn": OPEN, "calls": (call("script", escalated=True),)}, ("waiting", "approval", "weak")),
        ({"turn": OPEN, "calls": (call(age_s=APPROVAL_GRACE_S - 0.1),)}, ("working", "tool", "weak")),
        ({"turn": OPEN, "calls": (call(age_s=-100, escalated=True),)}, ("working", "tool", "weak")),
        ({"turn": OPEN, "calls": (call(process="maybe", escalated=True),)}, ("working", "tool", "weak")),
        ({"turn": OPEN, "calls": (call(escalated=True),), "approvals": "never"}, ("working", "tool", "strong")),
        ({"turn": OPEN, "calls": (call(escalated=True),), "reviewer": "auto"}, ("working", "tool", "weak")),
        (
            {"turn": OPEN, "calls": (call(escalated=True),), "reviewer": "user"},
            ("waiting", "approval", "strong"),
        ),
        # several open calls
        ({"turn": OPEN, "calls": (call(process="yes"), call("question"))}, ("waiting", "question", "strong")),
        ({"turn": OPEN, "calls": (call(process="yes"), call())}, ("working", "tool", "weak")),
        ({"turn": OPEN, "calls": (call("wait"), call())}, ("waiting", "approval", "weak")),
        ({"turn": OPEN, "calls": (call(process="yes"), call("opaque"))}, ("working", "tool", "weak")),
        # one script that calls several tools
        ({"turn": OPEN, "calls": (SEVERAL,)}, ("working", "tool", "weak")),
        ({"turn": OPEN, "calls": (SEVERAL,), "approvals": "never"}, ("working", "tool", "strong")),
        ({"turn": OPEN, "calls": (SEVERAL,), "reviewer": "auto"}, ("working", "tool", "strong")),
        # its process is stopped
        ({"turn": OPEN, "stopped": True}, ("working", "stuck", "strong")),
        ({"turn": OPEN, "stopped": True, "calls": (call(escalated=True),)}, ("working", "stuck", "strong")),
        ({"turn": OVER["complete"], "stopped": True}, ("idle", "turn_done", "fact")),
        # a server holds what another process began: it may have begun the turn too, and be gone
        ({"turn": OPEN, "inherited": True}, ("working", "thinking", "weak")),
        (
            {"turn": OPEN, "inherited": True, "calls": (call(escalated=True),)},
            ("waiting", "approval", "weak"),
        ),
        ({"turn": OPEN, "inherited": True, "calls": (call(process="yes"),)}, ("working", "tool", "strong")),
        ({"turn": OPEN, "inherited": True, "writer_at": NOW - 30}, ("idle", "aborted", "strong")),
        # the turn of a process that was killed, opened again by another
        ({"turn": OPEN, "writer_at": NOW - 30}, ("idle", "aborted", "strong")),
        ({"turn": OPEN, "writer_at": NOW - 30, "calls": (call(),)}, ("idle", "aborted", "strong")),
        ({"turn": OPEN, "writer_at": NOW - 90}, ("working", "thinking", "strong")),
        (
            {"turn": msgspec.structs.replace(OPEN, trigger="exec"), "server": True, "writer_at": NOW - 90},
            ("idle", "aborted", "strong"),
        ),
        # something of the turn was not read
        ({"turn": OPEN, "gapless": False}, ("working", "thinking", "weak")),
        ({"turn": OPEN, "calls": (call(process="yes"),), "gapless": False}, ("working", "tool", "weak")),
        ({"gapless": False}, ("unknown", None, "weak")),
        ({"gapless": False, "last_actor": "tool"}, ("working", "thinking", "weak")),
        # releases before 0.101
        ({"last_actor": "user"}, ("working", "thinking", "weak")),
        ({"last_actor": "tool"}, ("working", "thinking", "weak")),
        ({"last_actor": "assistant"}, ("idle", "turn_done", "weak")),
        ({"last_actor": "tool", "calls": (call(process="yes"),)}, ("working", "tool", "weak")),
        ({"last_actor": "user", "active_at": NOW - 60, "writer_at": NOW - 30}, ("idle", "turn_done", "weak")),
        ({"turn": OPEN, "readable": False}, ("unknown", None, "weak")),
    ],
)
def test_a_session_that_a_process_holds_open(
    evidence: dict[str, Any], expected: tuple[str, str | None, str]
) -> None:
    """Each state of a live session is told from the others, and what cannot be told for sure is weak."""
    assert judged(live=True, **evidence) == expected


@pytest.mark.parametrize(
    ("evidence", "expected"),
    [
        ({"turn": OVER["complete"]}, ("ended", "ok", "fact")),
        ({"turn": OVER["failed"]}, ("ended", "failed", "fact")),
        ({"turn": OVER["aborted"]}, ("ended", "ok", "fact")),
        ({"turn": OVER["aborted"], "one_shot": True}, ("ended", "failed", "fact")),
        ({"turn": OPEN}, ("ended", "crashed", "strong")),
        ({"turn": OPEN, "calls": (call(),)}, ("ended", "crashed", "strong")),
        ({"turn": msgspec.structs.replace(OVER["complete"], doubtful=True)}, ("ended", "ok", "weak")),
        ({}, ("ended", "ok", "strong")),
        # a writer may be there that cannot be seen
        ({"turn": OPEN, "blind": "scan"}, ("unknown", None, "weak")),
        ({"turn": OPEN, "blind": "network"}, ("unknown", None, "weak")),
        ({"turn": OVER["complete"], "blind": "scan"}, ("ended", "ok", "weak")),
        ({"turn": OVER["complete"], "blind": "network"}, ("unknown", None, "weak")),
        ({"turn": OVER["complete"], "blind": "network", "one_shot": True}, ("ended", "ok", "weak")),
        ({"blind": "scan"}, ("unknown", None, "weak")),
        # releases before 0.101
        ({"last_actor": "assistant"}, ("ended", "ok", "weak")),
        ({"last_actor": "user"}, ("ended", None, "weak")),
        ({"last_actor": "tool", "calls": (call(),)}, ("ended", None, "weak")),
        ({"last_actor": "user", "blind": "network"}, ("unknown", None, "weak")),
    ],
)
def test_a_session_that_no_process_holds_open(
    evidence: dict[str, Any], expected: tuple[str, str | None, str]
) -> None:
    """How a session ended; and "unknown" where another host or a hidden process may still work on it."""
    assert judged(live=False, **evidence) == expected


@pytest.mark.parametrize(
    ("evidence", "since_at"),
    [
        ({"turn": OVER["complete"]}, NOW - 10),
        ({"turn": OPEN}, NOW - 60),
        ({"turn": OPEN, "resumed_at": NOW - 5}, NOW - 5),
        ({"turn": OPEN, "calls": (call(age_s=30, process="yes"),)}, NOW - 30),
        ({"turn": OPEN, "calls": (call(age_s=40),)}, NOW - 40),
        ({"turn": OPEN, "live": False, "active_at": NOW - 7}, NOW - 7),
    ],
)
def test_since_is_the_evidences_own_time(evidence: dict[str, Any], since_at: float) -> None:
    """`since_at` is when the state was entered, by what was written down, not when it was looked at."""
    assert judge(Evidence(**{"now": NOW, "live": True, **evidence})).since_at == since_at


LEFTOVER = {"turn": OPEN, "writer_at": NOW - 30}  # of a process that was killed


@pytest.mark.parametrize(
    ("told", "evidence", "expected"),
    [
        # a person must act: no file says so, and none contradicts it
        ("approval", {"turn": OPEN, "calls": (call(age_s=0.1),)}, ("waiting", "approval", NOW - 0.1)),
        ("approval", {"turn": OPEN, "calls": (call(process="yes"),)}, ("waiting", "approval", NOW - 30)),
        ("approval", {"turn": OVER["complete"]}, ("waiting", "approval", None)),
        ("approval", {"turn": OPEN, "readable": False}, ("waiting", "approval", NOW - 5)),
        ("question", {"turn": OPEN, "calls": (call(), call("question", 9))}, ("waiting", "question", NOW - 9)),
        ("question", {}, ("waiting", "question", None)),
        # at work: the finer detail is the file's
        ("active", {"turn": OPEN}, ("working", "thinking", NOW - 60)),
        ("active", {"turn": OPEN, "calls": (call(process="yes"),)}, ("working", "tool", NOW - 30)),
        ("active", {"turn": OPEN, "calls": (call("wait"),)}, ("working", "subagents", NOW - 30)),
        # never waiting, whatever an open call looks like
        ("active", {"turn": OPEN, "calls": (call(escalated=True),)}, ("working", "tool", NOW - 30)),
        ("active", {"turn": OPEN, "calls": (call("question"),)}, ("working", "tool", NOW - 30)),
        # the file is a moment behind, or was not read: no detail or time rather than a wrong one
        ("active", {"turn": OVER["complete"]}, ("working", None, None)),
        ("active", LEFTOVER, ("working", None, None)),
        ("active", {"turn": OPEN, "gapless": False}, ("working", None, None)),
        ("active", {}, ("working", None, None)),
        ("active", {"turn": OPEN, "readable": False}, ("working", None, None)),
        # its turn is over
        ("idle", {}, ("idle", "new", NOW - 5)),
        ("idle", {"turn": OVER["complete"]}, ("idle", "turn_done", NOW - 10)),
        ("idle", {"turn": OVER["aborted"]}, ("idle", "aborted", NOW - 10)),
        ("idle", {"turn": OVER["failed"]}, ("idle", "failed", NOW - 10)),
        ("idle", {"last_actor": "assistant"}, ("idle", "turn_done", NOW - 5)),
        ("idle", LEFTOVER, ("idle", "aborted", NOW - 5)),
        ("idle", {"turn": OPEN, "calls": (call(process="yes"),)}, ("idle", None, NOW - 5)),
        ("idle", {"turn": OVER["complete"], "gapless": False}, ("idle", None, NOW - 10)),
        ("idle", {"turn": OVER["complete"], "readable": False}, ("idle", None, NOW - 10)),
        ("failed", {"turn": OVER["failed"]}, ("idle", "failed", NOW - 10)),
        ("failed", {"turn": OPEN}, ("idle", "failed", NOW - 5)),
    ],
)
def test_the_daemon_has_the_last_word(
    told: str, evidence: dict[str, Any], expected: tuple[str, str | None, float | None]
) -> None:
    """What Codex's own server says of a thread is a fact; where the file contradicts it, the file is late."""
    verdict = judge(Evidence(NOW, live=True, told=told, active_at=NOW - 5, **evidence))
    assert (verdict.state, verdict.detail, verdict.since_at) == expected
    assert (verdict.evidence, verdict.confidence) == ("app_server", "fact")
    assert verdict.reason.startswith("The Codex daemon says that it")


def test_the_daemons_word_does_not_outlive_its_process() -> None:
    """A session that no process holds is judged by its file."""
    assert judged(live=False, turn=OPEN, told="active") == ("ended", "crashed", "strong")


QUIET: dict[str, Any] = {"turn": OPEN, "moved_at": NOW - 601}


@pytest.mark.parametrize(
    ("evidence", "expected"),
    [
        (QUIET, ("working", "stuck", "strong")),
        ({**QUIET, "moved_at": NOW - 599}, ("working", "thinking", "strong")),
        ({**QUIET, "moved_at": NOW + 9e6}, ("working", "thinking", "strong")),  # a clock that was set back
        ({**QUIET, "moved_at": None}, ("working", "thinking", "strong")),
        ({**QUIET, "calls": (call(age_s=900, process="yes"),)}, ("working", "tool", "strong")),
        ({**QUIET, "calls": (call(age_s=900),), "approvals": "never"}, ("working", "stuck", "strong")),
        ({**QUIET, "calls": (call(age_s=900),), "reviewer": "auto"}, ("working", "stuck", "strong")),
        (
            {**QUIET, "calls": (call(age_s=900, process="maybe"),), "approvals": "never"},
            ("working", "tool", "strong"),
        ),
        ({**QUIET, "calls": (call("opaque", 900),)}, ("working", "stuck", "weak")),
        ({**QUIET, "calls": (call("other", 900),)}, ("working", "stuck", "weak")),
        ({**QUIET, "gapless": False}, ("working", "stuck", "weak")),
        ({"last_actor": "user", "moved_at": NOW - 601}, ("working", "stuck", "weak")),  # before 0.101
        ({**QUIET, "told": "active"}, ("working", "stuck", "fact")),
        (
            {**QUIET, "told": "active", "calls": (call(age_s=900, escalated=True),)},
            ("working", "stuck", "fact"),
        ),
        # whoever waits is not stuck, and who is done even less
        ({**QUIET, "calls": (call(age_s=900, escalated=True),)}, ("waiting", "approval", "strong")),
        ({**QUIET, "calls": (call("question", 900),)}, ("waiting", "question", "strong")),
        ({**QUIET, "calls": (call("wait", 900),)}, ("working", "subagents", "strong")),
        ({**QUIET, "turn": OVER["complete"]}, ("idle", "turn_done", "fact")),
        ({**QUIET, "told": "idle", "turn": OVER["complete"]}, ("idle", "turn_done", "fact")),
    ],
)
def test_an_open_turn_in_which_nothing_moves_is_stuck(
    evidence: dict[str, Any], expected: tuple[str, str | None, str]
) -> None:
    """After 10 minutes without a line and without a process of an open call; never by a clock that is wrong."""
    assert judged(live=True, **evidence) == expected


def test_a_tool_that_runs_long_says_so() -> None:
    """It is no reason to call it stuck; `since_at` of a stuck session is when it moved last."""
    long = judge(Evidence(NOW, live=True, **{**QUIET, "calls": (call(age_s=900, process="yes"),)}))
    assert long.reason == "The process of a call of exec_command runs for more than 10 minutes."
    assert judge(Evidence(NOW, live=True, **QUIET)).since_at == NOW - 601


LIMITED = msgspec.structs.replace(OVER["failed"], error="usage_limit_exceeded")
LIMITED_429 = msgspec.structs.replace(OVER["failed"], error="usage_limit_exceeded, HTTP 429")


@pytest.mark.parametrize(
    ("evidence", "expected"),
    [
        ({"turn": LIMITED}, ("waiting", "rate_limit", "strong")),  # when it is reset is not known
        ({"turn": LIMITED, "limit_resets_at": NOW + 60}, ("waiting", "rate_limit", "fact")),
        ({"turn": LIMITED, "limit_resets_at": NOW - 60}, ("idle", "failed", "fact")),
        ({"turn": LIMITED, "told": "failed"}, ("waiting", "rate_limit", "fact")),
        ({"turn": LIMITED_429}, ("waiting", "rate_limit", "strong")),
        ({"turn": LIMITED, "one_shot": True}, ("idle", "failed", "fact")),  # it ends with its turn
        ({"turn": LIMITED, "live": False}, ("ended", "failed", "fact")),
        ({"turn": OVER["failed"], "limit_resets_at": NOW + 60}, ("idle", "failed", "fact")),
    ],
)
def test_a_used_up_limit_is_told_from_other_failures(
    evidence: dict[str, Any], expected: tuple[str, str | None, str]
) -> None:
    """It waits for a reset or a purchase, until the limit is known to be reset; then it merely failed."""
    assert judged(**{"live": True, **evidence}) == expected


def test_the_call_that_a_session_is_in() -> None:
    """It is the one that its state comes from: what waits for a person before what runs."""
    asks, runs = call("question", 9), call(age_s=40, process="yes")
    assert judge(Evidence(NOW, live=True, turn=OPEN, calls=(runs, asks))).call == asks
    assert judge(Evidence(NOW, live=True, turn=OPEN, calls=(runs,))).call == runs
    assert judge(Evidence(NOW, live=True, turn=OPEN, calls=(runs,), told="active")).call == runs
    assert judge(Evidence(NOW, live=False, turn=OPEN, calls=(runs,))).call is None


def test_a_compressed_transcript_that_was_not_read_tells_little() -> None:
    """It ended, as Codex compresses nothing that is open; how it ended is not guessed."""
    assert judged(live=False, packed=True) == ("ended", None, "weak")


def test_a_failure_is_named() -> None:
    """The reason says what failed, in the tool's own word."""
    turn = msgspec.structs.replace(OVER["failed"], error="bad_request")
    assert judge(Evidence(NOW, live=True, turn=turn)).reason == "Its last turn failed (bad_request)."


calls = st.builds(
    Call,
    st.text(max_size=3),
    st.just("exec_command"),
    st.sampled_from(("shell", "patch", "script", "question", "wait", "opaque", "other")),
    st.none() | st.floats(NOW - 100, NOW + 100),
    st.booleans(),
    st.sampled_from(("yes", "no", "maybe")),
)
turns = st.builds(
    Turn,
    st.sampled_from(("open", "complete", "failed", "aborted")),
    started_at=st.none() | st.just(NOW),
    error=st.sampled_from((None, "usage_limit_exceeded")),
)


@settings(deadline=None)
@given(
    st.builds(
        Evidence,
        now=st.just(NOW),
        live=st.booleans(),
        readable=st.booleans(),
        turn=st.none() | turns,
        calls=st.lists(calls, max_size=3).map(tuple),
        last_actor=st.sampled_from((None, "user", "assistant", "tool")),
        approvals=st.sampled_from((None, "never", "on-request")),
        writer_at=st.none() | st.floats(NOW - 100, NOW + 100),
        one_shot=st.booleans(),
        blind=st.sampled_from((None, "scan", "network")),
        gapless=st.booleans(),
        told=st.sampled_from((None, "approval", "question", "active", "idle", "failed")),
        moved_at=st.none() | st.floats(NOW - 2000, NOW + 2000),
        limit_resets_at=st.none() | st.floats(NOW - 100, NOW + 100),
        packed=st.booleans(),
    )
)
def test_every_verdict_is_in_the_words_of_the_wire(evidence: Evidence) -> None:
    """Whatever the evidence: known words, one sentence, and nothing sure where something is missing."""
    verdict = judge(evidence)
    assert verdict.state in STATES
    assert verdict.detail is None or verdict.detail in DETAILS[verdict.state]
    assert verdict.evidence is None or verdict.evidence in EVIDENCE
    assert verdict.confidence in CONFIDENCES
    assert verdict.reason.endswith(".")
    assert "\n" not in verdict.reason
    if evidence.live and evidence.told:
        assert (verdict.evidence, verdict.confidence) == ("app_server", "fact")
    elif verdict.state == "unknown" or not evidence.gapless or (evidence.blind and not evidence.live):
        assert verdict.confidence == "weak"
