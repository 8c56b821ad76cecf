"""What `fleet approve`, `fleet deny` and `fleet answer` do.

What is decided is the request that was seen, by its id: never another that has taken its place meanwhile.
"""

import sys
from collections.abc import Sequence

from fleet.cli.sessions.session import Place, on_session
from fleet.cli.sessions.way import Way
from fleet.cli.terminal import write
from fleet.control import requests, selectors, verbs
from fleet.errors import RequestRefused
from fleet_agent.control.events import ApprovalRequested, Asked
from fleet_agent.control.wire import Answer, Approvals, Decide

_WORDS = {
    "accept": "approved",
    "accept_for_session": "approved for the whole session",
    "decline": "denied",
    "cancel": "denied, and the turn ended",
}


def decide(selector: str, way: Way, decision: str, request_id: str | None) -> None:
    """Decide one approval; print what was decided. Raises `FleetError`."""

    async def work(place: Place) -> str:
        wanted = request_id or place.request_id
        asked = requests.approval(await _open(place), wanted)
        request = Decide(
            target=place.session.target, decision=decision,
            request_id=asked.request_id if asked else wanted, by=verbs.asker(),
        )  # fmt: skip
        answered = await verbs.act(place.reach, place.spec, request)
        what = f": {_what(asked)}" if asked else ""
        return f"{place.session.key}: {answered.message or _WORDS[decision]}{what}\n"

    write(on_session(selector, way, work, check=selectors.check_fresh))


def answer_questions(selector: str, way: Way, given: Sequence[str], request_id: str | None) -> None:
    """Answer the questions of one request. Raises `FleetError`."""
    given = [sys.stdin.read().rstrip("\n") if text == "-" else text for text in given]

    async def work(place: Place) -> str:
        wanted = request_id or place.request_id
        asked = requests.question(await _open(place), wanted)
        if asked is None:
            raise RequestRefused("already_resolved", "it asks nothing now", "see fleet approvals")
        request = Answer(
            target=place.session.target, answers=requests.answers(asked.questions, given),
            request_id=asked.request_id, by=verbs.asker(),
        )  # fmt: skip
        answered = await verbs.act(place.reach, place.spec, request)
        return f"{place.session.key}: {answered.message or 'answered'}\n"

    write(on_session(selector, way, work, check=selectors.check_fresh))


async def _open(place: Place) -> list[ApprovalRequested | Asked]:
    answered = await verbs.act(place.reach, place.spec, Approvals(by=verbs.asker()))
    return requests.of_session(answered.pending, place.session)


def _what(asked: ApprovalRequested) -> str:
    files = ", ".join(f"{change.kind} {change.path}" for change in asked.changes)
    what = asked.command or files or asked.kind
    return f"{what}  (in {asked.cwd})" if asked.cwd else what
