"""A person's decision or answer -> the reply that each kind of server request takes. Pure.

The shapes are those of `codex app-server generate-json-schema` of 0.145 to 0.169. A reply of a wrong shape
counts as "declined" there, so only shapes that are known here are ever sent.
"""

from collections.abc import Mapping

import msgspec

from fleet_agent.control.appserver.protocol import Asked

COMMAND = "item/commandExecution/requestApproval"
PATCH = "item/fileChange/requestApproval"
PERMISSIONS = "item/permissions/requestApproval"
ELICITATION = "mcpServer/elicitation/request"
QUESTION = "item/tool/requestUserInput"

_NOW = {
    "accept": "accept",
    "accept_for_session": "acceptForSession",
    "decline": "decline",
    "cancel": "cancel",
}
_LEGACY = {
    "accept": "approved",
    "accept_for_session": "approved_for_session",
    "decline": "denied",
    "cancel": "abort",
}
_WORDS = {COMMAND: _NOW, PATCH: _NOW, "execCommandApproval": _LEGACY, "applyPatchApproval": _LEGACY}
_GRANTABLE = ("network", "fileSystem")  # anything else that is asked for is left out of what is granted


class _Permissions(msgspec.Struct):
    permissions: dict[str, object] = {}


def is_of_an_item(method: str) -> bool:
    """Whether it is about a command or a patch: what is decided shows in it, and "cancel" ends the turn."""
    return method in _WORDS


def decision(asked: Asked, decided: str) -> object | None:
    """What to reply. `decided`: one of `events.DECISIONS`. None: it cannot be decided so."""
    if words := _WORDS.get(asked.method):
        return {"decision": words[decided]}
    if asked.method == PERMISSIONS:
        return _grant(asked, decided)
    if asked.method == ELICITATION:  # to accept one without its content would say nothing
        return {"action": decided} if decided in ("decline", "cancel") else None
    return None


def _grant(asked: Asked, decided: str) -> object:
    """Exactly what was asked for, for this turn or for the session; or nothing."""
    if decided in ("decline", "cancel"):
        return {"permissions": {}, "scope": "turn"}
    wanted = msgspec.json.decode(asked.params, type=_Permissions).permissions
    granted = {name: wanted[name] for name in _GRANTABLE if wanted.get(name) is not None}
    return {"permissions": granted, "scope": "session" if decided == "accept_for_session" else "turn"}


def answers(asked: Asked, given: Mapping[str, tuple[str, ...]]) -> object | None:
    """What to reply to a question. `given`: question id -> answers. None: this is no question."""
    if asked.method != QUESTION:
        return None
    return {"answers": {question: {"answers": list(texts)} for question, texts in given.items()}}
