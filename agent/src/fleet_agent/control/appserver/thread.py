"""What one client knows of one thread: which turn runs, what a person must answer, what has been told. Pure.

Messages of other threads (subagents, title makers, memory jobs share the pipe) change nothing here. What they
ask a person is kept all the same: nobody else may be there to answer. The gate is opened just before a turn is
asked for, so that a history that is played back when a thread is resumed neither ends that turn nor is told
again.
"""

from collections import OrderedDict
from collections.abc import Mapping
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from fleet_agent.control.appserver.protocol import Asked, RequestId, Told
from fleet_agent.control.appserver.shapes import Status
from fleet_agent.control.events import (
    ApprovalRequested,
    Event,
    FileChange,
    Resolved,
    SessionStarted,
    TurnEnded,
    TurnStarted,
    Used,
)
from fleet_agent.control.events import (
    Asked as AskedEvent,
)
from fleet_agent.control.parse import app_server

MAX_REMEMBERED = 256  # turns that ended, items that are done

T = TypeVar("T")
S = TypeVar("S", bound=msgspec.Struct)
_MOVES = ("item/", "turn/", "thread/tokenUsage/")
_CLOSED = ("thread/closed", "thread/archived", "thread/deleted")


class Open(msgspec.Struct, frozen=True):
    """A request of the server that waits for a person. `since_at`: epoch seconds of the host."""

    asked: Asked
    event: ApprovalRequested | AskedEvent
    since_at: float


class Decided(msgspec.Struct, frozen=True):
    """How we answered a request: `decision` is None for a question."""

    by: str
    decision: str | None


class _Params(msgspec.Struct, rename="camel"):
    request_id: RequestId | None = None
    status: msgspec.Raw = msgspec.Raw(b"null")


class _Started(msgspec.Struct, rename="camel"):
    started_at_ms: int | None = None


class _Item(msgspec.Struct):
    id: str = ""
    status: str | None = None


class _Items(msgspec.Struct):
    item: _Item = msgspec.field(default_factory=_Item)


