"""What the mock model APIs have in common: the server, its record of requests, what is held back, the command.

One thread a request, all ended with the server. `mock_responses` and `mock_anthropic` say what is answered.
"""

import argparse
import contextlib
import json
import sys
import threading
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, Self, TextIO, TypeVar

Json = dict[str, Any]

KEEP_ALIVE_S = 1.0  # between two signs of life of an answer that is held back


class _Named(Protocol):
    """A NamedTuple."""

    def _asdict(self) -> Json: ...


Request = TypeVar("Request", bound=_Named)
Api = TypeVar("Api", bound="ModelApi[Any]")


class ModelApi(Generic[Request]):
    """A model API on a loopback port (0: a free one), running while it is entered.

    `log` gets one line of JSON per request.
    """

    exchange: ClassVar[type["Exchange"]]
    base_path: ClassVar[str] = ""  # of `url`

    def __init__(self, port: int = 0, *, log: TextIO | None = None) -> None:
        self.requests: list[Request] = []
        self.errors: list[Exception] = []  # of the mock itself, raised when it ends
        self.stopping = threading.Event()
        self._log = log
        self._failures: Counter[str] = Counter()  # prompt -> how often a failing step of it was asked for
        self._held: Counter[str] = Counter()  # name of a HOLD -> answers that wait for it
        self._holds: dict[str, threading.Event] = {}  # the same names -> set when they may go on
        self._lock = threading.Lock()
        self._server = Server(port, self)
        name = type(self).__name__
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name=name)

    @property
    def url(self) -> str:
        """The base URL, as its tool wants it."""
        return f"http://127.0.0.1:{self._server.server_address[1]}{self.base_path}"

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
        """Whether an answer is held back now by `HOLD name`: its client waits for the model."""
        with self._lock:
            return self._held[name] > 0

    def release(self, name: str) -> None:
        """Let every answer go on that is held by this name now."""
        with self._lock:
            released = self._holds.pop(name, None)
        if released is not None:
            released.set()

    def hold(self, name: str, keep_alive: Callable[[], None] = lambda: None) -> None:
        """Wait until a test releases this name, or the API stops; `keep_alive` is called every KEEP_ALIVE_S."""
        with self._lock:
            released = self._holds.setdefault(name, threading.Event())
            self._held[name] += 1
        try:
            while not (self.stopping.is_set() or released.wait(KEEP_ALIVE_S)):
                keep_alive()
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

    def failures(self, prompt: str) -> int:
        """How often a failing step of this prompt was asked for, this time included."""
        with self._lock:
            self._failures[prompt] += 1
            return self._failures[prompt]


class Server(ThreadingHTTPServer, Generic[Api]):
    """The HTTP server of one API."""

    daemon_threads = False  # server_close waits for them
    request_queue_size = 64

    def __init__(self, port: int, api: Api) -> None:
        super().__init__(("127.0.0.1", port), api.exchange)
        self.api = api

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002 (socketserver's)
        error = sys.exception()
        if isinstance(error, Exception) and not isinstance(error, OSError):  # OSError: the client has gone
            self.api.errors.append(error)


class Exchange(BaseHTTPRequestHandler, ABC):
    """One request and its answer; one a connection, so that no thread waits for another one to come."""

    protocol_version = "HTTP/1.1"
    timeout = 10

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base class names it)
        """Say nothing: the API keeps its own record."""

    def do_HEAD(self) -> None:
        self.head(200, {"Content-Length": "0"})

    def do_GET(self) -> None:
        self.get()

    def do_POST(self) -> None:
        self.post(json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}"))

    @abstractmethod
    def get(self) -> None:
        """Record and answer a GET."""

    @abstractmethod
    def post(self, body: Json) -> None:
        """Record and answer a POST."""

    @property
    def route(self) -> str:
        """The path without its query."""
        return self.path.partition("?")[0]

    def head(self, status: int, headers: dict[str, str]) -> None:
        """Send the status and headers of an answer, which is the last one of this connection."""
        self.close_connection = True
        self.send_response(status)
        for name, value in (headers | {"Connection": "close"}).items():
            self.send_header(name, value)
        self.end_headers()

    def json(self, status: int, answer: Json, headers: dict[str, str] | None = None) -> None:
        """Answer with one JSON object."""
        content = json.dumps(answer).encode()
        ours = {"Content-Type": "application/json", "Content-Length": str(len(content))}
        self.head(status, ours | (headers or {}))
        self.wfile.write(content)

    def event(self, event: Json) -> None:
        """Send one server-sent event, behind a head of that content type."""
        self.wfile.write(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode())


def in_foreground(api: type[ModelApi[Any]], prog: str, port: int) -> None:
    """The command `python -m PROG`: the API in the foreground, until Ctrl-C. `port`: unless it says another."""
    parser = argparse.ArgumentParser(prog=prog, description="an offline model API")
    parser.add_argument("--port", type=int, default=port)
    parser.add_argument(
        "--log", type=Path, default=Path("/dev/null"), help="append requests, one line of JSON each"
    )
    args = parser.parse_args()
    with args.log.open("a") as log, api(args.port, log=log) as running:
        print(f"mock on {running.url}", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()
