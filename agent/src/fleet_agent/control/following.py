"""Saying what a session said and says, from whatever there is of it, until it ends or nobody listens."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from fleet_agent.control.commands import NotPossible
from fleet_agent.control.host import Asker
from fleet_agent.control.wire import Attach, Done, Logs

if TYPE_CHECKING:
    from fleet_agent.control.recorded import Recorded

POLL_S = 0.05
LOOK_S = 1.0  # until it is looked again whether there is a record


async def told(send: Callable[[], bool], lives: Callable[[], bool], asker: Asker) -> Done:
    """All that `send` sends: True if there was something. `lives`: whether more may come."""
    while True:
        more = lives()  # asked before the last reading
        if send():
            continue
        if not more:
            return Done()
        if await gone(asker):
            return Done("not followed any more")


async def gone(asker: Asker, within_s: float = POLL_S) -> bool:
    """Whether nobody listens any more; it takes `within_s` to say no."""
    try:
        await asyncio.wait_for(asker.gone.wait(), within_s)
    except asyncio.TimeoutError:  # before Python 3.11 not the builtin one
        return False
    return True


async def found(
    find: Callable[[], str | None], lives: Callable[[], bool], asker: Asker, *, wait: bool
) -> str | None:
    """What `find` finds; with `wait`, as soon as it does, for as long as it lives and somebody listens."""
    while True:
        path = await asyncio.to_thread(find)
        if path is not None or not wait or not lives() or await gone(asker, LOOK_S):
            return path


def opened(path: str, tool: str, asked: Logs | Attach) -> "Recorded":
    """The record of a session, where the request wants it to begin. Raises `NotPossible`."""
    from fleet_agent.control.recorded import Recorded

    if path.endswith(".zst"):
        raise NotPossible(f"its record is compressed: {path}", f"zstd -dc {path}")
    again = bool(asked.after_seq) or asked.since_at is not None
    from_now = isinstance(asked, Attach) and not again
    try:
        return Recorded(path, tool, since_at=asked.since_at, after_seq=asked.after_seq, from_now=from_now)
    except OSError as exc:
        raise NotPossible(f"its record cannot be read: {exc}") from exc


def sender(record: "Recorded", asker: Asker) -> Callable[[], bool]:
    """Sends what comes next of a record; False if there is nothing yet."""

    def send() -> bool:
        said = record.read()
        for one in said or ():
            asker.say(one)
        return said is not None

    return send
