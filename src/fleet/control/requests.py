"""Which open request is meant, and what is answered to it. Pure."""

from collections.abc import Sequence

from fleet.control.selectors import Candidate
from fleet.errors import UsageError
from fleet_agent.control.events import ApprovalRequested, Asked, Question
from fleet_agent.control.wire import Pending


def of_session(pending: Sequence[Pending], session: Candidate) -> list[ApprovalRequested | Asked]:
    """The requests of one session among those of its host."""
    return [
        p.request
        for p in pending
        if p.tool == session.tool
        and (p.session_id == session.id or (p.name is not None and p.name == session.name))
    ]


def approval(requests: Sequence[ApprovalRequested | Asked], request_id: str | None) -> ApprovalRequested | None:
    """The approval that is meant: the one with that id, or the only one. None if it is not open.

    Raises `UsageError` if several are, or if it is a question.
    """
    found = _meant(requests, request_id, ApprovalRequested)
    if found is None and _is_open(requests, request_id):
        raise UsageError("it is a question that is open, not an approval; `fleet answer` answers it")
    return found if isinstance(found, ApprovalRequested) else None


def question(requests: Sequence[ApprovalRequested | Asked], request_id: str | None) -> Asked | None:
    """As `approval`, for questions."""
    found = _meant(requests, request_id, Asked)
    if found is None and _is_open(requests, request_id):
        raise UsageError("it is an approval that is open, not a question; `fleet approve` or `fleet deny`")
    return found if isinstance(found, Asked) else None


def answers(questions: Sequence[Question], given: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Question id -> what is answered: `ID=TEXT`, or in the order of the questions. Raises `UsageError`."""
    ids = [q.id for q in questions]
    answered: dict[str, tuple[str, ...]] = {}
    plain: list[str] = []
    for text in given:
        name, separator, rest = text.partition("=")
        if separator and name in ids:
            answered[name] = (*answered.get(name, ()), rest)
        else:
            plain.append(text)
    left = [id_ for id_ in ids if id_ not in answered]
    if len(plain) != len(left):
        asked = "; ".join(f"{q.id}: {q.text}" for q in questions)
        raise UsageError(f"{len(ids)} questions are open and {len(given)} answers were given: {asked}")
    return {id_: answered.get(id_) or (plain.pop(0),) for id_ in ids}


def _is_open(requests: Sequence[ApprovalRequested | Asked], request_id: str | None) -> bool:
    return any(request_id in (None, r.request_id) for r in requests)


def _meant(
    requests: Sequence[ApprovalRequested | Asked], request_id: str | None, kind: type
) -> ApprovalRequested | Asked | None:
    found = [r for r in requests if isinstance(r, kind) and request_id in (None, r.request_id)]
    if len(found) > 1:
        ids = ", ".join(r.request_id for r in found)
        raise UsageError(f"{len(found)} requests are open: {ids}; name one with --request, or by its number")
    return found[0] if found else None
