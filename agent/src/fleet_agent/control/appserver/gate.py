"""What is accepted without a person: the policy, held against what Codex asks, and written down."""

from typing import TYPE_CHECKING

import msgspec

from fleet_agent.control import wire
from fleet_agent.control.appserver import replies
from fleet_agent.control.appserver.protocol import Asked
from fleet_agent.control.appserver.thread import Open
from fleet_agent.control.audit import Audit
from fleet_agent.control.events import Failure
from fleet_agent.control.policy import Policy

if TYPE_CHECKING:
    from fleet_agent.control.appserver.attached import Attached

BY = "policy"


class _Command(msgspec.Struct, rename="camel"):
    """Of item/commandExecution/requestApproval. Whatever else it asks for, the policy knows nothing of."""

    command: str | None = None
    cwd: str | None = None
    reason: str | None = None
    additional_permissions: object = None
    network_approval_context: object = None


class Gate:
    """`approval_policy`: of the session, as its server told it."""

    def __init__(self, policy: Policy, audit: Audit) -> None:
        self.approval_policy: object = None
        self._policy, self._audit = policy, audit

    def allows(self, found: Open) -> bool:
        """Whether a request may be accepted without a person."""
        asked = command_of(found.asked)
        if asked is None or asked.command is None or asked.network_approval_context is not None:
            return False
        escalated = is_escalated(asked, self.approval_policy)
        return self._policy.allows(asked.command, asked.cwd, escalated=escalated)

    async def accept(self, attached: "Attached", found: Open, name: str | None) -> None:
        """Accept it, if that can be written down."""
        session_id = found.asked.thread_id or attached.thread.id
        target = wire.Target("codex", session_id, name)
        try:
            begun = self._audit.begin(wire.Decide(target, "accept", str(found.asked.id), by=BY))
        except OSError as exc:
            attached.say([Failure(f"the policy allows a command, and the audit cannot be written: {exc}")])
            return
        reply = await attached.accept(found, BY)
        try:
            self._audit.end(begun, reply)
        except OSError as exc:
            attached.say([Failure(f"the audit cannot be written: {exc}")])


def command_of(asked: Asked) -> _Command | None:
    """The command that a request is about; None if it is about none, or is not of the known shape. Pure."""
    if asked.method != replies.COMMAND:
        return None
    try:
        return msgspec.json.decode(asked.params, type=_Command)
    except (ValueError, RecursionError):
        return None


def is_escalated(asked: _Command, approval_policy: object) -> bool:
    """Whether it may be about more rights than the sandbox gives. Pure.

    Only under approval policy "untrusted" does Codex ask about commands that stay in the sandbox; and the
    model gives a reason for those that are to leave it.
    """
    stays = approval_policy == "untrusted" and asked.reason is None and asked.additional_permissions is None
    return not stays
