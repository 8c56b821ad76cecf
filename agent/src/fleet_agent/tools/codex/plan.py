"""The plan of a session: the arguments of its last `update_plan` call. Pure."""

from typing import Any

import msgspec

from fleet_agent.fields import member, text
from fleet_agent.wire import Plan

NAME = "update_plan"
CALL = (b'"name":"update_plan","arguments"',)  # in a line; the tools that the model has are listed otherwise
_MAX_STEP_CHARS = 400
_UNREADABLE = (ValueError, RecursionError)


def plan_of(arguments: Any) -> Plan | None:
    """The plan in a call's arguments, which are JSON text: {"plan": [{"step", "status"}]}; None if it has none.

    `current` is the text of the first step that is in progress: whether it may leave is the caller's to say.
    """
    if not isinstance(arguments, str):
        return None
    try:
        steps = member(msgspec.json.decode(arguments), "plan")
    except _UNREADABLE:
        return None
    if not isinstance(steps, list):
        return None
    states = [member(step, "status") for step in steps]
    current = next((member(step, "step") for step in steps if member(step, "status") == "in_progress"), None)
    return Plan(states.count("completed"), len(steps), text(current, _MAX_STEP_CHARS))
