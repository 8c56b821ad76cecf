"""fleet_agent.tools.codex.plan: how far a session is in its plan."""

import json
from typing import Any

import pytest

from fleet_agent.tools.codex.plan import plan_of
from fleet_agent.wire import Plan


def steps(*states: str) -> str:
    return json.dumps({"plan": [{"step": f"step {n}", "status": state} for n, state in enumerate(states)]})


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (steps("completed", "in_progress", "pending"), Plan(1, 3, "step 1")),
        (steps("completed", "completed"), Plan(2, 2, None)),
        (steps(), Plan(0, 0, None)),
        ('{"plan":[{"step":7,"status":"in_progress"},"x",{}]}', Plan(0, 3, None)),
        ('{"plan":{}}', None),
        ("[]", None),
        ("{", None),
        ("[" * 100_000, None),
        (None, None),
        ({"plan": []}, None),
    ],
)
def test_the_plan_in_a_call(arguments: Any, expected: Plan | None) -> None:
    """Steps done, steps in all, and the one that is in progress; None where there is no plan."""
    assert plan_of(arguments) == expected
