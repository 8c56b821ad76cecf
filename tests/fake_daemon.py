"""A server that looks like the Codex daemon from outside: real WebSocket on a real Unix socket."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, unix_serve

Behave = Callable[[ServerConnection, dict[str, Any]], None]


def result(message: dict[str, Any]) -> dict[str, Any]:
    """What a daemon answers whose every thread waits for an approval."""
    status = {"type": "active", "activeFlags": ["waitingOnApproval"]}
    thread = message.get("params", {}).get("threadId")
    read = {"thread": {"id": thread, "status": status}}
    return {"id": message["id"], "result": read if thread else {"codexHome": "/"}}


def well(connection: ServerConnection, message: dict[str, Any]) -> None:
    """Answer, with a notification before it."""
    if "id" in message:
        connection.send(json.dumps({"method": "thread/status/changed", "params": {}}))
        connection.send(json.dumps(result(message)))


class FakeDaemon:
    """A daemon at the place where Codex has it: a link in the home to a socket elsewhere.

    `behave` is called for each message; `methods` are all that it was sent. Not by the control agent of a test
    beside this one, though: that asks every daemon of its user what waits for an answer.
    """

    def __init__(self, home: Path, behave: Behave, path: Path | None = None) -> None:
        self.home, self.behave = home, behave
        self.methods: list[str] = []
        self.connections: list[ServerConnection] = []
        self.socket = path or home.parent / "s"
        link = home / "app-server-control/app-server-control.sock"
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(self.socket)

    def _serve(self, connection: ServerConnection) -> None:
        self.connections.append(connection)
        reads = True
        try:
            for text in connection:
                message = json.loads(text)
                if message["method"] == "initialize":
                    capabilities = message.get("params", {}).get("capabilities", {})
                    reads = not capabilities.get("experimentalApi")
                if reads:
                    self.methods.append(message["method"])
                self.behave(connection, message)
        except ConnectionClosed:
            pass

    @contextmanager
    def running(self) -> Iterator["FakeDaemon"]:
        """Serve until the end of the block."""
        with unix_serve(self._serve, str(self.socket), compression=None, close_timeout=0.1) as server:
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            try:
                yield self
            finally:
                server.shutdown()
                for connection in self.connections:
                    connection.socket.close()
                thread.join()
        self.socket.unlink(missing_ok=True)
