"""fleet_agent.control.supervisor and relay: what stays with a run, and how it is asked."""

import asyncio
import json
import os
import stat
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import msgspec
import pytest

from fleet_agent.control import relay, supervisor
from fleet_agent.control.driver import Action, Outcome, SpawnFailed
from fleet_agent.control.events import ApprovalRequested, Ended, Event, Failure, Message, SessionStarted
from fleet_agent.control.groups import Started, started
from fleet_agent.control.rotation import Lines, Reader
from fleet_agent.control.store import Entry, Facts, Store, socket_path
from fleet_agent.control.supervisor import Supervisor
from fleet_agent.control.wire import (
    Approvals,
    Decide,
    Done,
    Interrupt,
    List,
    Pending,
    Refused,
    Run,
    Said,
    Send,
    Stop,
    Target,
)
from fleet_agent.machine import boot_id

TARGET = Target(name="mine")


class Scripted:
    """A driver that says what its test says."""

    def __init__(self) -> None:
        self.ended: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self.began = asyncio.Event()
        self.asked: list[Action] = []
        self.graces_s: list[float] = []

    async def run(self, say: Callable[[Event], None], stderr: Callable[[bytes], None]) -> Outcome:
        self.say, self.stderr = say, stderr
        self.began.set()
        return await self.ended

    async def act(self, request: Action) -> Done | Refused:
        self.asked.append(request)
        if isinstance(request, Decide):
            raise ZeroDivisionError("a bug")
        return Done("as you say")

    def pending(self) -> list[Pending]:
        return [Pending("0199", "codex", ApprovalRequested("7", "command"), since_at=5.0)]

    async def stop(self, grace_s: float) -> None:
        self.graces_s.append(grace_s)
        if not self.ended.done():
            self.ended.set_result(Outcome(signal=15))


@pytest.fixture
def entry() -> Iterator[Entry]:
    with tempfile.TemporaryDirectory(prefix="f") as short:  # for the socket in it
        yield made(Store(f"{short}/s"))


def made(store: Store) -> Entry:
    def facts(name: str) -> Facts:
        run = Run(name, "codex", "exec", "running", 1.0, cwd="/w")
        return Facts(run, "mark", boot_id(), socket_path(f"{store.runs}/{name}", os.environ))

    return store.create(facts, "mine")


class Watched:
    """A run with a supervisor, in this very process."""

    def __init__(self, entry: Entry) -> None:
        self.ready = 0
        self.driver = Scripted()
        self.supervisor = Supervisor(entry, self._ready)

    def _ready(self) -> None:
        self.ready += 1


@asynccontextmanager
async def watched(entry: Entry) -> AsyncIterator[Watched]:
    run = Watched(entry)
    task = asyncio.create_task(run.supervisor.supervise(run.driver))
    await asyncio.wait_for(run.driver.began.wait(), 5)
    yield run
    if not run.driver.ended.done():
        run.driver.ended.set_result(Outcome(exit_code=0))
    await asyncio.wait_for(task, 5)


def said(entry: Entry) -> list[Said]:
    return [msgspec.json.decode(line, type=Said) for line in Lines(entry.events_path).read(1 << 20)]


def test_what_is_said_is_written_down_and_known(entry: Entry) -> None:
    """Events with their time and number; the session's id and model in the facts; the end as the last."""

    async def live() -> None:
        async with watched(entry) as run:
            state = entry.run()
            assert (state.state, state.pid, state.id) == ("running", os.getpid(), None)
            assert run.ready == 0
            run.driver.say(SessionStarted("0199", model="gpt-5.5", version="0.169.0"))
            assert run.ready == 1
            run.driver.say(Message("hello"))
            run.driver.stderr(b"oops")
            state = entry.run()
            assert (state.id, state.model, state.tool_version) == ("0199", "gpt-5.5", "0.169.0")
            run.supervisor.spawned(started(os.getpid()) or Started(1, 1))
            assert entry.facts().tool_pid == os.getpid()
            run.driver.ended.set_result(Outcome(exit_code=4))

    asyncio.run(live())
    lines = said(entry)
    assert [line.seq for line in lines] == [1, 2, 3]
    assert lines[-1].event == Ended(exit_code=4)
    assert lines[0].at <= lines[-1].at
    assert Reader(entry.stderr_path).read(100).data == b"oops"
    run = entry.run()
    assert (run.state, run.exit_code, run.signal) == ("exited", 4, None)
    assert not os.path.exists(entry.facts().socket)


