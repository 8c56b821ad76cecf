"""`fleet-agent control` of a lab host over SSH: requests and their replies, as the collector exchanges them."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from fleet.transport import Transport
from fleet.transport.control import ControlChannel
from fleet.transport.deadlines import Deadlines
from fleet_agent.control.wire import Done, List, Refused, Reply, Request, Run
from lab import LabError, inventory
from lab.sshfleet import SshFleet

T = TypeVar("T")


class Dialogue:
    """One agent, one SSH connection. One request at a time."""

    def __init__(self, channel: ControlChannel) -> None:
        self._channel = channel

    def write(self, request: Request) -> None:
        """Ask, and wait for nothing."""
        self._channel.write(request)

    async def hear(self, wanted: Callable[[Reply], bool] = lambda _: False) -> Reply:
        """The next reply that is wanted, or ends a request."""
        while True:
            reply = await self._channel.reply()
            if wanted(reply) or isinstance(reply, (Done, Refused)):
                return reply

    async def ask(self, request: Request) -> list[Reply]:
        """All replies; the last is `Done` or `Refused`."""
        self.write(request)
        replies = [await self._channel.reply()]
        while not isinstance(replies[-1], (Done, Refused)):
            replies.append(await self._channel.reply())
        return replies

    async def end(self, request: Request) -> Done | Refused:
        """How a request ended."""
        last = (await self.ask(request))[-1]
        assert isinstance(last, (Done, Refused))
        return last

    async def run(self, name: str) -> Run | None:
        """The run of this name."""
        return next((r for r in await self.ask(List()) if isinstance(r, Run) and r.name == name), None)

    async def until(self, request: Request, found: Callable[[list[Reply]], T | None], timeout_s: float) -> T:
        """Ask again and again, until what is looked for is among the replies."""
        until_s = time.monotonic() + timeout_s
        while (answer := found(replies := await self.ask(request))) is None:
            if time.monotonic() > until_s:
                raise LabError(f"it did not come about within {timeout_s:g} s; the last answer is {replies}")
            await asyncio.sleep(0.05)
        return answer


@asynccontextmanager
async def dialogue(fleet: SshFleet, host: str = "h0001") -> AsyncIterator[Dialogue]:
    """With one host, which need not permit it in any hosts.toml."""
    (spec,) = inventory.specs(fleet, host)
    async with Transport() as transport, transport.control(spec, Deadlines(spec.timeouts)) as channel:
        yield Dialogue(channel)