class Thread:
    """Takes each message once, in order. `open`: request id, as text -> what waits for an answer."""

    def __init__(self, thread_id: str) -> None:
        self.id = thread_id
        self.turn_id: str | None = None
        self.running = False
        self.interrupted_id: str | None = None  # the turn that we interrupted last
        self.idle = False  # the server said so, whatever it said of the turn
        self.closed = False
        self._waits = True  # for a person, as far as the server said
        self.heard = 0  # how many messages there were about it
        self.used = False  # tokens were told in the running turn
        self.open: dict[str, Open] = {}
        self.sent_again: set[str] = set()  # of `open`, since the last reconnection
        self.answered: dict[str, Decided] = {}  # by us, and not resolved yet
        self.moves = 0  # signs that it, or a subagent of it, goes on
        self.item_status: OrderedDict[str, str] = OrderedDict()  # item id -> how it ended: declined ...
        self._ended: OrderedDict[str, None] = OrderedDict()
        self._parser = app_server.Notifications(thread_id, armed=False)

    def arm(self) -> None:
        """From now on, what is said of this thread's turns counts."""
        self._parser.armed = True

    def told(self, message: Told) -> list[Event]:
        """Take a notification: the events that it is worth."""
        if message.method == "serverRequest/resolved":
            return self._resolve(message)
        self._note_item(message)
        if message.thread_id != self.id:
            return []
        self.heard += 1
        if message.method in _CLOSED:
            self.closed = True
        if message.method == "thread/status/changed":
            self._note_status(message)
        return [event for event in self._parser.feed(message.raw) if self._counts(event)]

    def asked(self, message: Asked, now_at: float) -> list[Event]:
        """Take a request of the server. One that is sent again, as after a reconnection, is told once.

        No event and nothing more in `open`: nothing is known that a person could answer.
        """
        event = app_server.request(message.raw, self._parser.patches)
        if event is None:
            return []
        key = str(message.id)
        self.sent_again.add(key)
        before = self.open.get(key)
        self.open[key] = Open(message, event, before.since_at if before else _since(message, now_at))
        return [] if before and before.event == event else [event]

    @property
    def shows_open(self) -> bool:
        """Whether what waits for a person is known, or it is known that nothing does any more."""
        return bool(self.open) or not self._waits

    @property
    def lacks_patches(self) -> bool:
        """Whether a patch is asked about, and not known what it would change: who joined late was not told."""
        return any(_is_blind(found.event) for found in self.open.values())

    def know_patches(self, patches: Mapping[str, tuple[FileChange, ...]]) -> None:
        """What they change, by item id."""
        for key, found in self.open.items():
            if isinstance(found.event, ApprovalRequested) and _is_blind(found.event):
                event = replace(found.event, changes=patches.get(found.event.call_id or "", ()))
                self.open[key] = replace(found, event=event)

    def lost(self, *, dead: bool) -> list[Event]:
        """The connection is gone; with `dead`, the server is too, and with it whatever it asked."""
        self.answered.clear()
        self.sent_again.clear()
        if not dead:
            return []
        events: list[Event] = [Resolved(key) for key in self.open]
        self.open.clear()
        return events

    def keep_open(self, keys: set[str]) -> list[Event]:
        """After a reconnection: only these requests are still open."""
        gone = [key for key in self.open if key not in keys]
        for key in gone:
            del self.open[key]
        return [Resolved(key) for key in gone]

    def settle(self) -> list[Event]:
        """The end of a turn whose thread is idle, if nothing else told it. For after a while of silence."""
        interrupted = self.turn_id is not None and self.turn_id == self.interrupted_id
        ended = self.end_turn("aborted") if interrupted else []
        return ended + [event for event in self._parser.settle() if self._counts(event)]

    def end_turn(self, end: str, message: str | None = None) -> list[Event]:
        """The running turn is over, as we know otherwise than from its own end."""
        event = TurnEnded(end, self.turn_id, message)
        return [event] if self.running and self._counts(event) else []

    def _counts(self, event: Event) -> bool:
        """Whether an event is news; note what it says."""
        if isinstance(event, SessionStarted):
            return False  # whoever asked for it tells so
        if isinstance(event, TurnStarted):
            if event.turn_id in self._ended or (self.running and event.turn_id == self.turn_id):
                return False
            self.turn_id, self.running, self.idle, self.used = event.turn_id, True, False, False
        elif isinstance(event, TurnEnded):
            return self._end(event.turn_id)
        elif isinstance(event, Used):
            self.used = True
        return True

    def _end(self, turn_id: str | None) -> bool:
        if turn_id is None:
            turn_id = self.turn_id
        if turn_id in self._ended or (turn_id is None and not self.running):
            return False
        if turn_id is not None:
            _remember(self._ended, turn_id, None)
        if turn_id in (None, self.turn_id):
            self.running, self.turn_id = False, None
        return True

    def _resolve(self, message: Told) -> list[Event]:
        request_id = _decode(message.params, _Params).request_id
        key = str(request_id)
        if self.open.pop(key, None) is None or key in self.answered:
            return []  # where it was our answer, who answered says so once it is clear that it counted
        return [Resolved(key)]

    def _note_item(self, message: Told) -> None:
        if message.method == "item/completed":
            item = _decode(message.params, _Items).item
            if item.status and item.id:
                _remember(self.item_status, item.id, item.status)
        if message.method.startswith(_MOVES):
            self.moves += 1

    def _note_status(self, message: Told) -> None:
        status = _decode(_decode(message.params, _Params).status, Status)
        self.idle, self._waits = status.type in ("idle", "systemError"), status.waits


def _is_blind(event: ApprovalRequested | AskedEvent) -> bool:
    return isinstance(event, ApprovalRequested) and event.kind == "patch" and not event.changes


def _since(message: Asked, now_at: float) -> float:
    """When it was first asked: a request that is sent again says so, a question does not."""
    started_ms = _decode(message.params, _Started).started_at_ms
    return started_ms / 1000 if started_ms else now_at


def _remember(where: OrderedDict[str, T], key: str, value: T) -> None:
    where[key] = value
    if len(where) > MAX_REMEMBERED:
        where.popitem(last=False)


def _decode(raw: msgspec.Raw, kind: type[S]) -> S:
    try:
        return msgspec.json.decode(raw, type=kind)
    except (ValueError, RecursionError):
        return kind()
