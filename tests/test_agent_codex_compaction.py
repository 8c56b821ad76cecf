"""fleet_agent.tools.codex.compaction: what gives a compaction away while it lasts."""

import pytest

from fleet_agent.evidence import Call, Evidence, Turn
from fleet_agent.status import BEGIN_S, judge
from fleet_agent.tools.codex.compaction import Compaction

BEGIN = ("event_msg", "task_started")
COUNT = ("event_msg", "token_count")
CONTEXT = ("turn_context", None)
OUTPUT = ("response_item", "function_call_output")
ITEM = ("event_msg", "item_completed")


@pytest.mark.parametrize(
    ("lines", "used", "sign"),
    [
        ([], None, None),
        ([BEGIN], None, "maybe"),
        ([BEGIN, COUNT], 10, "likely"),
        ([BEGIN, COUNT, ("compacted", None)], 10, None),
        ([BEGIN, CONTEXT], 10, None),
        ([BEGIN, CONTEXT, COUNT], 99, None),
        ([BEGIN, ITEM, COUNT], 10, None),  # a review
        ([BEGIN, CONTEXT, OUTPUT, COUNT, COUNT], 85, "maybe"),
        ([BEGIN, CONTEXT, OUTPUT, COUNT, COUNT], 84, None),  # a request that is tried again
        ([BEGIN, CONTEXT, OUTPUT, COUNT, COUNT], None, None),
        ([BEGIN, CONTEXT, OUTPUT, COUNT, COUNT, ITEM], 99, None),
    ],
)
def test_signs(lines: list[tuple[str, str | None]], used: int | None, sign: str | None) -> None:
    """A turn that only counted tokens compacts; one that counts twice with a full context may."""
    compaction = Compaction()
    for kind in lines:
        compaction.feed(kind, used, 100)
    assert compaction.sign == sign


def verdict(
    sign: str | None, turn_s: float = 10.0, calls: tuple[Call, ...] = (), told: str | None = None
) -> str:
    """State, detail and confidence of a session whose open turn began so long ago."""
    turn = Turn("open", "t", 1000 - turn_s)
    found = judge(Evidence(1000.0, True, turn=turn, calls=calls, compacting=sign, told=told))
    return f"{found.state}/{found.detail}, {found.confidence}"


def test_verdicts() -> None:
    """A likely compaction is said for sure, a possible one is not, a turn that has just begun is neither."""
    assert verdict("likely") == "working/compacting, strong"
    assert verdict("maybe") == "working/compacting, weak"
    assert verdict("maybe", turn_s=BEGIN_S / 2) == "working/thinking, weak"
    assert verdict(None) == "working/thinking, strong"


def test_a_running_process_comes_first() -> None:
    """A person's command begins a turn that says nothing, and so does a compaction: its process tells it."""
    assert verdict("maybe", calls=(Call("", "user_shell", "shell", process="yes"),)) == "working/tool, strong"


def test_the_daemon_knows_no_better() -> None:
    """When a daemon says that a session is at work, that is a fact; not that it compacts, if files doubt it."""
    assert verdict("likely", told="active") == "working/compacting, fact"
    assert verdict("maybe", told="active") == "working/compacting, weak"
    assert verdict(None, told="active") == "working/thinking, fact"
