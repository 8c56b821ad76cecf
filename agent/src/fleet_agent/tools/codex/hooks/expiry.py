"""Whether what a hook said still holds. Pure.

No age ends it: an approval may wait for a night. What ends it is whatever contradicts it:

- its turn is over, or it is another turn's;
- the process that holds the session began later: the one that asked is gone;
- a call got its output since (so the person has answered, or the tool did without one);
- no call is open that it can be about: each began later, or one of them has its process already.

A command leaves a line when it ends, but its call may stay open: a script goes on, and calls that were made
together get their output together. So a line that was written since makes what the hook said doubtful, and in a
script, which has no process of its own, it ends it.

PermissionRequest comes before Codex's own reviewer and before any hook that may decide: so a session whose
approvals are a program's is never believed to wait for a person, and another one after `APPROVAL_GRACE_S`.
"""

import msgspec

from fleet_agent.evidence import Call, Evidence, Hooked
from fleet_agent.status import APPROVAL_GRACE_S, GATED

RESPONSE_END_S = 2.0  # the model's response that made the call ends later than it: its lines tell nothing


class Asked(msgspec.Struct, frozen=True):
    """The last thing a thread asked a person. `what`: approval | question; `at`: epoch seconds."""

    what: str
    at: float
    turn_id: str | None = None


def with_asked(e: Evidence, asked: Asked | None) -> Evidence:
    """The evidence with what a hook said, if that still holds."""
    if asked is None or not e.live or _is_over(e, asked):
        return e
    silent = e.active_at is None or e.active_at <= asked.at + RESPONSE_END_S
    call = _call_of(e, asked, silent)
    if call is None:
        return e
    sure = asked.what == "question" or (silent and _shows(call))
    return msgspec.structs.replace(e, hooked=Hooked(asked.what, asked.at, call, sure))


def _is_over(e: Evidence, asked: Asked) -> bool:
    turn = e.turn
    if turn is None or turn.status != "open" or (turn.id and asked.turn_id and turn.id != asked.turn_id):
        return True
    if any(at is not None and at > asked.at for at in (turn.started_at, e.writer_at, e.resumed_at)):
        return True
    by_program = asked.what == "approval" and e.reviewer not in (None, "user")
    return by_program or e.now - asked.at < APPROVAL_GRACE_S


def _call_of(e: Evidence, asked: Asked, silent: bool) -> Call | None:
    """The open call that it is about. With one running beside it, it may have been that one's, and answered."""
    if any(call.process == "yes" for call in e.calls):
        return None
    kinds = {"question"} if asked.what == "question" else {"shell", "patch", "opaque", "other"}
    kinds |= {"script"} if silent else set()
    return next((c for c in e.calls if c.kind in kinds and (c.at is None or c.at <= asked.at)), None)


def _shows(call: Call) -> bool:
    """Whether it would be seen that the call runs. An MCP server's work never is."""
    return call.kind != "opaque" and not (call.kind in GATED and call.process == "maybe")
