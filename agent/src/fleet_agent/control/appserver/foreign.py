"""Sessions that fleet did not start, in the Codex daemons of this host: what waits there, and driving them.

Every client of a daemon can do everything, and what one does the others show. A daemon sends what waits for a
person again to each client that resumes its thread. The first answer counts, and all are told of it.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from fleet_agent.control import wire
from fleet_agent.control.appserver.attached import Attached, Reply, Shared
from fleet_agent.control.appserver.client import Client
from fleet_agent.control.appserver.connection import DaemonConnection
from fleet_agent.control.appserver.protocol import Asked, RpcError, Told, Unreadable
from fleet_agent.control.appserver.shapes import Facts, Loaded, Opened, Resumed, no_input
from fleet_agent.control.appserver.thread import Thread
from fleet_agent.control.driver import Action
from fleet_agent.control.events import Event, Failure, FileChange
from fleet_agent.control.parse.values import changes

SENT_AGAIN_S = 2.0  # from resuming a thread to what waits in it: it follows the answer at once
ANSWER_S = 10.0
MAX_THREADS = 500  # of one daemon
_AT_ONCE = 8


async def pending(homes: Iterable[str]) -> tuple[list[wire.Pending], list[str]]:
    """What waits for a person in the daemons of these CODEX_HOMEs, oldest first; and which of them failed."""
    real = sorted({os.path.realpath(home) for home in homes})
    answers = await asyncio.gather(*(_pending(home) for home in real), return_exceptions=True)
    found: list[wire.Pending] = []
    problems: list[str] = []
    for home, answer in zip(real, answers, strict=True):
        if isinstance(answer, (OSError, RpcError)):
            problems.append(f"the Codex daemon of {home} cannot be asked: {answer}")
        elif isinstance(answer, BaseException):
            raise answer
        else:
            found += answer
    return sorted(found, key=lambda one: one.since_at or 0.0), problems


async def act(home: str, thread_id: str, request: Action, root: str) -> Reply:
    """Do something with one session of a home's daemon. It is refused unless all is as the asker saw it.

    `root`: the state directory.
    """
    try:
        async with _client(home) as client:
            if client is None:
                return wire.Refused("not_possible", f"no Codex daemon runs for {home}", _ELSEWHERE)
            if refused := _stale(request, client):
                return refused
            return await _act(client, thread_id, request, Shared(root, os.path.realpath(home)))
    except RpcError as exc:
        return wire.Refused("tool_failed", f"Codex says: {exc.message}")
    except TimeoutError as exc:
        return wire.Refused("timeout", f"the Codex daemon of {home} gave {exc}")
    except ConnectionError as exc:
        return wire.Refused("tool_failed", str(exc))


async def follow(home: str, thread_id: str, say: Callable[[Event], None]) -> Reply:
    """Say what happens in one session, from now on and to its end, or that of the daemon. Answers nothing."""
    attached = Attached(Thread(thread_id), say, ours=False)
    try:
        async with _client(home, attached.take) as client:
            if client is None:
                return wire.Refused("not_possible", f"no Codex daemon runs for {home}", _ELSEWHERE)
            if thread_id not in await _loaded(client):
                return _not_there(thread_id)
            attached.thread.arm()
            await _subscribe(client, attached)
            over = asyncio.ensure_future(attached.until(lambda: attached.thread.closed, float("inf")))
            await _first(over, client.ended)
            if not attached.thread.closed:
                say(Failure(f"no more is seen of the session: {client.ended.result()}"))
            return wire.Done()
    except (RpcError, TimeoutError, ConnectionError) as exc:
        return wire.Refused("tool_failed", f"the Codex daemon of {home}: {exc}")


_ELSEWHERE = (
    "a session in its own terminal can be reached through its tmux pane; `fleet run --fork` goes on with a copy"
)


@asynccontextmanager
async def _client(
    home: str, take: Callable[[Told | Asked | Unreadable], None] = lambda _: None
) -> AsyncIterator[Client | None]:
    connection = await DaemonConnection.open(home)
    if connection is None:
        yield None
        return
    client = Client(connection, take)
    try:
        await client.greet()
        yield client
    finally:
        await client.close()


def _stale(request: Action, client: Client) -> wire.Refused | None:
    """Request ids begin at 0 again in each daemon, so who asks must have seen this one."""
    pid, seen = client.connection.server_pid, request.target.pids
    if not seen or pid is None or pid in seen:
        return None
    return wire.Refused("stale", f"the Codex daemon is another process now: {pid}", "look again, then repeat")


async def _act(client: Client, thread_id: str, request: Action, shared: Shared) -> Reply:
    if thread_id not in await _loaded(client):
        return _not_there(thread_id)
    said: list[Event] = []
    attached = Attached(Thread(thread_id), said.append, ours=False, shared=shared)
    attached.client = client
    if isinstance(request, (wire.Send, wire.Interrupt)):
        thread = await _read(client, thread_id)
        if not thread.takes_input:
            return no_input(thread)
        return await attached.act(request)
    client.redirect(attached.take)
    await _see_open(client, attached)
    return await attached.act(request)


async def _pending(home: str) -> list[wire.Pending]:
    async with _client(home) as client:
        if client is None:
            return []
        limit = asyncio.Semaphore(_AT_ONCE)
        seen: dict[str, Attached] = {}

        async def look(thread_id: str) -> list[wire.Pending]:
            async with limit:
                return await _pending_in(client, thread_id, seen)

        def take(message: Told | Asked | Unreadable) -> None:
            if not isinstance(message, Unreadable) and message.thread_id in seen:
                seen[message.thread_id].take(message)

        client.redirect(take)
        found = await asyncio.gather(*(look(thread_id) for thread_id in await _loaded(client)))
        return [one for some in found for one in some]


async def _pending_in(client: Client, thread_id: str, seen: dict[str, Attached]) -> list[wire.Pending]:
    try:
        thread = await _read(client, thread_id)
        if not thread.status.waits:
            return []
        seen[thread_id] = attached = Attached(Thread(thread_id), lambda _: None, ours=False)
        await _see_open(client, attached)
    except RpcError:  # it was unloaded since
        return []
    return [
        wire.Pending(thread_id, "codex", found.event, found.since_at, cwd=thread.cwd)
        for found in attached.thread.open.values()
    ]


async def _see_open(client: Client, attached: Attached) -> None:
    """Have all that waits in a thread sent again. It follows the answer at once, and all of it together."""
    if await _resume(client, attached.thread.id):
        await attached.until(lambda: attached.thread.shows_open, SENT_AGAIN_S)
        await _read(client, attached.thread.id)  # its answer comes behind the last of them
        if attached.thread.lacks_patches:
            attached.thread.know_patches(await _patches(client, attached.thread.id))


async def _patches(client: Client, thread_id: str) -> dict[str, tuple[FileChange, ...]]:
    """What the patches of the running turn change, by item id. Nothing else tells of one that is not done."""
    page = {"limit": 1, "itemsView": "full"}
    params = {"threadId": thread_id, "excludeTurns": True, "initialTurnsPage": page}
    turns = (await client.call("thread/resume", params, Resumed, timeout_s=ANSWER_S)).initial_turns_page
    return {item.id: changes(item.changes) for turn in (turns.data if turns else []) for item in turn.items}


async def _loaded(client: Client) -> list[str]:
    """The ids of the threads that the daemon holds."""
    found: list[str] = []
    cursor: str | None = None
    while len(found) < MAX_THREADS:
        page = await client.call("thread/loaded/list", {"cursor": cursor}, Loaded, timeout_s=ANSWER_S)
        found += page.data
        cursor = page.next_cursor
        if cursor is None:
            break
    return found


async def _subscribe(client: Client, attached: Attached) -> None:
    """As soon as there can be something to see: a thread cannot be resumed before its first turn."""
    thread = attached.thread
    while True:
        heard = thread.heard
        try:
            await _resume(client, thread.id)
        except RpcError:
            if thread.closed:
                raise
        else:
            return
        news = asyncio.ensure_future(attached.until(partial(_is_past, thread, heard), float("inf")))
        await _first(news, client.ended)
        if client.ended.done():
            raise ConnectionError(client.ended.result())


def _is_past(thread: Thread, heard: int) -> bool:
    return thread.heard > heard


async def _first(work: asyncio.Future[bool], ended: asyncio.Future[str]) -> None:
    """Wait until one of them is done; the work is not left behind."""
    either: list[asyncio.Future[Any]] = [work, ended]
    try:
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    finally:
        work.cancel()


async def _read(client: Client, thread_id: str) -> Facts:
    params = {"threadId": thread_id, "includeTurns": False}
    return (await client.call("thread/read", params, Opened, timeout_s=ANSWER_S)).thread


async def _resume(client: Client, thread_id: str) -> bool:
    """Subscribe to a thread that is loaded; whether something in it waits for a person."""
    params = {"threadId": thread_id, "excludeTurns": True}
    opened = await client.call("thread/resume", params, Opened, timeout_s=ANSWER_S)
    return opened.thread.status.waits


def _not_there(thread_id: str) -> wire.Refused:
    message = f"the Codex daemon does not hold session {thread_id}"
    return wire.Refused("not_possible", message, f"it may have ended: `codex resume {thread_id}`")
