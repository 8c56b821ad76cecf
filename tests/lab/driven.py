"""Sessions in the real Codex's app-server, driven from within a test: a run's driver, and clients beside it."""

import asyncio
import contextlib
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, TypeVar

from fleet_agent.control import wire
from fleet_agent.control.appserver import foreign
from fleet_agent.control.appserver.driver import AppServerDriver, driver
from fleet_agent.control.audit import Audit
from fleet_agent.control.driver import Action, SpawnFailed
from fleet_agent.control.events import Event, Message
from fleet_agent.control.groups import Started
from lab import LabError
from lab.codex import CodexHome
from lab.tmux import Tmux

WITHIN_S = 40.0
TARGET = wire.Target(name="ours")
_CONFIG = """
[features]
default_mode_request_user_input = true

[agents]
max_depth = 3
"""
E = TypeVar("E", bound=Event)
T = TypeVar("T")


@contextlib.contextmanager
def home_with_daemon(url: str) -> Iterator[CodexHome]:
    """A home with a daemon, in which Codex asks before it leaves the sandbox. `url`: of the mock model API."""
    with CodexHome(url, approval="on-request", sandbox="read-only", config=_CONFIG) as home:
        start = [str(home.codex), "app-server", "daemon", "start"]  # its first start copies 440 MB
        null = subprocess.DEVNULL
        subprocess.run(start, env=home.env, check=True, timeout=120, stdin=null, stdout=null, stderr=null)
        yield home


class Running:
    """A session of ours, and all that it said."""

    def __init__(self, home: CodexHome, prompt: str | None, **options: Any) -> None:
        self.events: list[Event] = []
        self.spawned: list[Started] = []
        self.state = home.root / "state"
        start = wire.Start(prompt=prompt, mode="app-server", name="ours", cwd=str(home.project), **options)
        env, marks = home.env, {"FLEET_RUN_ID": "e2e"}
        audit = Audit(str(self.state), {})
        self.driver: AppServerDriver = driver(
            start, str(home.codex), home.version, env, marks, audit, self.spawned.append
        )
        self.outcome = asyncio.ensure_future(self.driver.run(self.events.append, lambda _: None))

    async def until(self, kind: type[E], count: int = 1) -> E:
        """The nth event of a kind, as soon as it is there."""
        return (await soon(lambda: self.of(kind)[count - 1 :], f"{kind.__name__} number {count}"))[0]

    def of(self, kind: type[E]) -> list[E]:
        """All events of a kind."""
        return [event for event in self.events if isinstance(event, kind)]

    def said(self) -> list[str]:
        """What the model said."""
        return [message.text for message in self.of(Message) if not message.delta]

    async def send(self, text: str) -> str:
        """Say something to it: how it was taken."""
        return done(await self.driver.act(wire.Send(TARGET, text)))


@contextlib.asynccontextmanager
async def running(home: CodexHome, prompt: str | None, **options: Any) -> AsyncIterator[Running]:
    """One that is stopped afterwards."""
    ours = Running(home, prompt, **options)
    try:
        yield ours
    finally:
        await ours.driver.stop(4.0)
        with contextlib.suppress(SpawnFailed):
            await asyncio.wait_for(ours.outcome, WITHIN_S)


async def soon(look: Callable[[], T], what: str) -> T:
    """What is found, as soon as it is something."""
    for _ in range(int(WITHIN_S / 0.02)):
        if found := look():
            return found
        await asyncio.sleep(0.02)
    raise LabError(f"it did not come about: {what}")


async def pending(home: CodexHome) -> wire.Pending:
    """The one request that is open in the home, as soon as there is one."""
    for _ in range(int(WITHIN_S / 0.05)):
        found, problems = await foreign.pending([str(home.home)])
        assert not problems
        if found:
            (one,) = found
            return one
        await asyncio.sleep(0.05)
    raise LabError("nothing waits for a person")


async def act(home: CodexHome, thread_id: str, request: Action) -> wire.Done | wire.Refused:
    """As another client of the home's daemon."""
    return await foreign.act(str(home.home), thread_id, request, str(home.root / "state"))


async def until_idle(home: CodexHome, thread_id: str) -> None:
    """Wait for the end of its turn, or end it."""
    for _ in range(int(WITHIN_S / 0.05)):
        reply = await act(home, thread_id, wire.Interrupt(wire.Target(id=thread_id)))
        if isinstance(reply, wire.Refused):
            assert reply.kind == "not_possible", reply
            return
    raise LabError("its turn does not end")


def done(reply: wire.Done | wire.Refused) -> str:
    """What a request that must be done was answered with."""
    assert isinstance(reply, wire.Done), reply
    return reply.message


def refused(reply: wire.Done | wire.Refused) -> str:
    """The kind of the refusal of a request that must be refused."""
    assert isinstance(reply, wire.Refused), reply
    return reply.kind


async def new_tui(home: CodexHome) -> tuple[Tmux, str]:
    """A terminal UI in the daemon, and its thread."""
    before = home.threads()
    tui = await asyncio.to_thread(home.tui, daemon=True)
    (thread,) = await soon(lambda: home.threads() - before, "its thread")
    return tui, thread
