"""The HTTP server around the scripts."""

import json
import time
import uuid
from typing import NamedTuple

from lab.mock_anthropic.events import Cut, Pause, error, events, message, refusal
from lab.mock_anthropic.steps import Step, answer, is_aside, step_of
from lab.model_api import Exchange, Json, ModelApi, Server

MODEL = "claude-sonnet-4-6"


class Request(NamedTuple):
    """One request: `script` is the prompt that it is for; `message_id` what it was answered with, None if by no
    message."""

    at: float
    path: str
    headers: dict[str, str]
    body: Json
    script: str
    message_id: str | None


class _Exchange(Exchange):
    server: "Server[MockAnthropic]"

    def get(self) -> None:
        self._record({}, "", None)
        if self.route.startswith("/v1/models"):
            model = {"type": "model", "id": MODEL, "display_name": "Mock"}
            self.json(200, {"data": [model], "has_more": False})
        else:
            self.json(404, error("not_found_error", f"mock: no GET {self.route}"))

    def post(self, body: Json) -> None:
        if self.route.endswith("/v1/messages"):
            self._respond(body)
            return
        self._record(body, "", None)
        if self.route.endswith("/count_tokens"):
            self.json(200, {"input_tokens": max(1, len(json.dumps(body)) // 4)})
        else:
            self.json(404, error("not_found_error", f"mock: no POST {self.route}"))

    def _record(self, body: Json, script: str, message_id: str | None) -> None:
        asked = Request(time.time(), self.path, dict(self.headers), body, script, message_id)
        self.server.api.record(asked)

    def _respond(self, body: Json) -> None:
        api = self.server.api
        script, step = step_of(body)
        if not is_aside(body) and step.verb in ("ERR", "ERRN"):
            refused = refusal(step, api.failures(script))
            if refused is not None:
                self._record(body, script, None)
                self.json(*refused, {"retry-after": "1"} if refused[0] in (429, 529) else None)
                return
        message_id = f"msg_mock{uuid.uuid4().hex[:20]}"
        self._record(body, script, message_id)
        if not is_aside(body):
            if "HOLD" in step.modifiers:
                api.hold(step.modifiers["HOLD"])
            api.stopping.wait(step.seconds("WAIT"))
        whole = message(message_id, body, step, answer(body, step))
        if body.get("stream"):
            self._stream(whole, step)
        else:
            self.json(200, whole)

    def _stream(self, whole: Json, step: Step) -> None:
        stopping = self.server.api.stopping
        self.head(200, {"Content-Type": "text/event-stream"})
        for event in events(whole, step):
            if isinstance(event, Cut) or stopping.is_set():
                return
            if isinstance(event, Pause):
                stopping.wait(event.seconds)
            else:
                self.event(event)


class MockAnthropic(ModelApi[Request]):
    """The mock of Anthropic's Messages; `url` is for ANTHROPIC_BASE_URL."""

    exchange = _Exchange
