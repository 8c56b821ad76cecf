"""An attached session: what it says comes in above the line that is typed; what is typed is asked of it."""

import asyncio
import os
import sys
import termios
import threading
import tty
from collections.abc import Iterator
from contextlib import aclosing, contextmanager

from fleet.cli.sessions.inputline import PASTE_OFF, PASTE_ON, InputLine
from fleet.cli.sessions.session import Place
from fleet.cli.sessions.typed import request
from fleet.cli.sessions.way import note
from fleet.cli.terminal import paint, terminal, write
from fleet.control import followed, requests, verbs
from fleet.control.followed import Again, Log
from fleet.control.verbs import permitted
from fleet.errors import HostFailure, RequestRefused, UsageError
from fleet.transport.control import ControlChannel
from fleet.views import cells
from fleet.views.session_events import event_lines
from fleet_agent.control.events import ApprovalRequested, Asked, Ended, Resolved
from fleet_agent.control.wire import (
    Approvals,
    Done,
    Pending,
    Refused,
    Reply,
    Request,
    Said,
    Stderr,
)

LEAVE_S = 5.0  # at the end of the input, for what was typed last to be answered
_READ_BYTES = 4096
_CLEAR_LINE = "\r\x1b[K"
_WIDTH = 80  # where the terminal does not say


async def attached(place: Place, *, stderr: bool) -> None:
    """Follow the session and take what is typed, until either ends. Raises `FleetError` and `HostFailure`."""
    here = _Attached(place)
    also = [asyncio.create_task(here.hear_errors())] if stderr else []
    try:
        with _keys(sys.stdin.isatty()) as keys:
            await here.until_end(keys)
    finally:
        for task in also:
            task.cancel()
            await asyncio.wait([task])


