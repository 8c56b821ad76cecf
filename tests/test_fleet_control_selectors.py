"""fleet.control.selectors: exactly one session, or none and the candidates."""

import time

import msgspec
import pytest

from fleet import model
from fleet.control.selectors import (
    Candidate,
    Listed,
    actable,
    candidates,
    chosen,
    hosts_of,
    known,
    request_of,
)
from fleet.errors import ErrorKind, HostError, Phase, UsageError
from fleet.model import HostFailed, HostRead, Reading
from fleet.views.document import document
from fleet.views.entries import SessionEntry
from fleet_agent.control.wire import Run, Target
from fleet_agent.wire import SCHEMA, Hello, Pane, Session, Snapshot

A = Candidate(
    "gpu01", "codex", "01a1-aaaa", "calm-otter", run=Run("calm-otter", "codex", "exec", "running", 1.0)
)
B = Candidate("gpu01", "codex", "01a1-bbbb", pids=(7,))
C = Candidate("gpu02", "codex", None, "calm-fox", run=Run("calm-fox", "codex", "tmux", "running", 1.0))
D = Candidate("gpu02", "claude", "77777777", pids=(9,))
AMONG = (A, B, C, D)
LISTING = (Listed("gpu02", "codex", None, "calm-fox"), Listed("gpu01", "codex", "01a1-bbbb", None, "r7"))


@pytest.mark.parametrize(
    ("selector", "meant"),
    [
        ("1", C),
        ("2", B),
        ("gpu01:01a1-aaaa", A),
        ("gpu01:calm-otter", A),
        ("01a1-bbbb", B),
        ("calm-fox", C),
        ("calm-o", A),
        ("01a1-a", A),
        ("gpu02:c", C),
        ("gpu01:calm", A),
        ("gpu02:7", D),
        ("77777777", D),
        ("777777", D),
    ],
)
def test_one_is_meant(selector: str, meant: Candidate) -> None:
    """Number, key, id, name, a beginning of one, a beginning on one host; digits of an id too."""
    assert chosen(selector, AMONG, LISTING) is meant


@pytest.mark.parametrize(
    ("selector", "words"),
    [
        ("calm", "any of 2 sessions: gpu01:01a1-aaaa (calm-otter), gpu02:calm-fox"),
        ("01a1", "any of 2 sessions"),
        ("zebra", "no session 'zebra'; there are 4: "),
        ("3", "there is no number 3: the last listing ends at 2; `fleet ps`"),
        ("7", "the beginning of an id is HOST:7"),
        ("gpu03:x", "no session"),
    ],
)
def test_none_or_several_is_refused(selector: str, words: str) -> None:
    """With the candidates, or with what there is; a number is never the beginning of an id."""
    with pytest.raises(UsageError) as caught:
        chosen(selector, AMONG, LISTING)
    assert words in str(caught.value)


def test_a_number_means_the_line_that_was_shown() -> None:
    """New sessions do not move it; once that session is gone it means nothing."""
    newer = Candidate("gpu02", "codex", None, "apt-ant", run=C.run)
    assert chosen("1", (newer, *AMONG), LISTING) is C
    with pytest.raises(UsageError, match="1 was gpu02:calm-fox in the last listing, and that is no more"):
        chosen("1", (newer, A, B), LISTING)


def test_the_line_of_an_approval_is_that_very_request() -> None:
    """And nothing else has one."""
    assert request_of("2", LISTING) == "r7"
    assert request_of("1", LISTING) is request_of("01a1-bbbb", LISTING) is None


def test_only_what_is_needed_is_asked() -> None:
    """One host for a number or `host:`, all for anything else."""
    hosts = {"gpu01": 0, "gpu02": 0}
    assert hosts_of("1", LISTING, hosts) == {"gpu02"}
    assert hosts_of("gpu01:x", LISTING, hosts) == {"gpu01"}
    assert hosts_of("calm", LISTING, hosts) is hosts_of("nohost:x", LISTING, hosts) is None


def test_in_full_is_not_by_its_beginning() -> None:
    """What is `known` needs no further reading to be sure that it is the only one."""
    assert known("calm-otter", AMONG, ()) is A
    assert known("calm-ott", AMONG, ()) is None
    assert known("x", (A, msgspec.structs.replace(A, host="b")), ()) is None


def read_sessions(*sessions: Session, fails: bool = False) -> tuple[SessionEntry, ...]:
    reading = Reading(Hello(SCHEMA), Snapshot(1, 2.0, sessions), time.time(), time.monotonic(), 0.0)
    fleet = model.apply(model.empty(["h"]), HostRead("h", reading))
    if fails:
        error = HostError(ErrorKind.TIMEOUT, Phase.IDLE, "silent", "wait")
        fleet = model.apply(fleet, HostFailed("h", error, 1.0))
    return document(fleet, 1.0, time.monotonic()).sessions


def test_a_run_and_its_session_are_one() -> None:
    """Its processes are its supervisor's to know; what has no id yet stands by itself."""
    pane = Pane("tmux", "%3", "/tmp/s")
    sessions = read_sessions(Session("codex", "i1", pids=(5,), pane=pane), Session("codex", "i2", pids=(6,)))
    run, new = Run("a-b", "codex", "exec", "running", 1.0, id="i1"), Run("c-d", "codex", "exec", "running", 2.0)
    found = candidates(sessions, [("h", run), ("h", new)])
    assert [(c.key, c.name) for c in found] == [("h:i1", "a-b"), ("h:i2", None), ("h:c-d", "c-d")]
    assert [c.target for c in found] == [
        Target("codex", "i1", "a-b"),
        Target("codex", "i2", None, (6,)),
        Target("codex", None, "c-d"),
    ]
    assert found[0].pane == pane


def test_nothing_is_done_to_what_is_stale_or_a_subagent() -> None:
    """A row of a host that cannot be read now is never a target; nor is a subagent (PROMISES 28)."""
    (stale,) = candidates(read_sessions(Session("codex", "i1", pids=(5,)), fails=True), [])
    with pytest.raises(UsageError, match="cannot be read now: nothing is sent"):
        actable(stale)
    root, child = candidates(read_sessions(Session("codex", "i1"), Session("codex", "i2", parent_id="i1")), [])
    assert actable(root) is root
    with pytest.raises(UsageError, match="act on the session it belongs to: h:i1"):
        actable(child)
