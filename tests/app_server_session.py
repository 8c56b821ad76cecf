"""A session of ours against an app-server that says what a test wants."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest

from fake_app_server import FakeConnection
from fleet_agent.control import wire
from fleet_agent.control.appserver.connection import Connection
from fleet_agent.control.appserver.driver import AppServerDriver
from fleet_agent.control.appserver.gate import Gate
from fleet_agent.control.audit import Audit
from fleet_agent.control.driver import Outcome
from fleet_agent.control.events import Event
from fleet_agent.control.policy import NOTHING, Policy

TARGET = wire.Target(name="ours")
WITHIN_S = 5.0
E = TypeVar("E", bound=Event)


class FakeServer:
    """A `Server`: one connection after the other."""

    def __init__(self, *connections: FakeConnection, survives: bool = True) -> None:
        self.survives = survives
        self._left = list(connections)

    async def open(self, _: Callable[[bytes], None]) -> Connection:
        if not self._left:
            raise ConnectionError("nobody there")
        return self._left.pop(0)


class Session:
    """A session of ours, for as long as a test needs it."""

    def __init__(self, tmp_path: Path, server: FakeServer, rules: Policy = NOTHING) -> None:
        self.events: list[Event] = []
        start = wire.Start(prompt="hello", mode="app-server", name="ours", cwd="/srv/x")
        self.driver = AppServerDriver(start, server, Gate(rules, Audit(str(tmp_path), {})), (0.01, 0.01))
        self.outcome = asyncio.ensure_future(self.driver.run(self.events.append, lambda _: None))

    def of(self, kind: type[E]) -> list[E]:
        return [event for event in self.events if isinstance(event, kind)]

    async def until(self, there: Callable[[], object]) -> None:
        for _ in range(int(WITHIN_S / 0.005)):
            if there():
                return
            await asyncio.sleep(0.005)
        pytest.fail(f"it did not come about; there is {self.events}")

    async def end(self) -> Outcome:
        await self.driver.stop(0.1)
        return await asyncio.wait_for(self.outcome, WITHIN_S)


def run(story: Awaitable[None]) -> None:
    async def bounded() -> None:
        await asyncio.wait_for(story, 20.0)

    asyncio.run(bounded())
