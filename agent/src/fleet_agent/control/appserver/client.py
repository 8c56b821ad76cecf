"""A client of an app-server: requests that are answered, and everything else in the order in which it came."""

import asyncio
import random
from collections.abc import Callable
from typing import TypeVar

import msgspec

from fleet_agent.control.appserver import protocol
from fleet_agent.control.appserver.connection import Connection
from fleet_agent.control.appserver.deadlines import HANDSHAKE_S
from fleet_agent.control.appserver.protocol import Asked, Reply, RpcError, Told, Unreadable

T = TypeVar("T")


class Client:
    """`take` is called for each message that is no reply, in order, and must not block.

    `ended` is done when the connection is; its result says why.
    """

    def __init__(self, connection: Connection, take: Callable[[Told | Asked | Unreadable], None]) -> None:
        self.connection = connection
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._take = take
        self._last_id = 0
        self._waiting: dict[str, asyncio.Future[Reply]] = {}
        self._reader = asyncio.create_task(self._read())

    def redirect(self, take: Callable[[Told | Asked | Unreadable], None]) -> None:
        """Give messages to another from now on."""
        self._take = take

    async def greet(self) -> None:
        """Introduce ourselves; nothing else may be asked before."""
        await self.call("initialize", protocol.greeting(), dict)
        await self.connection.send(protocol.notification("initialized"))

    async def call(self, method: str, params: object, kind: type[T], *, timeout_s: float = HANDSHAKE_S) -> T:
        """The result of a request. An overloaded server is asked again: it has done nothing yet.

        Raises `RpcError`, in the server's words; `ConnectionError`; `TimeoutError`: then it may have been done.
        """
        tries = 0
        while True:
            tries += 1
            reply = await self._ask(method, params, timeout_s)
            if reply.error is None:
                return _result(method, reply, kind)
            pause_s = None
            if reply.error.code == protocol.OVERLOADED:
                pause_s = protocol.overload_pause_s(tries, random.random())  # noqa: S311 - it only spreads
            if pause_s is None:
                raise reply.error
            await asyncio.sleep(pause_s)

    async def reply(self, message: bytes) -> None:
        """Answer a request of the server."""
        await self.connection.send(message)

    async def close(self, grace_s: float = 0.0) -> None:
        """Hang up."""
        self._reader.cancel()
        self._end("it was closed")
        await self.connection.close(grace_s)

    async def _ask(self, method: str, params: object, timeout_s: float) -> Reply:
        if self.ended.done():
            raise ConnectionError(self.ended.result())
        self._last_id += 1
        key = str(self._last_id)
        answered: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._waiting[key] = answered
        try:
            await self.connection.send(protocol.request(self._last_id, method, params))
            return await asyncio.wait_for(answered, timeout_s)
        except asyncio.TimeoutError as exc:
            raise TimeoutError(f"no answer to {method} within {timeout_s:g} s") from exc
        finally:
            self._waiting.pop(key, None)

    async def _read(self) -> None:
        why = "it failed"
        try:
            while True:
                received = await self.connection.receive()
                self._dispatch(received if isinstance(received, Unreadable) else protocol.read(received))
        except ConnectionError as exc:
            why = str(exc)
        except Exception as exc:
            why = f"a bug of fleet-agent: {type(exc).__name__}: {exc}"
        finally:
            self._end(why)

    def _dispatch(self, message: protocol.Message) -> None:
        if not isinstance(message, Reply):
            self._take(message)
            return
        waiting = self._waiting.get(str(message.id))
        if waiting and not waiting.done():
            waiting.set_result(message)

    def _end(self, why: str) -> None:
        if not self.ended.done():
            self.ended.set_result(why)
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(ConnectionError(why))


def _result(method: str, reply: Reply, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(reply.result, type=kind)
    except (ValueError, RecursionError) as exc:
        raise RpcError(0, f"the answer to {method} cannot be read: {exc}") from exc
