"""The HTTP server around the scripts: one thread a request, all ended with it."""

import json
import sys
import threading
import time
import uuid
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple, Self, TextIO

from lab.mock_anthropic.events import Cut, Pause, error, events, message, refusal
from lab.mock_anthropic.steps import Json, answer, is_aside, step_of

POLL_S = 0.1
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


class MockAnthropic:
    """The mock model API on a loopback port (0: a free one), running while it is entered.

    `log` gets one line of JSON per request.
    """

    def __init__(self, port: int = 0, *, log: TextIO | None = None) -> None:
        self.requests: list[Request] = []
        self.errors: list[Exception] = []  # of the mock itself, raised when it ends
        self.stopping = threading.Event()
        self._log = log
        self._failures: Counter[str] = Counter()  # script -> how often a failing step of it was asked for
        self._held: Counter[str] = Counter()  # name of a HOLD -> answers that wait for it
        self._released: set[str] = set()
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", port), self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="mock-anthropic")

    @property
    def url(self) -> str:
        """ANTHROPIC_BASE_URL."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stopping.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        if self.errors:
            raise ExceptionGroup("the mock model API could not answer", self.errors)

    def holds(self, name: str) -> bool:
        """Whether an answer is held back now by `HOLD name`: its client waits for the model."""
        with self._lock:
            return self._held[name] > 0

    def release(self, name: str) -> None:
        """Let all go on that is held by this name, and will be."""
        with self._lock:
            self._released.add(name)

    def hold(self, name: str) -> None:
        """Wait until a test releases this name, or the API stops."""
        with self._lock:
            self._held[name] += 1
        try:
            while name not in self._released and not self.stopping.wait(POLL_S):
                pass
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

    def failures(self, script: str) -> int:
        """How often a failing step of this script was asked for, this time included."""
        with self._lock:
            self._failures[script] += 1
            return self._failures[script]


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # server_close waits for them
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], api: MockAnthropic) -> None:
        super().__init__(address, _Exchange)
        self.api = api

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002 (socketserver's)
        caught = sys.exception()
        if isinstance(caught, Exception) and not isinstance(caught, OSError):  # OSError: the client has gone
            self.api.errors.append(caught)


class _Exchange(BaseHTTPRequestHandler):
    """One request and its answer; one a connection, so that no thread waits for another one to come."""

    server: _Server
    protocol_version = "HTTP/1.1"
    timeout = 10

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base class names it)
        """Say nothing: the API keeps its own record."""

    def do_HEAD(self) -> None:
        self._head(200, {"Content-Length": "0"})

    def do_GET(self) -> None:
        self._record({}, "", None)
        if self._route.startswith("/v1/models"):
            model = {"type": "model", "id": MODEL, "display_name": "Mock"}
            self._json(200, {"data": [model], "has_more": False})
        else:
            self._json(404, error("not_found_error", f"mock: no GET {self._route}"))

    def do_POST(self) -> None:
        body: Json = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
        if self._route.endswith("/v1/messages"):
            self._respond(body)
            return
        self._record(body, "", None)
        if self._route.endswith("/count_tokens"):
            self._json(200, {"input_tokens": max(1, len(json.dumps(body)) // 4)})
        else:
            self._json(404, error("not_found_error", f"mock: no POST {self._route}"))

    @property
    def _route(self) -> str:
        return self.path.partition("?")[0]

    def _record(self, body: Json, script: str, message_id: str | None) -> None:
        asked = Request(time.time(), self.path, dict(self.headers), body, script, message_id)
        self.server.api.record(asked)

    def _head(self, status: int, headers: dict[str, str]) -> None:
        self.close_connection = True
        self.send_response(status)
        for name, value in (headers | {"Connection": "close"}).items():
            self.send_header(name, value)
        self.end_headers()

    def _json(self, status: int, content: Json, headers: dict[str, str] | None = None) -> None:
        encoded = json.dumps(content).encode()
        ours = {"Content-Type": "application/json", "Content-Length": str(len(encoded))}
        self._head(status, ours | (headers or {}))
        self.wfile.write(encoded)

    def _respond(self, body: Json) -> None:
        api = self.server.api
        script, step = step_of(body)
        if not is_aside(body) and step.verb in ("ERR", "ERRN"):
            refused = refusal(step, api.failures(script))
            if refused is not None:
                self._record(body, script, None)
                self._json(*refused, {"retry-after": "1"} if refused[0] in (429, 529) else None)
                return
        message_id = f"msg_mock{uuid.uuid4().hex[:20]}"
        self._record(body, script, message_id)
        if not is_aside(body):
            if "HOLD" in step.modifiers:
                api.hold(step.modifiers["HOLD"])
            api.stopping.wait(step.seconds("WAIT"))
        whole = message(message_id, body, step, answer(body, step))
        if not body.get("stream"):
            self._json(200, whole)
            return
        self._head(200, {"Content-Type": "text/event-stream"})
        for event in events(whole, step):
            if isinstance(event, Cut) or api.stopping.is_set():
                return
            if isinstance(event, Pause):
                api.stopping.wait(event.seconds)
            else:
                self.wfile.write(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode())
