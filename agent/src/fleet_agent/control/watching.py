"""What a run said and says: List, Logs, Attach, and the requests that come while one is attached."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import msgspec

from fleet_agent.control import following, rotation, targets
from fleet_agent.control.events import Failure
from fleet_agent.control.host import Asker, Host
from fleet_agent.control.store import Entry
from fleet_agent.control.targets import Foreign
from fleet_agent.control.wire import Attach, Done, List, Logs, Refused, Reply, Said, Stderr

STDERR_BYTES = 32 << 10  # of one `Stderr` line
GAP = "what was said before was too much to be kept"

_encode = msgspec.json.Encoder().encode


class _Stamp(msgspec.Struct):
    """Of a `Said` line, what is needed to choose it. `seq` 0: it is no event of the run itself."""

    at: float
    seq: int = 0


_decode_stamp = msgspec.json.Decoder(_Stamp).decode


def list_runs(host: Host, asked: List, say: Callable[[Reply], None]) -> Done:
    """Every run, newest first; the beginning of its prompt only where privacy allows it."""
    entries = host.store.entries()
    targets.identify(entries)
    for entry in entries:
        _settle(entry)
        run = entry.run()
        say(run if asked.privacy in ("title", "text") else msgspec.structs.replace(run, prompt=None))
    return Done()


def _settle(entry: Entry) -> None:
    """Of a terminal only tmux knows how it ended."""
    if entry.facts().run.mode == "tmux" and entry.run().state == "lost":
        from fleet_agent.control import tmux_runs

        tmux_runs.settle(entry)
        tmux_runs.recall(entry)


async def logs(host: Host, asked: Logs, asker: Asker) -> Done | Refused:
    """What it has said; with `follow` also what it says, until it has ended or nobody listens any more."""
    entry = targets.find_run(host.store, asked.target)
    if isinstance(entry, Refused):
        return entry
    if entry is None:
        return await _foreign_logs(host, asked, asker)
    if entry.facts().run.mode == "tmux":
        return await _terminal_logs(host, entry, asked, asker)
    return await following.told(_sender(entry, asked, asker), lambda: _goes_on(entry, asked), asker)


def _goes_on(entry: Entry, asked: Logs) -> bool:
    return asked.follow and entry.run().state == "running"


async def _terminal_logs(host: Host, entry: Entry, asked: Logs, asker: Asker) -> Done:
    """What its tool writes down of the session that it shows; of other tools what it shows itself."""
    from fleet_agent.control import tmux_runs

    tool, path = entry.facts().run.tool, None
    if tool in targets.SHOWN_TOOLS and not asked.stderr:
        path = await following.found(
            lambda: tmux_runs.record(entry, host.environ),
            lambda: _goes_on(entry, asked),
            asker,
            wait=asked.follow,
        )
    if path is None:
        return tmux_runs.logs(tmux_runs.of(entry), asker.say)
    with following.opened(path, tool, asked) as record:
        send = following.sender(record, asker)
        return await following.told(send, lambda: _goes_on(entry, asked), asker)


async def attach(
    host: Host, asked: Attach, asker: Asker, answer: Callable[[bytes], Awaitable[None]]
) -> Done | Refused:
    """What it says from now on; every further request goes to `answer`. Until no more requests come."""
    found = await asyncio.to_thread(targets.find, host, asked.target)
    if isinstance(found, Refused):
        return found
    answering = asyncio.create_task(_answer_all(asker, answer))
    try:
        return await _attached(host, found, asked, asker, answering)
    finally:
        answering.cancel()


async def _attached(
    host: Host, found: Entry | Foreign, asked: Attach, asker: Asker, answering: "asyncio.Task[None]"
) -> Done | Refused:
    if isinstance(found, Foreign):
        return await _attached_foreign(host, found, asked, asker, answering)
    if found.facts().run.mode == "tmux":
        return await _attached_terminal(host, found, asked, asker, answering)
    again = bool(asked.after_seq) or asked.since_at is not None
    begin_bytes = 0 if again else rotation.total_bytes(found.events_path)
    lines = rotation.Lines(found.events_path, begin_bytes, _gap)
    return await _pass_on(lambda: _send_lines(lines, asker, asked), answering)


async def _attached_terminal(
    host: Host, entry: Entry, asked: Attach, asker: Asker, answering: "asyncio.Task[None]"
) -> Done | Refused:
    from fleet_agent.control import tmux_runs

    tool = entry.facts().run.tool
    path = await asyncio.to_thread(tmux_runs.record, entry, host.environ)
    if path is None or tool not in targets.SHOWN_TOOLS:
        why = "and nothing that it said is written down"
        return Refused("not_possible", f"{entry.name} is a terminal, {why}", "attach to it with a terminal")
    with following.opened(path, tool, asked) as record:
        return await _pass_on(following.sender(record, asker), answering)


async def _pass_on(send: Callable[[], bool], answering: "asyncio.Task[None]") -> Done:
    while not answering.done():
        if not send():
            await asyncio.wait([answering], timeout=following.POLL_S)
    answering.result()
    return Done()


async def _attached_foreign(
    host: Host, found: Foreign, asked: Attach, asker: Asker, answering: "asyncio.Task[None]"
) -> Done | Refused:
    from fleet_agent.control import foreign

    telling = asyncio.create_task(foreign.follow(host, found, asked, asker))
    try:
        await asyncio.wait([telling, answering], return_when=asyncio.FIRST_COMPLETED)
        if telling.done() and isinstance(refused := telling.result(), Refused):
            return refused
        await answering
        return Done()
    finally:
        telling.cancel()


async def _answer_all(asker: Asker, answer: Callable[[bytes], Awaitable[None]]) -> None:
    while (line := await asker.next()) is not None:
        await answer(line)


def _sender(entry: Entry, asked: Logs, asker: Asker) -> Callable[[], bool]:
    """Sends what is there next; False if there is nothing yet."""
    if asked.stderr:
        reader = rotation.Reader(entry.stderr_path, asked.from_bytes)
        return lambda: _send_stderr(reader, asker)
    lines = rotation.Lines(entry.events_path, on_gap=_gap)
    return lambda: _send_lines(lines, asker, asked)


def _send_lines(lines: rotation.Lines, asker: Asker, asked: Logs | Attach) -> bool:
    found = lines.read(rotation.READ_BYTES)
    if chosen := _wanted(found, asked.since_at, asked.after_seq):
        asker.write(b"\n".join(chosen) + b"\n")
    return bool(found)


def _wanted(lines: list[bytes], since_at: float | None, after_seq: int) -> list[bytes]:
    """Those of this time or later, and behind this number. Pure.

    A gap, which has no number, counts only if what is missing there is behind that number, too.
    """
    if since_at is None and not after_seq:
        return lines
    stamps = [_decode_stamp(line) for line in lines]
    chosen = []
    for at, (line, stamp) in enumerate(zip(lines, stamps, strict=True)):
        next_seq = stamps[at + 1].seq if at + 1 < len(stamps) else 0
        seen = 0 < stamp.seq <= after_seq or (stamp.seq == 0 and 0 < next_seq <= after_seq + 1)
        if not seen and (since_at is None or stamp.at >= since_at):
            chosen.append(line)
    return chosen


def _send_stderr(reader: rotation.Reader, asker: Asker) -> bool:
    piece = reader.read(STDERR_BYTES)
    if piece.dropped_bytes:
        asker.write(_gap(piece.dropped_bytes) + b"\n")
    if piece.data:
        asker.say(Stderr(piece.data.decode("utf-8", "replace"), reader.position))
    return bool(piece.data)


def _gap(dropped_bytes: int) -> bytes:
    return _encode(Said(Failure(GAP, source="stream", dropped_bytes=dropped_bytes), time.time()))


async def _foreign_logs(host: Host, asked: Logs, asker: Asker) -> Done | Refused:
    found = await asyncio.to_thread(targets.seen, host, asked.target)
    if isinstance(found, Refused):
        return found
    from fleet_agent.control import foreign

    return await foreign.logs(host, found, asked, asker)
