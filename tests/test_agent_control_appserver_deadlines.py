"""How long an app-server may be silent before somebody is told."""

import pytest

from fleet_agent.control.appserver.deadlines import FIRST_PROGRESS_S, INACTIVITY_S, Deadlines, is_progress


def test_a_turn_of_which_nothing_comes_is_told_once() -> None:
    """After a minute, not before; and not again until something came."""
    deadlines = Deadlines()
    deadlines.turn_started(100.0)
    assert deadlines.overdue(100.0 + FIRST_PROGRESS_S - 1) is None
    told = deadlines.overdue(100.0 + FIRST_PROGRESS_S)
    assert told is not None
    assert "no sign of the turn" in told
    assert deadlines.overdue(1e9) is None


def test_a_turn_that_went_on_may_be_silent_for_longer() -> None:
    """Each sign of it begins the ten minutes anew."""
    deadlines = Deadlines()
    deadlines.turn_started(0.0)
    deadlines.progress(50.0)
    deadlines.progress(100.0)
    assert deadlines.overdue(100.0 + INACTIVITY_S - 1) is None
    told = deadlines.overdue(100.0 + INACTIVITY_S)
    assert told is not None
    assert "600 s" in told


def test_a_person_may_take_as_long_as_they_like() -> None:
    """What waits for an approval is not silent."""
    deadlines = Deadlines()
    deadlines.turn_started(0.0)
    deadlines.waiting()
    assert deadlines.overdue_at_s is None
    assert deadlines.overdue(1e9) is None


@pytest.mark.parametrize("method", ["item/started", "item/agentMessage/delta", "thread/tokenUsage/updated"])
def test_what_shows_that_a_turn_goes_on(method: str) -> None:
    """Items, pieces of text, tokens."""
    assert is_progress(method)


@pytest.mark.parametrize("method", ["error", "thread/status/changed", "account/rateLimits/updated", "warning"])
def test_what_does_not(method: str) -> None:
    """An error that is tried again and a status are said while nothing goes on."""
    assert not is_progress(method)


def test_the_older_dialect_s_retries_are_no_progress() -> None:
    """All else of it is."""
    assert is_progress("codex/event/agent_message", b'{"msg":{"type":"agent_message"}}')
    assert not is_progress("codex/event/stream_error", b'{"msg":{"type":"stream_error"}}')
