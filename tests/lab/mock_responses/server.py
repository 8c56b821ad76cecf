"""The HTTP server around the directives: one thread a request, all ended with it."""

import contextlib
import json
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple, Self, TextIO

from lab.mock_responses.directives import Json, Step, step_of
from lab.mock_responses.events import Hold, Pause, events, rate_headers, refusal

KEEP_ALIVE_S = 1.0  # between two SSE comments of a slow response


class Request(NamedTuple):
    """One request: `response_id` is what it was answered with, None if it was no model request."""

    at: float
    method: str
    path: str
    headers: dict[str, str]
    body: Json
    response_id: str | None


class MockResponses:
    """The mock model API on a loopback port (0: a free one), running while it is entered.

    `log` gets one line of JSON per request.
    """

    def __init__(self, port: int = 0, *, log: TextIO | None = None) -> None:
        self.requests: list[Request] = []
        self.usage: dict[str, Json] = {}  # response id -> the usage that a response which was served whole told
        self.errors: list[Exception] = []  # of the mock itself, raised when it ends
        self._log = log
        self._failed: Counter[str] = Counter()  # prompt -> failures that were asked for so far
        self._held: Counter[str] = Counter()  # name of a HOLD directive -> responses that wait for it
        self._holds: dict[str, threading.Event] = {}  # the same names -> set when they may go on
        self._lock = threading.Lock()
        self.stopping = threading.Event()
        self._server = _Server(("127.0.0.1", port), self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="mock-responses")

    @property
    def url(self) -> str:
        """The base URL for a model provider."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    @property
    def response_ids(self) -> list[str]:
        """The ids of all responses served so far; no two are the same."""
        return [request.response_id for request in self.requests if request.response_id]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stopping.set()
        for name in list(self._holds):
            self.release(name)
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        if self.errors:
            raise ExceptionGroup("the mock model API could not answer", self.errors)

    def holds(self, name: str) -> bool:
        """Whether a response is held back now by `HOLD name`: its client waits for the model."""
        with self._lock:
            return self._held[name] > 0

    def release(self, name: str) -> None:
        """Let every response go on that is held by this name now."""
        with self._lock:
            released = self._holds.pop(name, None)
        if released is not None:
            released.set()

    @contextlib.contextmanager
    def holding(self, name: str) -> Iterator[threading.Event]:
        """Count one response as held; the event is set when it is to go on."""
        with self._lock:
            released = self._holds.setdefault(name, threading.Event())
            self._held[name] += 1
        try:
            yield released
        finally:
            with self._lock:
                self._held[name] -= 1

    def record(self, request: Request) -> None:
        """Note a request, before it is answered."""
        with self._lock:
            self.requests.append(request)
            if self._log is not None:
                self._log.write(json.dumps(request._asdict()) + "\n")
                self._log.flush()

    def failure(self, step: Step) -> str | None:
        """The kind of the step's FAIL directive, if it strikes this time: `FAIL 500*2` strikes twice."""
        kind, _, times = (step.argument("FAIL") or "").partition("*")
        if not kind:
            return None
        with self._lock:
            self._failed[step.prompt] += 1
            return None if times and self._failed[step.prompt] > int(times.split()[0]) else kind.split()[0]


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # server_close waits for them
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], api: MockResponses) -> None:
        super().__init__(address, _Exchange)
        self.api = api

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002 (socketserver's)
        error = sys.exception()
        if isinstance(error, Exception) and not isinstance(error, OSError):  # OSError: the client has gone
            self.api.errors.append(error)


class _Exchange(BaseHTTPRequestHandler):
    """One request and its response; one a connection, so that no thread waits for another one to come."""

    server: _Server
    protocol_version = "HTTP/1.1"
    timeout = 10

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base class names it)
        """Say nothing: the API keeps its own record."""

    def do_GET(self) -> None:
        self._record({}, None)
        if self._route.endswith("/models"):
            self._json(200, {"models": [], "object": "list", "data": []})
        else:
            self._not_found()

    def do_POST(self) -> None:
        body: Json = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
        if self._route.endswith("/responses"):
            self._respond(body)
        elif self._route.endswith("/responses/compact"):
            self._record(body, None)
            self._json(200, {"output": [{"type": "compaction", "encrypted_content": "COMPACTED"}]})
        else:
            self._record(body, None)
            self._not_found()

    @property
    def _route(self) -> str:
        return self.path.partition("?")[0]

    def _record(self, body: Json, response_id: str | None) -> None:
        asked = Request(time.time(), self.command, self.path, dict(self.headers), body, response_id)
        self.server.api.record(asked)

    def _not_found(self) -> None:
        self._json(404, {"error": {"message": f"mock: no {self.command} {self._route}"}})

    def _head(self, status: int, headers: dict[str, str]) -> None:
        self.close_connection = True
        self.send_response(status)
        for name, value in (headers | {"Connection": "close"}).items():
            self.send_header(name, value)
        self.end_headers()

    def _json(self, status: int, answer: Json, headers: dict[str, str] | None = None) -> None:
        content = json.dumps(answer).encode()
        ours = {"Content-Type": "application/json", "Content-Length": str(len(content))}
        self._head(status, ours | (headers or {}))
        self.wfile.write(content)

    def _respond(self, body: Json) -> None:
        step = step_of(body)
        failure = self.server.api.failure(step)
        refused = refusal(failure)
        if refused is not None:
            self._record(body, None)
            self._json(*refused, rate_headers(step))
            return
        response_id = f"resp_{uuid.uuid4().hex[:24]}"
        self._record(body, response_id)
        self._head(200, {"Content-Type": "text/event-stream"} | rate_headers(step))
        for event in events(body, step, failure, response_id):
            if isinstance(event, Pause):
                self._pause(event.seconds)
            elif isinstance(event, Hold):
                self._hold(event.name)
            else:
                self.wfile.write(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode())
                if event["type"] == "response.completed":
                    self.server.api.usage[response_id] = event["response"]["usage"]
            if self.server.api.stopping.is_set():
                return

    def _pause(self, seconds: float) -> None:
        """Wait, with SSE comments, until the time is over or the API stops."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if self.server.api.stopping.wait(min(KEEP_ALIVE_S, left)):
                return
            self.wfile.write(b": keep-alive\n\n")

    def _hold(self, name: str) -> None:
        """Wait, with SSE comments, until the test releases this name or the API stops."""
        api = self.server.api
        with api.holding(name) as released:
            while not (api.stopping.is_set() or released.wait(KEEP_ALIVE_S)):
                self.wfile.write(b": keep-alive\n\n")
