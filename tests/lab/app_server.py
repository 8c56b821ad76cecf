"""`codex app-server` over stdio, driven as an IDE drives it: JSON-RPC, one object a line."""

import json
import subprocess
import threading
from collections.abc import Callable
from typing import Any, Self

from lab import LabError
from lab.codex import CodexHome

ANSWER_S = 30.0

Json = dict[str, Any]


class AppServer:
    """An app-server of one home, initialized, with one client. Leaving it closes its stdin, which ends it."""

    def __init__(self, home: CodexHome) -> None:
        self._home = home
        self._said: list[Json] = []
        self._changed = threading.Condition()
        self._last_id = 0

    def __enter__(self) -> Self:
        self._server = subprocess.Popen(
            [self._home.codex, "app-server"],
            cwd=self._home.project,
            env=self._home.env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
        )
        self._reader = threading.Thread(target=self._read, name="app-server")
        self._reader.start()
        client = {"name": "lab", "title": "lab", "version": "1"}
        self.call("initialize", clientInfo=client, capabilities={"experimentalApi": True})
        self._send({"method": "initialized"})
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
        if self._server.stdout:
            self._server.stdout.close()

    def close(self) -> None:
        """Hang up: the server ends at once, and interrupts what it is at."""
        if self._server.stdin:
            self._server.stdin.close()
        self._reader.join(10)
        self._server.wait(10)

    @property
    def pid(self) -> int:
        """The pid of the command; node's, where node does not become the native program."""
        return self._server.pid

    def start_thread(self, **settings: Any) -> str:
        """The id of a new thread. `settings`: approvalPolicy, sandbox, model ..."""
        result = self.call("thread/start", cwd=str(self._home.project), **settings)
        return str(result["thread"]["id"])

    def start_turn(self, thread: str, prompt: str) -> str:
        """Ask a thread something; the id of the turn."""
        asked = [{"type": "text", "text": prompt, "text_elements": []}]
        return str(self.call("turn/start", threadId=thread, input=asked)["turn"]["id"])

    def call(self, method: str, **params: Any) -> Json:
        """The result of a request."""
        self._last_id += 1
        ours = self._last_id
        self._send({"id": ours, "method": method, "params": params})
        answer = self._wait(lambda m: m.get("id") == ours and "method" not in m, f"an answer to {method}")
        if "error" in answer:
            raise LabError(f"{method} failed: {answer['error']}")
        result: Json = answer["result"]
        return result

    def said(self, method: str, thread: str) -> Json:
        """The newest message of this method about a thread, a request or a notification, once there is one."""
        return self._wait(lambda m: m.get("method") == method and m["params"].get("threadId") == thread, method)

    def answer(self, request: Json, **result: Any) -> None:
        """Answer a request of the server."""
        self._send({"id": request["id"], "result": result})

    def _wait(self, wanted: Callable[[Json], bool], what: str) -> Json:
        def newest() -> Json | None:
            return next(filter(wanted, reversed(self._said)), None)

        with self._changed:
            found = self._changed.wait_for(newest, timeout=ANSWER_S)
        if found is None:
            raise LabError(f"the app-server did not send {what} within {ANSWER_S:g} s")
        return found

    def _send(self, message: Json) -> None:
        if self._server.stdin:
            self._server.stdin.write(json.dumps(message).encode() + b"\n")

    def _read(self) -> None:
        partial = b""
        while self._server.stdout and (data := self._server.stdout.read(1 << 16)):
            *lines, partial = (partial + data).split(b"\n")
            with self._changed:
                self._said += [json.loads(line) for line in lines]
                self._changed.notify_all()