class _Attached:
    """The state of one attachment: what is open, what was asked, and the line."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._target = place.session.target
        self._log = Log(place.session)
        self._channel: ControlChannel | None = None  # None while there is no connection
        self._line = InputLine()
        self._open: dict[str, ApprovalRequested | Asked] = {}
        self._told: set[str] = set()  # of these, which were shown
        self._unanswered: list[Request] = []  # what was asked while attached, oldest first
        self._is_attached, self._is_leaving = False, False
        self._knows_open = asyncio.Event()  # what was open when it was attached to
        self._is_tty = sys.stdin.isatty() and sys.stdout.isatty()

    async def until_end(self, keys: "asyncio.Queue[bytes]") -> None:
        """Until the session has ended, or the input."""
        hearing = asyncio.create_task(self._hear())
        typing = asyncio.create_task(self._take(keys))
        try:
            await asyncio.wait([hearing, typing], return_when=asyncio.FIRST_COMPLETED)
            for task in (hearing, typing):
                if task.done():
                    task.result()
        finally:
            hearing.cancel()
            typing.cancel()
            self._show("", is_last=True)

    async def hear_errors(self) -> None:
        """What it has written to standard error, and writes: over a channel of its own."""
        log = Log(self._place.session, stderr=True)
        try:
            replies = followed.follow(self._place.reach, self._place.spec, log, lambda _: None)
            async with aclosing(replies):
                async for reply in replies:
                    for line in reply.text.splitlines() if isinstance(reply, Stderr) else ():
                        self._note(f"[stderr] {line}")
        except (RequestRefused, HostFailure) as exc:
            self._note(f"its standard error is not shown: {exc}")

    async def _hear(self) -> None:
        """All that it says, across connections that break."""
        again = Again(self._place.spec.name, self._note if self._is_tty else note)
        is_over = False
        while not is_over:
            try:
                async with self._place.reach.control(permitted(self._place.spec)) as channel:
                    again.connected()
                    await self._hear_over(channel, again)
                is_over = True
            except HostFailure as failure:
                self._lost()
                await again.wait(failure)

    async def _hear_over(self, channel: ControlChannel, again: Again) -> None:
        self._channel = channel
        channel.write(self._log.attach(verbs.clock_at(channel)))
        self._ask(Approvals(by=verbs.asker()))
        if not self._is_attached:
            self._is_attached = True
            self._note(f"attached to {self._place.session.key}; /help says what can be typed")
        is_over = False
        while not is_over:
            reply = await channel.reply()
            again.heard()
            is_over = self._log.takes(reply) and self._heard(reply)

    def _lost(self) -> None:
        """There is no connection: what is open has to be seen anew, and what was asked may have been done."""
        self._channel = None
        if any(not isinstance(asked, Approvals) for asked in self._unanswered):
            self._note("whether what was typed last was done is not known: look before you type it again")
        self._unanswered.clear()
        self._open.clear()
        self._knows_open.set()  # what is typed now is refused, and not read later

    def _heard(self, reply: Reply) -> bool:
        """Show what is said. Whether that was the end of it."""
        match reply:
            case Said(event=ApprovalRequested() | Asked() as asked):
                self._open[asked.request_id] = asked
                self._told.add(asked.request_id)
            case Said(event=Resolved() as resolved):
                self._open.pop(resolved.request_id, None)
                self._told.discard(resolved.request_id)
            case Pending() if requests.of_session([reply], self._place.session):
                self._open[reply.request.request_id] = reply.request
                if reply.request.request_id not in self._told:
                    self._told.add(reply.request.request_id)
                    self._tell(Said(reply.request, reply.since_at or 0.0))
            case Done() | Refused():
                return self._answered(reply)
        if isinstance(reply, Said):
            self._tell(reply)
            return isinstance(reply.event, Ended)
        return False

    def _answered(self, reply: Done | Refused) -> bool:
        asked = self._unanswered.pop(0) if self._unanswered else None
        self._knows_open.set()
        if isinstance(reply, Refused):
            if asked is None or isinstance(asked, Approvals):  # that is never refused: it is the attaching
                raise RequestRefused(reply.kind, reply.message, reply.hint, reply.candidates)
            hint = f"; {reply.hint}" if reply.hint else ""
            self._note(f"refused: {reply.message}{hint}")
        elif reply.message:
            self._note(reply.message)
        return asked is None or (self._is_leaving and not self._unanswered)

    async def _take(self, keys: "asyncio.Queue[bytes]") -> None:
        await self._knows_open.wait()
        while data := await keys.get():
            lines = self._line.feed(data)
            for line in lines:
                self._typed(line)
            if self._line.has_ended:
                break
            self._show("")
        self._is_leaving = True
        if self._unanswered:
            await asyncio.sleep(LEAVE_S)

    def _typed(self, line: str) -> None:
        try:
            asked = request(line, self._target, list(self._open.values()), verbs.asker())
            if asked is not None:
                self._ask(asked)
        except UsageError as exc:
            self._note(str(exc))

    def _ask(self, asked: Request) -> None:
        if self._channel is None:
            raise UsageError("not sent: there is no connection now, and nothing is kept for later")
        self._channel.write(asked)
        self._unanswered.append(asked)

    def _tell(self, said: Said) -> None:
        to = terminal()
        self._show("".join(f"{line}\n" for line in paint(event_lines(said, to.width), to.colour)))

    def _note(self, text: str) -> None:
        """Something that the session did not say."""
        self._show("".join(f"{line}\n" for line in cells.wrap(text, terminal().width, "  ")))

    def _show(self, text: str, *, is_last: bool = False) -> None:
        """Print above the line that is typed, and that line again."""
        if not self._is_tty:
            write(text)
            return
        line = "" if is_last else self._line.shown(terminal().width or _WIDTH)
        write(f"{_CLEAR_LINE}{text}{line}")


@contextmanager
def _keys(is_tty: bool) -> Iterator["asyncio.Queue[bytes]"]:
    """What is typed, as it comes; b"" at its end. A terminal is read key by key; Ctrl-C stays what it is."""
    keys: asyncio.Queue[bytes] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def read() -> None:
        data = b"\n"
        while data:
            try:
                data = os.read(0, _READ_BYTES)
            except OSError:
                data = b""
            loop.call_soon_threadsafe(keys.put_nowait, data)

    before = termios.tcgetattr(0) if is_tty else None
    if is_tty:
        tty.setcbreak(0, termios.TCSADRAIN)
        write(PASTE_ON)
    threading.Thread(target=read, daemon=True).start()  # it cannot be woken: it ends with the program
    try:
        yield keys
    finally:
        if before is not None:
            write(PASTE_OFF)
            termios.tcsetattr(0, termios.TCSADRAIN, before)