def test_it_is_asked_over_its_socket(entry: Entry) -> None:
    """Actions go to the driver, what waits is told with name and cwd; the socket is its owner's alone."""

    async def live() -> None:
        async with watched(entry) as run:
            path = entry.facts().socket
            assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
            for request in (Send(TARGET, "hi"), Interrupt(TARGET)):
                assert await relay.ask(entry, request) == [Done("as you say")]
            assert run.driver.asked == [Send(TARGET, "hi"), Interrupt(TARGET)]
            (bug,) = await relay.ask(entry, Decide(TARGET, "accept"))
            assert isinstance(bug, Refused)
            assert (bug.kind, "ZeroDivisionError" in bug.message) == ("internal", True)
            pending, done = await relay.ask(entry, Approvals())
            assert pending == Pending(
                "0199", "codex", ApprovalRequested("7", "command"), since_at=5.0, name="mine", cwd="/w"
            )
            assert done == Done()
            (wrong,) = await relay.ask(entry, List())
            assert isinstance(wrong, Refused)
            assert wrong.kind == "bad_request"
            assert await relay.ask(entry, Stop(TARGET, 0.5)) == [Done()]
            assert run.driver.graces_s == [0.5]

    asyncio.run(live())


def test_several_ask_at_once_and_one_stays_connected(entry: Entry) -> None:
    """Connections do not wait for each other, bad lines are answered; the end waits for none of them."""

    async def live() -> None:
        async with watched(entry) as run:
            path = entry.facts().socket
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(b"no request\n" + msgspec.json.encode(Interrupt(TARGET)) + b"\n")
            answers = [json.loads(await reader.readline()) for _ in range(2)]
            assert [answer["type"] for answer in answers] == ["refused", "done"]
            other = await asyncio.gather(*(relay.ask(entry, Interrupt(TARGET)) for _ in range(10)))
            assert other == [[Done("as you say")]] * 10
            flood, flooder = await asyncio.open_unix_connection(path)
            flooder.write(b"x" * (3 << 20) + b"\n")
            with suppress(ConnectionResetError):
                assert await flood.read() == b""
            flooder.close()
            assert len(run.driver.asked) == 11
            run.driver.ended.set_result(Outcome(exit_code=0))
        writer.close()

    asyncio.run(live())


def test_a_driver_with_a_bug_does_not_end_in_silence(entry: Entry) -> None:
    """The bug is among the events, what runs is stopped, and the run has an end."""

    async def live() -> list[float]:
        async with watched(entry) as run:
            run.driver.ended.set_exception(KeyError("x"))
        return run.driver.graces_s

    assert asyncio.run(live()) == [supervisor.TERM_GRACE_S]
    failure, ended = (line.event for line in said(entry))
    assert isinstance(failure, Failure)
    assert "KeyError" in failure.message
    assert ended == Ended()
    assert entry.run().state == "exited"


def test_what_cannot_be_started(entry: Entry) -> None:
    """It is told; and where nobody waits for it any more, it is written down."""

    async def live() -> None:
        run = Watched(entry)
        run.driver.ended.set_exception(SpawnFailed("no tool", "install it"))
        with pytest.raises(SpawnFailed) as failed:
            await run.supervisor.supervise(run.driver)
        run.supervisor.give_up(failed.value)

    asyncio.run(live())
    assert [line.event for line in said(entry)] == [Failure("no tool. install it", source="fleet"), Ended()]
    assert entry.run().state == "exited"


def test_whoever_started_it_is_not_kept_waiting(entry: Entry, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an id, after a while."""
    monkeypatch.setattr(supervisor, "READY_S", 0.1)

    async def live() -> None:
        async with watched(entry) as run:
            await asyncio.sleep(0.2)
            assert run.ready == 1

    asyncio.run(live())


def test_what_could_not_be_written_is_told_when_it_can(entry: Entry, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk does not end a run: the gap is an event, with its size."""

    async def live() -> None:
        async with watched(entry) as run:
            run.driver.say(Message("before"))
            with monkeypatch.context() as full:
                full.setattr(os, "write", lambda *_: 0)
                run.driver.say(Message("lost"))
            run.driver.say(Message("after"))

    asyncio.run(live())
    before, gap, after, _ = (line.event for line in said(entry))
    assert (before, after) == (Message("before"), Message("after"))
    assert isinstance(gap, Failure)
    assert gap.dropped_bytes > 30


def test_a_run_that_nobody_answers_for(entry: Entry) -> None:
    """A supervisor that is gone, or says nothing, is a refusal and not an error."""

    async def asked() -> Any:
        (gone,) = await relay.ask(entry, Interrupt(TARGET))

        async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await reader.read()
            finally:
                writer.close()

        server = await asyncio.start_unix_server(silent, entry.facts().socket)
        (slow,) = await relay.ask(entry, Interrupt(TARGET), 0.1)
        server.close()
        return gone, slow

    gone, slow = asyncio.run(asked())
    assert (gone.kind, slow.kind) == ("stale", "timeout")
    assert "mine" in gone.message
