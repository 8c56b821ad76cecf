"""fleet_agent.tools.codex.daemon_protocol: what is said to the Codex daemon, and what it answers."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet_agent.tools.codex.daemon_protocol import IN_FLIGHT, MAX_THREADS, METHODS, Dialogue, Message, word

# As Codex 0.169 answered, shortened to what is read and a few of the fields beside it.
INITIALIZED = {"id": 1, "result": {"userAgent": "codex-tui/0.169.0", "codexHome": "/h", "platformOs": "linux"}}
WARNING = {"method": "configWarning", "params": {"summary": "x", "details": None}, "emittedAtMs": 1795228898050}
REQUEST = {"method": "item/commandExecution/requestApproval", "id": 2, "params": {"threadId": "a"}}


def answer(number: object, thread: str, status: object) -> dict[str, Any]:
    fields = {"id": thread, "extra": None, "preview": "", "ephemeral": False, "status": status, "turns": []}
    return {"id": number, "result": {"thread": fields}}


def text(message: object) -> bytes:
    return json.dumps(message).encode()


def greeted(*threads: str) -> tuple[Dialogue, list[Message]]:
    """A dialogue after the greeting, and the requests that followed it."""
    dialogue = Dialogue()
    (hello,) = dialogue.read(threads)
    assert (hello.method, hello.id) == ("initialize", 1)
    assert dialogue.receive(text(WARNING)) == []
    initialized, *asked = dialogue.receive(text(INITIALIZED))
    assert (initialized.method, initialized.id) == ("initialized", None)
    return dialogue, asked


def test_a_reading_from_the_greeting_on() -> None:
    """Initialize, initialized, one thread/read for each thread; whatever comes in between is ignored."""
    dialogue, asked = greeted("a", "b")
    assert [(m.method, m.params) for m in asked] == [
        ("thread/read", {"threadId": thread, "includeTurns": False}) for thread in ("a", "b")
    ]
    waiting = {"type": "active", "activeFlags": ["waitingOnApproval"]}
    assert dialogue.receive(text(REQUEST)) == []  # the daemon's own ids are not ours
    dialogue.receive(text(answer(asked[1].id, "b", {"type": "idle"})))
    assert not dialogue.done
    dialogue.receive(text(answer(str(asked[0].id), "a", waiting)))
    assert dialogue.done
    assert dialogue.statuses == {"a": "approval", "b": "idle"}


def test_the_next_reading_begins_anew() -> None:
    """The same connection is asked again; what comes too late is not taken for its answer."""
    dialogue, (first,) = greeted("a")
    (second,) = dialogue.read(["a"])
    dialogue.receive(text(answer(first.id, "a", {"type": "idle"})))
    assert (dialogue.done, dialogue.statuses) == (False, {})
    dialogue.receive(text({"id": second.id, "error": {"code": -32600, "message": "no such thread"}}))
    assert (dialogue.done, dialogue.statuses) == (True, {})


def test_requests_are_bounded_in_number() -> None:
    """A few at a time, and never more than the limit in one reading."""
    dialogue, waiting = greeted(*(str(n) for n in range(MAX_THREADS + 50)))
    assert len(waiting) == IN_FLIGHT
    for request in waiting:
        assert request.params is not None
        waiting += dialogue.receive(text(answer(request.id, str(request.params["threadId"]), {"type": "idle"})))
    assert dialogue.done
    assert len(dialogue.statuses) == len(waiting) == MAX_THREADS


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ({"type": "idle"}, "idle"),
        ({"type": "systemError"}, "failed"),
        ({"type": "notLoaded"}, None),
        ({"type": "active", "activeFlags": []}, "active"),
        ({"type": "active", "activeFlags": ["waitingOnApproval"]}, "approval"),
        ({"type": "active", "activeFlags": ["waitingOnUserInput"]}, "question"),
        ({"type": "active", "activeFlags": ["waitingOnUserInput", "waitingOnApproval"]}, "approval"),
        ({"type": "active", "activeFlags": ["waitingOnTheMoon"]}, None),
        ({"type": "active", "activeFlags": [{}]}, None),
        ({"type": "active", "activeFlags": None}, None),
        ({"type": "dreaming"}, None),
        ({"type": 7}, None),
        ("idle", None),
        (None, None),
    ],
)
def test_the_words_of_a_status(status: object, expected: str | None) -> None:
    """Each status of Codex 0.169; and nothing is concluded from one that is not known."""
    assert word(text(answer(1, "a", status)["result"]), "a") == expected


def test_an_answer_for_another_thread_says_nothing() -> None:
    """The thread that was asked for is named in its answer."""
    assert word(text(answer(1, "b", {"type": "idle"})["result"]), "a") is None


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 5) | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["id", "method", "result", "thread", "status", "error"]), inner)
    ),
    max_leaves=8,
)
HOSTILE = [b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"id":' + b"9" * 5000 + b"}", b'{"id":2,"result":NaN}']


@given(st.lists(st.binary(max_size=40) | json_values.map(text) | st.sampled_from(HOSTILE), max_size=6))
def test_whatever_the_daemon_says_nothing_is_raised(messages: list[bytes]) -> None:
    """Absurd input is passed over, and nothing but the allowed methods is ever sent."""
    dialogue = Dialogue()
    sent = dialogue.read(["a", "b"])
    for message in [*messages, text(INITIALIZED), *messages]:
        sent += dialogue.receive(message)
    assert {message.method for message in sent} <= METHODS
    assert dialogue.statuses.keys() <= {"a", "b"}


def test_only_methods_that_read_are_allowed() -> None:
    """PROMISES 10: the allow-list itself. Whoever adds to it has to change this line."""
    assert {"initialize", "initialized", "thread/read"} == METHODS
