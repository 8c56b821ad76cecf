"""The mock model API: what a prompt asks for is what a client gets."""

import http.client
import io
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import pytest

from lab.mock_responses import MockResponses
from lab.mock_responses.directives import Directive, directives, split_steps, step_of
from lab.waiting import wait_until

SHELL = {"type": "function", "name": "exec_command"}


def test_steps_are_cut_outside_of_braces() -> None:
    """';;' cuts a prompt into steps, but not inside a child's prompt."""
    assert split_steps("TOOL a;; SPAWN {SAY x;; SAY y} ;;SAY z") == [
        "TOOL a",
        " SPAWN {SAY x;; SAY y} ",
        "SAY z",
    ]
    assert split_steps("") == [""]


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        ("hello there", []),
        ("TOOL echo hi", [("TOOL", "echo hi")]),
        ("SLOW 2 SAY done", [("SLOW", "2"), ("SAY", "done")]),
        ("SPAWN {TOOL a SAY b}", [("SPAWN", "{TOOL a SAY b}")]),
        ("NOTE a CALL x/y {} SAY b", [("NOTE", "a"), ("CALL", "x/y {} SAY b")]),
        ("xSAY SAYING", []),
    ],
)
def test_directives(step: str, expected: list[tuple[str, str]]) -> None:
    """A directive's argument runs to the next directive; braces and verbatim words keep theirs whole."""
    assert directives(step) == [Directive(*pair) for pair in expected]


def user(text: str) -> dict[str, Any]:
    return {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}


def test_the_step_is_counted_in_tool_outputs_after_the_last_prompt() -> None:
    """Each tool output takes the turn one step on; what Codex injects as a user is no prompt."""
    output = {"type": "function_call_output", "output": ""}
    body = {"input": [user("SAY old"), output, user("TOOL a ;; SAY b"), output, user("<environment_context>x")]}
    assert step_of(body).directives == [("SAY", "b")]
    assert step_of({"input": [*body["input"], output]}).directives == []
    assert step_of({"input": []}).prompt == ""


@pytest.fixture
def api() -> Iterator[MockResponses]:
    with MockResponses() as started:
        yield started


def ask(api: MockResponses, prompt: str, *tools: dict[str, Any]) -> tuple[int, list[dict[str, Any]]]:
    """The status and the events (or the one JSON answer) that a prompt gets."""
    connection = http.client.HTTPConnection(urlsplit(api.url).netloc, timeout=5)
    try:
        connection.request("POST", "/v1/responses", json.dumps({"input": [user(prompt)], "tools": tools}))
        response = connection.getresponse()
        text = response.read().decode()
    finally:
        connection.close()
    if response.status != 200:
        return response.status, [json.loads(text)]
    return 200, [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: ")]


def items(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [event["item"] for event in events if event["type"] == "response.output_item.done"]


def test_text_and_usage(api: MockResponses) -> None:
    """SAY is the answer, USAGE its token counts; the response is begun and completed under one id."""
    _, events = ask(api, "SAY hello USAGE 10 2 3 1")
    (item,) = items(events)
    assert item["content"][0]["text"] == "hello"
    usage = events[-1]["response"]["usage"]
    assert (usage["input_tokens"], usage["output_tokens"], usage["total_tokens"]) == (10, 3, 13)
    assert events[0]["response"]["id"] == events[-1]["response"]["id"] == api.response_ids[-1]
    ask(api, "FAIL MIDSTREAM SAY half")
    assert api.usage == {api.response_ids[0]: usage}


def test_a_prompt_without_directives_is_repeated(api: MockResponses) -> None:
    """Any prompt gets an answer."""
    (item,) = items(ask(api, "what now?")[1])
    assert item["content"][0]["text"] == "ok: what now?"


def test_tools(api: MockResponses) -> None:
    """A tool call uses what the client offers: a function, or code mode's exec."""
    (call,) = items(ask(api, "TOOL ls", SHELL)[1])
    assert (call["type"], call["name"]) == ("function_call", "exec_command")
    assert json.loads(call["arguments"]) == {"cmd": "ls"}
    (call,) = items(ask(api, "TOOL ls", {"type": "custom", "name": "exec"})[1])
    assert (call["type"], call["name"]) == ("custom_tool_call", "exec")
    assert 'tools.exec_command({"cmd": "ls"})' in call["input"]


def test_failures(api: MockResponses) -> None:
    """FAIL answers with that failure, `*n` only the first n times."""
    assert ask(api, "FAIL 500")[0] == 500
    assert ask(api, "FAIL QUOTA")[1][0]["error"]["type"] == "usage_limit_reached"
    assert [ask(api, "FAIL 429*2 SAY x")[0] for _ in range(3)] == [429, 429, 200]
    assert ask(api, "FAIL CONTEXT")[1][-1]["type"] == "response.failed"
    assert ask(api, "FAIL DISCONNECT") == (200, [])
    assert ask(api, "FAIL MIDSTREAM")[1][-1]["type"] == "response.output_item.done"


def test_a_response_is_held_until_it_is_released(api: MockResponses) -> None:
    """HOLD keeps its client waiting, and says so, until the test lets it go on."""
    with ThreadPoolExecutor() as threads:
        asked = threads.submit(ask, api, "HOLD here SAY at last")
        wait_until(lambda: api.holds("here"), "the response is held", timeout_s=20)
        assert not asked.done()
        api.release("elsewhere")
        assert api.holds("here")
        api.release("here")
        (item,) = items(asked.result(5)[1])
    assert item["content"][0]["text"] == "at last"
    assert not api.holds("here")


def test_requests_are_kept_and_ids_are_unique() -> None:
    """Every request is on record, in the log too; no two responses share an id; a refused one has none."""
    log = io.StringIO()
    with MockResponses(log=log) as api:
        for prompt in ("SAY a", "SAY b", "FAIL 500", "SAY c"):
            ask(api, prompt)
    ids = [request.response_id for request in api.requests]
    assert ids[2] is None
    assert len({*ids}) == 4
    assert [json.loads(line)["response_id"] for line in log.getvalue().splitlines()] == ids


@pytest.mark.parametrize("prompt", ["FAIL HANG", "SLOW 60", "HOLD ever"])
def test_it_ends_while_it_answers(prompt: str) -> None:
    """Leaving the API does not wait for responses that are still being sent."""
    with MockResponses() as api:
        connection = http.client.HTTPConnection(urlsplit(api.url).netloc, timeout=5)
        connection.request("POST", "/v1/responses", json.dumps({"input": prompt}))
        assert b"response.created" in connection.getresponse().readline()
        start = time.monotonic()
    connection.close()
    assert time.monotonic() - start < 2


def test_a_fault_of_the_mock_itself_is_raised() -> None:
    """An answer that the mock cannot make fails the test, not only the client."""
    with pytest.raises(ExceptionGroup, match="could not answer") as caught, MockResponses() as api:
        ask(api, "SAY good")
        with pytest.raises(http.client.HTTPException):
            ask(api, "FAIL 429*many")
    assert isinstance(caught.value.exceptions[0], ValueError)
