"""The journal: every change of the fleet with a number, the newest of them kept for whoever was away. No I/O.

An event's id is `<epoch>-<seq>`: `seq` counts up by one, `epoch` names the run of the daemon that counts. A
reader who comes back with the id of the last event it saw gets what followed; what is no longer kept, or was
another run's, is a gap, and is said to be one.
"""

import asyncio
import re
from collections import deque
from collections.abc import Iterable
from itertools import islice
from typing import NamedTuple

MAX_EVENTS = 10_000
MAX_BYTES = 16 << 20
MAX_UNWORDED = 100  # events without a body yet: worded together each costs a third

_NUMBER = re.compile(r"[0-9]{1,19}")  # str.isdigit knows other digits, and int() refuses thousands of them


class Event(NamedTuple):
    """One change, as it is sent. `body` is JSON without a newline."""

    seq: int
    type: str
    body: bytes


class Journal:
    """The newest events. `epoch` must differ from run to run."""

    def __init__(self, epoch: str, max_events: int = MAX_EVENTS, max_bytes: int = MAX_BYTES) -> None:
        self.epoch = epoch
        self.seq = 0  # of the newest event; 0 before the first
        self._worded_seq = 0  # up to here events have bodies
        self._events: deque[Event] = deque()
        self._size_bytes = 0
        self._max_events, self._max_bytes = max_events, max_bytes
        self._unworded: list[tuple[int, Iterable[tuple[str, bytes]]]] = []  # with the number of the first
        self._more = asyncio.Event()

    def append(self, count: int, bodies: Iterable[tuple[str, bytes]]) -> None:
        """Add so many events, given as type and body. The bodies are taken when somebody asks for them."""
        if count:
            self._unworded.append((self.seq + 1, bodies))
            self.seq += count
            if self.seq - self._worded_seq > MAX_UNWORDED:
                self._word()
            self.wake()

    def _word(self) -> None:
        unworded, self._unworded, self._worded_seq = self._unworded, [], self.seq
        for first, bodies in unworded:
            for seq, (type_, body) in enumerate(bodies, first):
                self._events.append(Event(seq, type_, body))
                self._size_bytes += len(body)
        while self._events and (len(self._events) > self._max_events or self._size_bytes > self._max_bytes):
            self._size_bytes -= len(self._events.popleft().body)

    def wake(self) -> None:
        """Let everybody who waits look again."""
        more, self._more = self._more, asyncio.Event()
        more.set()

    def id(self, seq: int) -> str:
        """The id of an event."""
        return f"{self.epoch}-{seq}"

    def after(self, seq: int) -> list[Event]:
        """The events that follow `seq`, as far as they are kept: all of them if `seq >= first`."""
        missing = max(0, seq + 1 - self.first)
        return list(islice(self._events, missing, None))

    @property
    def first(self) -> int:
        """The number of the oldest event that is kept; of the next one, if none is."""
        self._word()
        return self._events[0].seq if self._events else self.seq + 1

    def resume(self, last_id: str) -> tuple[int, str | None]:
        """Where a reader who saw `last_id` goes on, and why that leaves a gap if it does."""
        epoch, _, number = last_id.rpartition("-")
        if epoch != self.epoch or not _NUMBER.fullmatch(number) or int(number) > self.seq:
            return self.seq, "the daemon was started anew since"
        seq = int(number)
        if seq + 1 < self.first:
            return self.first - 1, f"{self.first - 1 - seq} events are no longer kept"
        return seq, None

    async def wait(self, seq: int) -> None:
        """Return once there are events after `seq`, or `wake` was called."""
        if self.seq <= seq:
            await self._more.wait()
