"""What is typed into an attached session -> what is asked of it. Pure."""

from collections.abc import Sequence
from typing import TypeAlias

from fleet.control import requests
from fleet.errors import UsageError
from fleet_agent.control.events import ApprovalRequested, Asked
from fleet_agent.control.wire import Answer, Decide, Interrupt, Send, Target

HELP = (
    "text: say it   /approve [REQUEST] [session]   /deny [REQUEST] [cancel]   /answer [ID=]TEXT   /interrupt"
    "   // at the beginning: a /   Ctrl-D: detach, it goes on"
)
_DECISIONS = {
    ("/approve", ""): "accept",
    ("/approve", "session"): "accept_for_session",
    ("/deny", ""): "decline",
    ("/deny", "cancel"): "cancel",
}
Open: TypeAlias = Sequence[ApprovalRequested | Asked]


def request(line: str, target: Target, open_now: Open, by: str) -> Send | Interrupt | Decide | Answer | None:
    """What a line asks for; None for an empty one. Raises `UsageError`, whose text is what to tell instead."""
    text = line.strip()
    if not text:
        return None
    if not text.startswith("/") or text.startswith("//"):
        return Send(target=target, text=line.removeprefix("/") if text.startswith("//") else line, by=by)
    command, _, rest = text.partition(" ")
    if command == "/interrupt":
        return Interrupt(target=target, by=by)
    if command in ("/approve", "/deny"):
        return _decide(command, rest.split(), target, open_now, by)
    if command == "/answer":
        return _answer(rest.strip(), target, open_now, by)
    raise UsageError(HELP if command == "/help" else f"there is no {command}; {HELP}")


def _decide(command: str, words: list[str], target: Target, open_now: Open, by: str) -> Decide:
    how = words.pop() if words and (command, words[-1]) in _DECISIONS else ""
    asked = requests.approval(open_now, words[0] if words else None)
    if asked is None:
        raise UsageError("no such approval is open")
    return Decide(target=target, decision=_DECISIONS[command, how], request_id=asked.request_id, by=by)


def _answer(text: str, target: Target, open_now: Open, by: str) -> Answer:
    asked = requests.question(open_now, None)
    if asked is None:
        raise UsageError("no question is open")
    parts = [part.strip() for part in text.split(";")] if len(asked.questions) > 1 else [text]
    given = requests.answers(asked.questions, parts)
    return Answer(target=target, answers=given, request_id=asked.request_id, by=by)
