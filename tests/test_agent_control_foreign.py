"""fleet_agent.control.foreign and targets: sessions that fleet did not start."""

import subprocess
from collections.abc import Iterator

import pytest

from fleet_agent.control import foreign, targets
from fleet_agent.control.groups import Started, started
from fleet_agent.control.targets import Foreign
from fleet_agent.control.wire import Done, Refused, Target
from fleet_agent.wire import Pane, Session

HOLDER = Started(4_000_000, 1)  # no such process


def session(**fields: object) -> Session:
    return Session("codex", "0199", **fields)  # type: ignore[arg-type]


@pytest.fixture
def sleeper() -> Iterator[Started]:
    with subprocess.Popen(["sleep", "300"]) as process:
        found = started(process.pid)
        assert found
        yield found
        process.kill()


@pytest.mark.parametrize(
    ("found", "kind", "said", "hint"),
    [
        (
            Foreign(session(parent_id="0100", root_id="0001"), (HOLDER,), "exec"),
            "not_possible",
            "subagent",
            "0001",
        ),
        (Foreign(session()), "not_possible", "has ended", "--resume 0199"),
        (Foreign(session(), (HOLDER,), "exec"), "not_possible", "one prompt", "fleet run --fork 0199"),
        (Foreign(session(), (HOLDER,), "app-server"), "not_possible", "belongs to", "fleet run --fork 0199"),
        (Foreign(session(), (HOLDER,), "tui"), "not_possible", "outside of tmux", "fleet run --fork 0199"),
    ],
)
def test_what_cannot_be_driven_and_what_would_work(found: Foreign, kind: str, said: str, hint: str) -> None:
    """Each refusal has its reason and a way that works."""
    refused = foreign.undrivable(found)
    assert refused is not None
    assert (refused.kind, said in refused.message, hint in refused.hint) == (kind, True, True), refused


def test_what_can_be_driven() -> None:
    """Threads of the daemon in full, a terminal UI by its pane; but never a subagent."""
    assert foreign.undrivable(Foreign(session(), (HOLDER,), "daemon")) is None
    pane = Pane("tmux", "%1")
    assert foreign.undrivable(Foreign(session(pane=pane), (HOLDER,), "tui")) is None
    assert foreign.undrivable(Foreign(session(pane=Pane("kitty", "3")), (HOLDER,), "tui")) is not None
    assert foreign.undrivable(Foreign(session(pane=pane, parent_id="0100"), (HOLDER,), "daemon")) is not None


@pytest.mark.parametrize(
    ("fields", "kind", "others"),
    [({}, "daemon", ()), ({}, "app-server", ()), ({}, "exec", ("0200",)), ({"parent_id": "0100"}, "exec", ())],
)
def test_what_others_need_is_never_stopped(
    sleeper: Started, fields: dict[str, object], kind: str, others: tuple[str, ...]
) -> None:
    """A server, a process with other sessions, a session's subagent: the hint says what to do instead."""
    refused = foreign.stop(Foreign(session(**fields), (sleeper,), kind, others), 0.1)
    assert isinstance(refused, Refused)
    assert refused.kind == "not_possible"
    assert refused.hint.startswith("stop 0100" if fields else "interrupt it instead")
    assert sleeper.lives()


def test_only_the_process_that_was_seen_is_stopped(sleeper: Started) -> None:
    """With a start that is another's, the pid is a stranger's: it lives on; the right one ends."""
    reused = Started(sleeper.pid, sleeper.ticks - 1)
    assert foreign.stop(Foreign(session(), (reused,), "exec"), 0.1) == Done("it had ended before")
    assert sleeper.lives()
    assert foreign.stop(Foreign(session(), (sleeper,), "exec"), 2.0) == Done("stopped")
    assert not sleeper.lives()


def test_which_session_is_meant(sleeper: Started) -> None:
    """By tool and id; its holders as they were before the reading; other trees in the same process are told."""
    mine = session(pids=(sleeper.pid,), root_id="0199")
    child = Session("codex", "0200", parent_id="0199", root_id="0199", pids=(sleeper.pid,))
    other = Session("codex", "0300", pids=(sleeper.pid, 7))
    among = (Session("claude", "0199"), child, other, mine)
    found = targets.foreign_of(among, Target(id="0199", pids=(sleeper.pid,)), {sleeper.pid: sleeper})
    assert found is not None
    assert (found.session, found.holders, found.others) == (mine, (sleeper,), ("0300",))
    unseen = targets.foreign_of(among, Target(id="0199"), {})
    assert unseen is not None
    assert not unseen.holders[0].lives()  # a process that the asker did not see is never signalled
    assert targets.foreign_of(among, Target(id="019"), {}) is None
