"""fleet_agent.control.acting: what waits for a person, each once."""

from fleet_agent.control.acting import _each_once
from fleet_agent.control.events import ApprovalRequested
from fleet_agent.control.wire import Pending


def pending(session_id: str, request_id: str, name: str | None = None) -> Pending:
    return Pending(session_id, "codex", ApprovalRequested(request_id, "command"), name=name)


def test_what_a_terminal_and_its_daemon_ask_is_told_once() -> None:
    """By the daemon's own id, under the run's name."""
    ours, theirs = [pending("0199", "screen-1", "calm-otter")], [pending("0199", "0"), pending("0200", "0")]
    found = _each_once(ours, theirs, {"0199": "calm-otter"})
    assert found == [pending("0199", "0", "calm-otter"), pending("0200", "0")]


def test_what_was_seen_on_the_same_screen_twice_is_told_once() -> None:
    """As the run's; what no other has told stays, also of a terminal whose session is not known."""
    ours = [pending("0199", "screen-1", "calm-otter"), pending("", "screen-2", "brave-bear")]
    assert _each_once(ours, [pending("0199", "screen-1")], {"0199": "calm-otter"}) == ours
