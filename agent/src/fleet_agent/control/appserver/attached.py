"""One thread over one connection: what a person can do with it, and what becomes of that.

The server never says who answered a request, nor that a reply came too late: it passes over it (0.169). So
whatever fleet has on this host answers one after the other (`locks`), and looks first whether the request is
still open. Against another program, a person in the session's own terminal, an answer of ours counts if the
server then says that the request is resolved, and what becomes of the command or patch does not say the
opposite: two equal answers at the same moment are both taken for the one that counted.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack, suppress
from typing import Any, NamedTuple

from fleet_agent.control import locks, wire
from fleet_agent.control.appserver import protocol, replies
from fleet_agent.control.appserver.client import Client
from fleet_agent.control.appserver.protocol import Asked, RpcError, Told, Unreadable
from fleet_agent.control.appserver.shapes import Turns, TurnStarted
from fleet_agent.control.appserver.thread import Decided, Open, Thread
from fleet_agent.control.commands import NotPossible
from fleet_agent.control.driver import Action
from fleet_agent.control.events import (
    DECISIONS,
    ApprovalRequested,
    Event,
    Failure,
    Resolved,
    Unknown,
)
from fleet_agent.control.events import (
    Asked as AskedEvent,
)

RESOLVED_S = 5.0  # from our answer to "resolved", which takes the server a millisecond
DECLINED_S = 5.0  # from there to the end of an item that was declined: as little
ACCEPTED_S = 0.2  # for which an item that was accepted must not have been declined

Reply = wire.Done | wire.Refused
_NO_TURN = wire.Refused("not_possible", "no turn is running")


class Shared(NamedTuple):
    """A server that other clients may use, too: answers to it wait for their turn.

    `root`: the state directory; `home`: the CODEX_HOME of the server.
    """

    root: str
    home: str


class Attached:
    """`say` is told of each event. `ours`: nobody else is there to answer what the server asks for in general.

    `client` is None while there is no connection. `asked` is called for each new request that waits for a
    person, `took` after each message. `shared` is None for a server that has no other client.
    """

    def __init__(
        self,
        thread: Thread,
        say: Callable[[Event], None],
        *,
        ours: bool,
        shared: Shared | None = None,
        took: Callable[[Told | Asked | Unreadable], None] = lambda _: None,
        asked: Callable[[Open], None] = lambda _: None,
    ) -> None:
        self.thread = thread
        self.client: Client | None = None
        self._say, self._ours, self._took, self._asked = say, ours, took, asked
        self._shared = shared
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[object]] = set()

    def take(self, message: Told | Asked | Unreadable) -> None:
        """One message of the server that is no reply to us."""
        if isinstance(message, Unreadable):
            self.say([Failure(message.why, source="stream", dropped_bytes=message.size_bytes)])
        elif isinstance(message, Told):
            self.say(self.thread.told(message))
        else:
            self._take_request(message)
        self._took(message)
        self._notify()

    def say(self, events: list[Event]) -> None:
        """Pass events on."""
        for event in events:
            self._say(event)
        self._notify()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def until(self, there: Callable[[], bool], timeout_s: float) -> bool:
        """Wait for messages until something is there; False if it is not in time."""
        loop = asyncio.get_running_loop()
        by_s = loop.time() + timeout_s
        while not there():
            try:
                await asyncio.wait_for(self._changed.wait(), by_s - loop.time())
            except asyncio.TimeoutError:
                return there()
        return True

    def spawn(self, work: Coroutine[Any, Any, object]) -> None:
        """Do something beside taking messages."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def act(self, request: Action) -> Reply:
        """Do what is asked. It fails at once where there is no connection; nothing is queued."""
        if self.client is None:
            return wire.Refused("tool_failed", "there is no connection to Codex's server now", "try again soon")
        if isinstance(request, wire.Send):
            return await _told(self.send(request.text))
        if isinstance(request, wire.Interrupt):
            return await _told(self.interrupt())
        return await _told(self._decide(request) if isinstance(request, wire.Decide) else self._answer(request))

    async def accept(self, found: Open, by: str) -> Reply:
        """Accept one approval."""
        return await _told(self._reply(found, "accept", by))

    async def send(self, text: str) -> Reply:
        """Into the running turn; as a turn of its own if the server says that there is none (any more)."""
        assert self.client
        turn_id = self.thread.turn_id or await self._running_turn()
        said = protocol.text_input(text)
        self.thread.arm()
        if turn_id is not None:
            params = {"threadId": self.thread.id, "expectedTurnId": turn_id, "input": said}
            try:
                await self.client.call("turn/steer", params, dict)
            except RpcError as exc:
                if exc.code == protocol.OVERLOADED:
                    raise
                # It has just ended, or takes no input: whether there can be a new one, the server says too.
            else:
                return wire.Done("into the running turn")
        await self.client.call("turn/start", {"threadId": self.thread.id, "input": said}, TurnStarted)
        return wire.Done("as a new turn")

    async def interrupt(self) -> Reply:
        """End the running turn."""
        assert self.client
        turn_id = self.thread.turn_id or await self._running_turn()
        if turn_id is None:
            return _NO_TURN
        try:
            await self.client.call("turn/interrupt", {"threadId": self.thread.id, "turnId": turn_id}, dict)
        except RpcError:
            if await self._running_turn() is not None:
                raise
            return _NO_TURN  # it ended by itself meanwhile
        self.thread.interrupted_id = turn_id
        return wire.Done()

    async def newest_turn(self) -> tuple[str, str] | None:
        """(id, status) of the thread's newest turn."""
        assert self.client
        params = {"threadId": self.thread.id, "limit": 1}
        try:
            turns = (await self.client.call("thread/turns/list", params, Turns)).data
        except RpcError:  # a thread before its first turn has none, and older servers say so with an error
            return None
        return (turns[0].id, turns[0].status) if turns else None

    async def _reply(self, found: Open, decision: str, by: str) -> Reply:
        """Answer one approval."""
        value = replies.decision(found.asked, decision)
        if value is None:
            return wire.Refused(
                "not_possible",
                f"{found.asked.method} cannot be answered with {decision}",
                "decline it, or answer it in the session's own terminal",
            )
        reply = await self._settle(found, value, decision, by)
        ends_turn = decision == "cancel" and not replies.is_of_an_item(found.asked.method)
        if ends_turn and isinstance(reply, wire.Done):
            await self.interrupt()
        return reply

    async def _running_turn(self) -> str | None:
        newest = await self.newest_turn()
        return newest[0] if newest and newest[1] == "inProgress" else None

    async def _decide(self, request: wire.Decide) -> Reply:
        if request.decision not in DECISIONS:
            return wire.Refused("bad_request", f"no decision: {request.decision}", f"one of {DECISIONS}")
        found = self._find(request.request_id, ApprovalRequested)
        if isinstance(found, wire.Refused):
            return found
        return await self._reply(found, request.decision, request.by)

    async def _answer(self, request: wire.Answer) -> Reply:
        found = self._find(request.request_id, AskedEvent)
        if isinstance(found, wire.Refused):
            return found
        assert isinstance(found.event, AskedEvent)
        known = [question.id for question in found.event.questions]
        if sorted(request.answers) != sorted(known):
            message = "each question needs an answer, and nothing else does"
            return wire.Refused("bad_request", message, f"the ids of the questions: {', '.join(known)}")
        return await self._settle(found, replies.answers(found.asked, request.answers), None, request.by)

    def _find(self, request_id: str | None, kind: type[Any]) -> Open | wire.Refused:
        """The open request that is meant: exactly one."""
        there = {key: found for key, found in self.thread.open.items() if isinstance(found.event, kind)}
        word = "approval" if kind is ApprovalRequested else "question"
        if request_id is None and len(there) > 1:
            message = f"{len(there)} requests are open: name one of them"
            return wire.Refused("ambiguous", message, "--request ID", tuple(there))
        key = next(iter(there), None) if request_id is None else request_id
        if key is None or key not in there:
            which = f"{word} {key}" if key is not None else word
            return wire.Refused("already_resolved", f"no {which} is open in this session (any more)")
        if earlier := self.thread.answered.get(key):
            return wire.Refused("already_resolved", f"{earlier.by or 'somebody'} has just answered it")
        return there[key]

    async def _settle(self, found: Open, value: object, decision: str | None, by: str) -> Reply:
        """Answer, and see what becomes of it."""
        key = str(found.asked.id)
        self.thread.answered[key] = Decided(by, decision)
        try:
            was_open = await self._in_turn(found, value)
            ours = was_open and (decision is None or await self._went_our_way(found, decision))
        finally:
            self.thread.answered.pop(key, None)
        self.say([Resolved(key, decision, by) if ours else Resolved(key)])
        return wire.Done() if ours else wire.Refused("already_resolved", "somebody else was first")

    async def _in_turn(self, found: Open, value: object) -> bool:
        """Send an answer and wait until the request is resolved; False, and nothing sent, if it was before."""
        client, key = self.client, str(found.asked.id)
        if client is None:
            raise ConnectionError("the connection to Codex's server was lost")
        async with AsyncExitStack() as turn:
            if self._shared:
                await turn.enter_async_context(locks.alone(*self._shared))
                params = {"threadId": self.thread.id, "includeTurns": False}
                await client.call("thread/read", params, dict)  # answered behind all that was resolved before
            if key not in self.thread.open:
                return False
            await client.reply(protocol.result(found.asked.id, value))
            resolved = await self.until(lambda: key not in self.thread.open, RESOLVED_S)
        if client.ended.done():
            raise ConnectionError(client.ended.result())
        if not resolved:
            raise NotPossible("Codex's server did not say that the request is resolved", kind="timeout")
        return True

    async def _went_our_way(self, found: Open, decision: str) -> bool:
        item_id = found.event.call_id if isinstance(found.event, ApprovalRequested) else None
        if item_id is None or not replies.is_of_an_item(found.asked.method):
            return True  # nothing else that the server tells shows how it was resolved
        seen, before = self.thread.item_status, self.thread.moves
        if decision.startswith("accept"):
            await self.until(lambda: item_id in seen, ACCEPTED_S)
            return seen.get(item_id) != "declined"
        await self.until(lambda: item_id in seen or self.thread.moves > before, DECLINED_S)
        return seen.get(item_id, "declined") == "declined"

    def _take_request(self, message: Asked) -> None:
        events = self.thread.asked(message, time.time())
        key = str(message.id)
        if key in self.thread.open:
            self.say(events)
            if events:
                self._asked(self.thread.open[key])
        elif self._ours:
            self.say([Failure(f"Codex asked for {message.method}, which fleet has no answer to")])
            self.spawn(self._cannot(message))
        else:
            self.say([Unknown(message.method)])

    async def _cannot(self, message: Asked) -> None:
        if self.client:
            with suppress(ConnectionError):  # then it is not waited for any more
                await self.client.reply(protocol.no_such_method(message.id, message.method))


async def _told(acted: Awaitable[Reply]) -> Reply:
    """What came of it, in words, where it failed."""
    try:
        return await acted
    except RpcError as exc:
        return wire.Refused("tool_failed", f"Codex says: {exc.message}")
    except TimeoutError as exc:
        return wire.Refused("timeout", f"Codex's server gave {exc}; it may have been done all the same")
    except ConnectionError as exc:
        return wire.Refused("tool_failed", f"{exc}, before it answered: it may have been done all the same")
    except NotPossible as exc:
        return exc.refused()
