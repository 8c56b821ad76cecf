"""The mock model API of Claude Code: what each part of a script is answered with."""

import http.client
import io
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import pytest

from lab.mock_anthropic import MockAnthropic
from lab.waiting import wait_until

Json = dict[str, Any]


@pytest.fixture
def api() -> Iterator[MockAnthropic]:
    with MockAnthropic() as api:
        yield api


def post(api: MockAnthropic, body: Json) -> tuple[int, str]:
    connection = http.client.HTTPConnection(urlsplit(api.url).netloc, timeout=5)
    try:
        connection.request("POST", "/v1/messages?beta=true", json.dumps({"model": "m", **body}))
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def ask(api: MockAnthropic, script: str, *, answered: int = 0, **more: object) -> Json:
    """The whole message that a script gets, with so many of the assistant's behind it."""
    turns = [{"role": "assistant", "content": "."}, {"role": "user", "content": [{"type": "tool_result"}]}]
    messages = [{"role": "user", "content": script}, *turns * answered]
    message: Json = json.loads(post(api, {"messages": messages, **more})[1])
    return message


def stream(api: MockAnthropic, script: str) -> list[Json]:
    """The events of the same, streamed."""
    _, text = post(api, {"messages": [{"role": "user", "content": script}], "stream": True})
    return [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: ")]


def test_a_script_is_answered_step_by_step(api: MockAnthropic) -> None:
    """Each model call of a turn takes the next step; behind the last one there is an end."""
    script = "RUN ls ;; SAY hello OUT 7 CTX 900"
    call = ask(api, script)
    assert (call["stop_reason"], call["content"][1]["name"]) == ("tool_use", "Bash")
    assert call["content"][1]["input"]["command"] == "ls"
    said = ask(api, script, answered=1)
    assert (said["stop_reason"], said["content"]) == ("end_turn", [{"type": "text", "text": "hello"}])
    assert (said["usage"]["output_tokens"], said["usage"]["cache_read_input_tokens"]) == (7, 900)
    assert ask(api, script, answered=2)["content"][0]["text"] == "all done"
    assert ask(api, "what now?")["content"][0]["text"] == "ok: what now?"


def test_what_is_no_part_of_the_conversation(api: MockAnthropic) -> None:
    """A request for a schema gets what the schema allows, not the step."""
    schema = {"type": "object", "properties": {"title": {"type": "string"}, "kind": {"enum": ["x", "y"]}}}
    aside = ask(api, "ERR 500", output_config={"format": {"schema": schema}})
    assert json.loads(aside["content"][0]["text"]) == {"title": "mock title", "kind": "x"}


def test_a_stream_is_the_same_message(api: MockAnthropic) -> None:
    """Thinking, text and calls come in pieces that add up."""
    events = stream(api, "MULTI ls | pwd")
    assert [event["type"] for event in events][:2] == ["message_start", "ping"]
    blocks = [event["content_block"]["type"] for event in events if event["type"] == "content_block_start"]
    assert blocks == ["thinking", "text", "tool_use", "tool_use"]
    pieces = [
        event["delta"].get("partial_json", "") for event in events if event["type"] == "content_block_delta"
    ]
    assert '"command": "ls"' in "".join(pieces)
    assert events[-1]["type"] == "message_stop"


def test_failures(api: MockAnthropic) -> None:
    """ERR fails always, ERRN so often; MIDERR and CUT in mid-stream."""
    body = {"messages": [{"role": "user", "content": "ERRN 529 2"}]}
    assert [post(api, body)[0] for _ in range(3)] == [529, 529, 200]
    assert post(api, {"messages": [{"role": "user", "content": "ERR 401"}]})[0] == 401
    assert stream(api, "MIDERR")[-1]["error"]["type"] == "overloaded_error"
    assert stream(api, "CUT")[-1]["type"] == "content_block_delta"


def test_an_answer_is_held_until_it_is_released(api: MockAnthropic) -> None:
    """HOLD keeps its client waiting, and says so, until the test lets it go on."""
    with ThreadPoolExecutor() as threads:
        asked = threads.submit(ask, api, "HOLD here SAY at last")
        wait_until(lambda: api.holds("here"), "the answer is held", timeout_s=20)
        assert not asked.done()
        api.release("here")
        assert asked.result(5)["content"][0]["text"] == "at last"
    assert not api.holds("here")


def test_it_ends_while_it_answers() -> None:
    """Leaving the API does not wait for what is held."""
    with ThreadPoolExecutor() as threads:
        with MockAnthropic() as api:
            asked = threads.submit(ask, api, "HOLD ever SAY x")
            wait_until(lambda: api.holds("ever"), "the answer is held", timeout_s=20)
            start = time.monotonic()
        assert time.monotonic() - start < 2
        asked.exception(5)


def test_requests_are_kept() -> None:
    """Every request is on record, in the log too, with the message that it got."""
    log = io.StringIO()
    with MockAnthropic(log=log) as api:
        first, refused = ask(api, "SAY a"), ask(api, "ERR 400")
    assert [request.message_id for request in api.requests] == [first["id"], None]
    assert refused["error"]["type"] == "invalid_request_error"
    assert [json.loads(line)["script"] for line in log.getvalue().splitlines()] == ["SAY a", "ERR 400"]
