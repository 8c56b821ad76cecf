"""What stays with a run until it ends: it runs the run's `Driver`, writes down all that comes, and listens.

On the run's socket it takes requests and gives replies as `fleet-agent control` does, NDJSON both ways: Send,
Interrupt, Decide, Answer, Approvals and Stop.
"""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

import msgspec

from fleet_agent.control import groups, rotation
from fleet_agent.control.driver import Driver, Outcome, SpawnFailed
from fleet_agent.control.events import Ended as EndedEvent
from fleet_agent.control.events import Event, Failure, SessionStarted
from fleet_agent.control.store import Ended, Entry, private_directory
from fleet_agent.control.wire import (
    MAX_REQUEST_BYTES,
    Answer,
    Approvals,
    Decide,
    Done,
    Interrupt,
    Refused,
    Reply,
    Request,
    Said,
    Send,
    Stop,
)

EVENTS_SEGMENT_BYTES = 8 << 20
STDERR_SEGMENT_BYTES = 1 << 20
READY_S = 5.0  # how long whoever started a run is kept waiting for its session's id
TERM_GRACE_S = 5.0  # for the tool, when the supervisor itself is told to end
_LOST = "some of what it said could not be written down: is the disk full?"

_decode: Callable[[bytes], Request] = msgspec.json.Decoder(Request).decode
_encode = msgspec.json.Encoder().encode


class Supervisor:
    """One run from its start to its end. `ready` is called when its session has an id, or it takes too long."""

    def __init__(self, entry: Entry, ready: Callable[[], None]) -> None:
        self._entry = entry
        self._ready = ready
        self._facts = entry.facts()
        self._events = rotation.Appender(entry.events_path, EVENTS_SEGMENT_BYTES)
        self._stderr = rotation.Appender(entry.stderr_path, STDERR_SEGMENT_BYTES)
        self._seq = 0
        self._told_lost_bytes = 0

    async def supervise(self, driver: Driver) -> None:
        """Stay with it to its end. Raises `SpawnFailed` when there was nothing to stay with."""
        loop = asyncio.get_running_loop()
        stopping = set[asyncio.Task[None]]()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, lambda: stopping.add(loop.create_task(driver.stop(TERM_GRACE_S))))
        loop.call_later(READY_S, self._ready)
        server = await self._listen(driver)
        try:
            self._end(await self._run(driver))
        finally:
            server.close()  # and no waiting: somebody may stay connected for ever

    def say(self, event: Event) -> None:
        """Write down an event, and what it changes of the facts."""
        lost_bytes = self._events.lost_bytes - self._told_lost_bytes
        if lost_bytes and self._write(Failure(_LOST, source="stream", dropped_bytes=lost_bytes)):
            self._told_lost_bytes += lost_bytes
        self._write(event)
        if isinstance(event, SessionStarted):
            run = self._facts.run
            model, version = event.model or run.model, run.tool_version or event.version
            self._change(id=event.session_id, model=model, tool_version=version)
            self._ready()

    def spawned(self, process: groups.Started) -> None:
        """The tool has a process."""
        self._facts = msgspec.structs.replace(self._facts, tool_pid=process.pid, tool_ticks=process.ticks)
        self._save()

    def give_up(self, why: SpawnFailed) -> None:
        """It could not be started, which came out when nobody waited for that any more."""
        self.say(Failure(f"{why.message}. {why.hint}".strip(" ."), source="fleet"))
        self._end(Outcome())

    async def _listen(self, driver: Driver) -> asyncio.Server:
        """The socket in a directory of this user's alone; then who listens there is known to all."""
        path = self._facts.socket

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await _serve(driver, self._facts.run.name, self._facts.run.cwd, reader, writer)

        try:
            private_directory(os.path.dirname(path))
            server = await asyncio.start_unix_server(serve, path, limit=MAX_REQUEST_BYTES)
            os.chmod(path, 0o600)
        except OSError as exc:
            raise SpawnFailed(f"the run's socket cannot be made: {exc}", "see to that directory") from exc
        self._change(pid=os.getpid(), started_ticks=groups.start_ticks(os.getpid()))
        return server

    async def _run(self, driver: Driver) -> Outcome:
        try:
            return await driver.run(self.say, self._take_stderr)
        except SpawnFailed:
            raise
        except Exception as exc:
            self.say(Failure(f"a bug of fleet-agent: {type(exc).__name__}: {exc}"[:4096], source="fleet"))
            await driver.stop(TERM_GRACE_S)
            return Outcome()

    def _end(self, outcome: Outcome) -> None:
        self.say(EndedEvent(outcome.exit_code, outcome.signal))
        self._entry.write_ended(Ended(time.time(), outcome.exit_code, outcome.signal))
        self._ready()
        with suppress(OSError):
            os.unlink(self._facts.socket)

    def _take_stderr(self, data: bytes) -> None:
        self._stderr.append(data)

    def _write(self, event: Event) -> bool:
        self._seq += 1
        return self._events.append(_encode(Said(event, time.time(), self._seq)) + b"\n")

    def _change(self, **changes: object) -> None:
        run = msgspec.structs.replace(self._facts.run, **changes)
        self._facts = msgspec.structs.replace(self._facts, run=run)
        self._save()

    def _save(self) -> None:
        with suppress(OSError):  # a full disk: what was known before is still there
            self._entry.write_facts(self._facts)


async def _serve(
    driver: Driver, name: str, cwd: str | None, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """One connection: its requests in turn, to its end."""
    try:
        while line := await reader.readline():
            async for reply in _replies(driver, name, cwd, line):
                writer.write(_encode(reply) + b"\n")
            await writer.drain()
    except (OSError, ValueError):
        pass  # it hung up; or its line was too long
    finally:
        writer.close()


async def _replies(driver: Driver, name: str, cwd: str | None, line: bytes) -> AsyncIterator[Reply]:
    try:
        request = _decode(line)
    except (ValueError, RecursionError) as exc:
        yield Refused("bad_request", f"not a request: {exc}")
        return
    if isinstance(request, Approvals):
        for pending in driver.pending():
            yield msgspec.structs.replace(pending, name=name, cwd=pending.cwd or cwd)
        yield Done()
    elif isinstance(request, Stop):
        await driver.stop(request.grace_s)
        yield Done()
    elif isinstance(request, (Send, Interrupt, Decide, Answer)):
        yield await _act(driver, request)
    else:
        yield Refused("bad_request", "a supervisor takes no such request")


async def _act(driver: Driver, request: Send | Interrupt | Decide | Answer) -> Done | Refused:
    try:
        return await driver.act(request)
    except Exception as exc:
        return Refused("internal", f"a bug of fleet-agent: {type(exc).__name__}: {exc}"[:4096])
