"""What a run said and says: List, Logs, Attach, and the requests that come while one is attached."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import msgspec

from fleet_agent.control import rotation, targets
from fleet_agent.control.host import Asker, Host
from fleet_agent.control.store import Entry
from fleet_agent.control.targets import Foreign
from fleet_agent.control.wire import Attach, Done, Failure, List, Logs, Refused, Reply, Said, Stderr

POLL_S = 0.05
STDERR_BYTES = 32 << 10  # of one `Stderr` line
GAP = "what was said before was too much to be kept"

_encode = msgspec.json.Encoder().encode


class _Stamp(msgspec.Struct):
    """Of a `Said` line, what is needed to choose it."""

    at: float


_decode_stamp = msgspec.json.Decoder(_Stamp).decode


def list_runs(host: Host, asked: List, say: Callable[[Reply], None]) -> Done:
    """Every run, newest first; the beginning of its prompt only where privacy allows it."""
    for entry in host.store.entries():
        _settle(entry)
        run = entry.run()
        say(run if asked.privacy in ("title", "text") else msgspec.structs.replace(run, prompt=None))
    return Done()


def _settle(entry: Entry) -> None:
    """Of a terminal only tmux knows how it ended."""
    if entry.facts().run.mode == "tmux" and entry.run().state == "lost":
        from fleet_agent.control import tmux_runs

        tmux_runs.settle(entry)


async def logs(host: Host, asked: Logs, asker: Asker) -> Done | Refused:
    """What it has said; with `follow` also what it says, until it has ended or nobody listens any more."""
    entry = targets.find_run(host.store, asked.target)
    if isinstance(entry, Refused):
        return entry
    if entry is None:
        return await _foreign_logs(host, asked, asker)
    if entry.facts().run.mode == "tmux":
        from fleet_agent.control import tmux_runs

        return tmux_runs.logs(entry, asker.say)
    send = _sender(entry, asked, asker)
    while True:
        more = asked.follow and entry.run().state == "running"  # asked before the last reading
        if send():
            continue
        if not more:
            return Done()
        if await gone(asker):
            return Done("not followed any more")


async def attach(
    host: Host, asked: Attach, asker: Asker, answer: Callable[[bytes], Awaitable[None]]
) -> Done | Refused:
    """What it says from now on; every further request goes to `answer`. Until no more requests come."""
    found = await asyncio.to_thread(targets.find, host, asked.target)
    if isinstance(found, Refused):
        return found
    answering = asyncio.create_task(_answer_all(asker, answer))
    try:
        return await _attached(found, asker, answering)
    finally:
        answering.cancel()


async def _attached(found: Entry | Foreign, asker: Asker, answering: "asyncio.Task[None]") -> Done | Refused:
    if isinstance(found, Foreign):
        return await _attached_foreign(found, asker, answering)
    if found.facts().run.mode == "tmux":
        return Refused(
            "not_possible", f"{found.name} is a terminal", "attach to it with a terminal: fleet attach"
        )
    lines = rotation.Lines(found.events_path, rotation.total_bytes(found.events_path), _gap)
    while not answering.done():
        if not _send_lines(lines, asker, None):
            await asyncio.wait([answering], timeout=POLL_S)
    answering.result()
    return Done()


async def _attached_foreign(found: Foreign, asker: Asker, answering: "asyncio.Task[None]") -> Done | Refused:
    from fleet_agent.control import foreign

    following = asyncio.create_task(foreign.follow(found, asker))
    try:
        await asyncio.wait([following, answering], return_when=asyncio.FIRST_COMPLETED)
        if following.done() and isinstance(refused := following.result(), Refused):
            return refused
        await answering
        return Done()
    finally:
        following.cancel()


async def _answer_all(asker: Asker, answer: Callable[[bytes], Awaitable[None]]) -> None:
    while (line := await asker.next()) is not None:
        await answer(line)


async def gone(asker: Asker) -> bool:
    """Whether nobody listens any more; it takes `POLL_S` to say no."""
    try:
        await asyncio.wait_for(asker.gone.wait(), POLL_S)
    except asyncio.TimeoutError:  # before Python 3.11 not the builtin one
        return False
    return True


def _sender(entry: Entry, asked: Logs, asker: Asker) -> Callable[[], bool]:
    """Sends what is there next; False if there is nothing yet."""
    if asked.stderr:
        reader = rotation.Reader(entry.stderr_path)
        return lambda: _send_stderr(reader, asker)
    lines = rotation.Lines(entry.events_path, on_gap=_gap)
    return lambda: _send_lines(lines, asker, asked.since_at)


def _send_lines(lines: rotation.Lines, asker: Asker, since_at: float | None) -> bool:
    found = lines.read(rotation.READ_BYTES)
    chosen = found if since_at is None else [line for line in found if _decode_stamp(line).at >= since_at]
    if chosen:
        asker.write(b"\n".join(chosen) + b"\n")
    return bool(found)


def _send_stderr(reader: rotation.Reader, asker: Asker) -> bool:
    piece = reader.read(STDERR_BYTES)
    if piece.dropped_bytes:
        asker.write(_gap(piece.dropped_bytes) + b"\n")
    if piece.data:
        asker.say(Stderr(piece.data.decode("utf-8", "replace")))
    return bool(piece.data)


def _gap(dropped_bytes: int) -> bytes:
    return _encode(Said(Failure(GAP, source="stream", dropped_bytes=dropped_bytes), time.time()))


async def _foreign_logs(host: Host, asked: Logs, asker: Asker) -> Done | Refused:
    found = await asyncio.to_thread(targets.find, host, asked.target)
    if isinstance(found, Refused):
        return found
    assert isinstance(found, Foreign)
    from fleet_agent.control import foreign

    return await foreign.logs(found, asked, asker)
