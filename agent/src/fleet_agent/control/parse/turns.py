"""Which turn of a session is open: each is begun and ended once, however often that is told. Pure."""

from collections import deque

from fleet_agent.control.events import Event, TurnEnded, TurnStarted

_REMEMBERED = 64  # ended turns, whose end is not told again


class Turns:
    """Of one session, in the order in which its tool speaks."""

    def __init__(self) -> None:
        self.is_open = False
        self._id: str | None = None
        self._ended: deque[str] = deque(maxlen=_REMEMBERED)
        self._resting: str | None = None

    def start(self, turn_id: str | None = None) -> list[Event]:
        """A turn begins. Nothing is said of one that is known: it was replayed."""
        if turn_id is not None and (turn_id in self._ended or (self.is_open and turn_id == self._id)):
            return []
        before = self.settle()
        self.is_open, self._id = True, turn_id
        return [*before, TurnStarted(turn_id)]

    def going(self) -> None:
        """Something happened that only a turn does: the stream may have been joined after its start."""
        self.is_open = True

    def end(self, end: str, turn_id: str | None = None, message: str | None = None) -> list[Event]:
        """A turn is over. Nothing is said where that is known."""
        ours = turn_id is None or self._id in (None, turn_id)
        if turn_id in self._ended or (turn_id is None and not self.is_open):
            return []
        turn_id = turn_id or self._id
        if turn_id is not None:
            self._ended.append(turn_id)
        if ours:
            self.is_open, self._id, self._resting = False, None, None
        return [TurnEnded(end, turn_id, message)]

    def rest(self, end: str) -> None:
        """The session rests, so its turn is over: as `end` says, unless the tool's own word is yet to come."""
        if self.is_open:
            self._resting = end

    def settle(self) -> list[Event]:
        """The end of a turn that the session rests from, and whose end its tool never told."""
        return self.end(self._resting) if self._resting and self.is_open else []
