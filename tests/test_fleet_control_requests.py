"""fleet.control.requests: which open request is meant, and what is answered."""

import pytest

from fleet.control import requests
from fleet.control.selectors import Candidate
from fleet.errors import UsageError
from fleet_agent.control.events import ApprovalRequested, Asked, Question
from fleet_agent.control.wire import Pending

R1, R2 = ApprovalRequested("r1", "command"), ApprovalRequested("r2", "patch")
Q = Asked("q1", (Question("color", "Which?", ("red", "blue")), Question("size", "How big?")))


def test_of_one_session_only() -> None:
    """By its id, or its name where the tool has given it none; never another tool's with the same id."""
    session = Candidate("h", "codex", "i", "a-b")
    pending = [
        Pending("i", "codex", R1),
        Pending("i", "claude", R2),
        Pending("j", "codex", R2),
        Pending("?", "codex", Q, name="a-b"),
    ]
    assert requests.of_session(pending, session) == [R1, Q]


def test_the_only_one_or_the_one_that_is_named() -> None:
    """Several without a name are refused; one that is not open is none."""
    assert requests.approval([R1, Q], None) is R1
    assert requests.approval([R1, R2], "r2") is R2
    assert requests.approval([R1], "r9") is None
    assert requests.question([R1, Q], None) is Q
    with pytest.raises(UsageError, match="2 requests are open: r1, r2"):
        requests.approval([R1, R2], None)


def test_an_approval_is_no_question() -> None:
    """And says which verb is the right one."""
    with pytest.raises(UsageError, match="fleet answer"):
        requests.approval([Q], None)
    with pytest.raises(UsageError, match="fleet approve"):
        requests.question([R1], None)


@pytest.mark.parametrize(
    ("given", "answered"),
    [
        (["red", "10=ten"], {"color": ("red",), "size": ("10=ten",)}),
        (["size=big", "blue"], {"color": ("blue",), "size": ("big",)}),
        (["color=red", "color=blue", "huge"], {"color": ("red", "blue"), "size": ("huge",)}),
    ],
)
def test_answers_by_id_or_in_turn(given: list[str], answered: dict[str, tuple[str, ...]]) -> None:
    """An `=` in an answer is part of it, unless a question has that id."""
    assert requests.answers(Q.questions, given) == answered


def test_every_question_gets_an_answer() -> None:
    """Else the questions are said again."""
    with pytest.raises(UsageError, match=r"2 questions are open and 1 answers were given: color: Which\?"):
        requests.answers(Q.questions, ["red"])
