"""A Codex app-server of few words, in this process: it says what a test wants, when it wants it."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

from fleet_agent.control.appserver.protocol import Unreadable

THREAD = "01a1fbf3-d4da-78f3-8f80-8b9a0611d5f6"
Json = dict[str, Any]
Behave = Callable[["FakeConnection", Json], None]


class FakeConnection:
    """A `Connection`. `behave` is called for each message; `sent` are all of them."""

    exit_status = None

    def __init__(self, behave: Behave, server_pid: int = 1) -> None:
        self.server_pid: int | None = server_pid
        self.sent: list[Json] = []
        self._behave = behave
        self._said: asyncio.Queue[bytes | Unreadable | None] = asyncio.Queue()

    def say(self, message: Json | bytes) -> None:
        self._said.put_nowait(message if isinstance(message, bytes) else json.dumps(message).encode())

    def tell(self, method: str, **params: Any) -> None:
        """A notification about the thread."""
        self.say({"method": method, "params": {"threadId": THREAD, **params}})

    def lose(self) -> None:
        """The connection is lost."""
        self._said.put_nowait(None)

    def methods(self) -> list[str]:
        return [message["method"] for message in self.sent if "method" in message]

    def replies(self) -> list[Json]:
        return [message for message in self.sent if "method" not in message]

    async def send(self, message: bytes) -> None:
        decoded = json.loads(message)
        self.sent.append(decoded)
        self._behave(self, decoded)

    async def receive(self) -> bytes | Unreadable:
        said = await self._said.get()
        if said is None:
            raise ConnectionError("the server hung up")
        return said

    async def close(self, grace_s: float) -> None:
        pass


def thread(status: str = "idle", *flags: str) -> Json:
    return {"id": THREAD, "status": {"type": status, "activeFlags": list(flags)}, "cliVersion": "0.169.0"}


def well(connection: FakeConnection, message: Json) -> None:
    """What an idle server answers. A turn is begun when it is asked for."""
    results: Json = {
        "thread/start": {"thread": thread(), "model": "gpt-5.5"},
        "thread/resume": {"thread": thread()},
        "thread/read": {"thread": thread()},
        "thread/turns/list": {"data": []},
        "turn/start": {"turn": {"id": "t1", "status": "inProgress"}},
    }
    if "id" in message and "method" in message:
        connection.say({"id": message["id"], "result": results.get(message["method"], {})})
        if message["method"] == "turn/start":
            connection.tell("turn/started", turn={"id": "t1"})


def resolves(connection: FakeConnection, message: Json) -> None:
    """As `well`; and what it asked is resolved by the first answer."""
    well(connection, message)
    if "method" not in message:
        connection.tell("serverRequest/resolved", requestId=message["id"])


def approval(request_id: int | str, item: str = "call_1", thread_id: str = THREAD, **params: Any) -> Json:
    """The request for an approval of a command."""
    about = {"threadId": thread_id, "turnId": "t1", "itemId": item, "command": "/bin/bash -lc 'git status'"}
    return {
        "id": request_id,
        "method": "item/commandExecution/requestApproval",
        "params": {**about, "cwd": "/srv/x", **params},
    }
