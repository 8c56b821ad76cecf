"""The HTTP server around the directives."""

import time
import uuid
from typing import NamedTuple, TextIO

from lab.mock_responses.directives import Step, step_of
from lab.mock_responses.events import Hold, Pause, events, rate_headers, refusal
from lab.model_api import KEEP_ALIVE_S, Exchange, Json, ModelApi, Server


class Request(NamedTuple):
    """One request: `response_id` is what it was answered with, None if it was no model request."""

    at: float
    method: str
    path: str
    headers: dict[str, str]
    body: Json
    response_id: str | None


class _Exchange(Exchange):
    server: "Server[MockResponses]"

    def get(self) -> None:
        self._record({}, None)
        if self.route.endswith("/models"):
            self.json(200, {"models": [], "object": "list", "data": []})
        else:
            self._not_found()

    def post(self, body: Json) -> None:
        if self.route.endswith("/responses"):
            self._respond(body)
        elif self.route.endswith("/responses/compact"):
            self._record(body, None)
            self.json(200, {"output": [{"type": "compaction", "encrypted_content": "COMPACTED"}]})
        else:
            self._record(body, None)
            self._not_found()

    def _record(self, body: Json, response_id: str | None) -> None:
        asked = Request(time.time(), self.command, self.path, dict(self.headers), body, response_id)
        self.server.api.record(asked)

    def _not_found(self) -> None:
        self.json(404, {"error": {"message": f"mock: no {self.command} {self.route}"}})

    def _respond(self, body: Json) -> None:
        api, step = self.server.api, step_of(body)
        failure = api.failure(step)
        refused = refusal(failure)
        if refused is not None:
            self._record(body, None)
            self.json(*refused, rate_headers(step))
            return
        response_id = f"resp_{uuid.uuid4().hex[:24]}"
        self._record(body, response_id)
        self.head(200, {"Content-Type": "text/event-stream"} | rate_headers(step))
        for event in events(body, step, failure, response_id):
            if isinstance(event, Pause):
                self._pause(event.seconds)
            elif isinstance(event, Hold):
                api.hold(event.name, self._keep_alive)
            else:
                self.event(event)
                if event["type"] == "response.completed":
                    api.usage[response_id] = event["response"]["usage"]
            if api.stopping.is_set():
                return

    def _pause(self, seconds: float) -> None:
        """Wait, with SSE comments, until the time is over or the API stops."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if self.server.api.stopping.wait(min(KEEP_ALIVE_S, left)):
                return
            self._keep_alive()

    def _keep_alive(self) -> None:
        """Send an SSE comment."""
        self.wfile.write(b": keep-alive\n\n")


class MockResponses(ModelApi[Request]):
    """The mock of OpenAI's Responses; `url` is for a model provider's base_url."""

    exchange = _Exchange
    base_path = "/v1"

    def __init__(self, port: int = 0, *, log: TextIO | None = None) -> None:
        super().__init__(port, log=log)
        self.usage: dict[str, Json] = {}  # response id -> the usage that a response which was served whole told

    @property
    def response_ids(self) -> list[str]:
        """The ids of all responses served so far; no two are the same."""
        return [request.response_id for request in self.requests if request.response_id]

    def failure(self, step: Step) -> str | None:
        """The kind of the step's FAIL directive, if it strikes this time: `FAIL 500*2` strikes twice."""
        kind, _, times = (step.argument("FAIL") or "").partition("*")
        if not kind:
            return None
        asked = self.failures(step.prompt)
        return None if times and asked > int(times.split()[0]) else kind.split()[0]
