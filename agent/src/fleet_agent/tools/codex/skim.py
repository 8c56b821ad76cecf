"""Which lines of a rollout the account of its tokens needs, found without looking at each line.

`bytearray.find` skips through a buffer at 6 to 12 GB/s for strings of this length (CPython's two-way search;
the more, the nearer the buffer is to the processor); cutting out every line takes four times as long. Codex
writes compact JSON, `type` before `payload`; a quote inside of a text is escaped, so none of these strings can
be part of one.
"""

from typing import NamedTuple

from fleet_agent.tail import Budget, Source
from fleet_agent.tools.codex.usage import COMPACTED, HEAD_BYTES, Ledger

RECORD = b'"type":"token_usage_record","payload":{"thread_id":"'
COUNT = b'"type":"event_msg","payload":{"type":"token_count",'
TURN = b'"type":"event_msg","payload":{"type":"task_started","turn_'
COMPACTION = COMPACTED + b'"payload":{"message":"'

BLOCK_BYTES = 256 << 10  # stays in a processor's own cache while it is searched, four times
MAX_LINE_BYTES = 64 << 10  # of a line that tells tokens or a turn; what is longer is only passed over
_NEAR_BYTES = 32 << 10  # from the end; each response tells its tokens


class State(NamedTuple):
    """Where in a rollout a line stands: whether the turn that goes on has had a record, and whether any had."""

    recorded: bool = False
    any_record: bool = False


class Notable(NamedTuple):
    """What a `Ledger` needs of a stretch of whole lines."""

    lines: list[bytes]  # in order
    counts: bool  # whether a token_count is among them
    last_record: bytes | None  # of the turn that goes on, if it has one in this stretch; not among `lines`
    after: State


def notable(lines: bytearray, start: int, end: int, record: bytes, state: State) -> Notable:
    """What is needed of `lines[start:end]`, which are whole lines that begin in a `state`.

    That is each start of a turn and each compaction; the token_counts of a turn until its first record; the
    first record of all, and the last one before such token_counts, or before a turn that has none.
    `record` is how the thread's own ones begin.
    """
    turns = _all(lines, TURN, start, end)
    hits = {*turns, *_all(lines, COMPACTION, start, end)}
    (recorded, any_record), last, told = state, -1, False
    for begin, stop in zip((start, *turns), (*turns, end), strict=True):
        first = lines.find(record, begin, stop)
        counts = [] if recorded else _all(lines, COUNT, begin, first if first >= 0 else stop)
        if counts and last >= 0:
            hits.add(_last(lines, record, last, begin))  # which they may repeat
        hits.update(counts)
        told = told or bool(counts)
        if first >= 0 and not any_record:
            hits.add(first)
        last, any_record = max(last, first), any_record or first >= 0
        going_on, recorded = State(recorded or first >= 0, any_record), False
    if last >= 0:
        last = _last(lines, record, last, end)
        if not going_on.recorded:
            hits.add(last)
    after = _line(lines, last, start, end) if last >= 0 and going_on.recorded else None
    found = (_line(lines, hit, start, end) for hit in sorted(hits))
    return Notable([line for line in found if line], told, after, going_on)


class Skim:
    """Reads a rollout once from its start to its end, and then what is appended, into a ledger."""

    def __init__(self, ledger: Ledger, identity: tuple[int, int]) -> None:
        self.ledger = ledger
        self.identity = identity
        self._record = RECORD + (ledger.thread_id or "").encode()
        self.whole = False  # nothing is left but a line that is still being written
        self._offset = 0
        self._size_bytes = 0  # of the file, when it was read last
        self._state = State()
        self._unfed: bytes | None = None  # the last record, which the next one may make needless
        self._inside = False  # of a line longer than MAX_LINE_BYTES, whose head has been looked at

    def left_bytes(self, size_bytes: int) -> int:
        """How much of a file of that size is not read yet."""
        return 0 if self.whole and size_bytes == self._size_bytes else size_bytes - self._offset

    def read(self, source: Source, budget: Budget) -> None:
        """Go on as far as the budget allows."""
        if source.size < self._offset:
            return  # it was cut: the next look at it begins anew
        buffer = bytearray(min(MAX_LINE_BYTES + BLOCK_BYTES, source.size - self._offset))
        room, held = memoryview(buffer), 0
        while (left := source.size - self._offset - held) > 0 and budget.left_bytes > 0:
            wanted = min(len(buffer) - held, left, budget.left_bytes)
            size = source.read_into(room[held : held + wanted], self._offset + held)
            if not size:
                break
            budget.left_bytes -= size
            used = self._take(buffer, held + size)
            held += size - used
            room[:held] = room[used : used + held]
            self._offset += used
            if self._inside and not held:
                self._offset = min(source.size, source.behind_endless(self._offset))
        self._feed_record()
        self.whole, self._size_bytes = left <= 0, source.size

    def _take(self, buffer: bytearray, end: int) -> int:
        """Look at `buffer[:end]`; how many of its bytes are done with."""
        start = 0
        if self._inside:
            start = buffer.find(b"\n", 0, end) + 1
            if not start:
                return end
            self._inside = False
        stop = max(start, buffer.rfind(b"\n", start, end) + 1)
        if stop > start:
            self._feed(notable(buffer, start, stop, self._record, self._state))
        if end - stop <= MAX_LINE_BYTES:
            return stop
        head = bytes(buffer[stop : stop + HEAD_BYTES])
        if COMPACTION in head:
            self.ledger.feed(head)
        self._inside = True
        return end

    def _feed(self, found: Notable) -> None:
        """Totals run on, so what is between two records may be left out."""
        if found.counts or found.last_record is None:
            self._feed_record()
        for line in found.lines:
            self.ledger.feed(line)
        self._unfed, self._state = found.last_record, found.after

    def _feed_record(self) -> None:
        if self._unfed is not None:
            self.ledger.feed(self._unfed)
            self._unfed = None


def _all(lines: bytearray, wanted: bytes, start: int, end: int) -> list[int]:
    found = []
    while (start := lines.find(wanted, start, end)) >= 0:
        found.append(start)
        start += len(wanted)
    return found


def _last(lines: bytearray, wanted: bytes, first: int, end: int) -> int:
    """Where it is for the last time; `first` is one of its places. (`rfind` does not skip.)"""
    near = _all(lines, wanted, max(first, end - _NEAR_BYTES), end)
    return near[-1] if near else _all(lines, wanted, first, end)[-1]


def _line(lines: bytearray, hit: int, start: int, end: int) -> bytes | None:
    """The line that has this in its head, of a compaction the head alone; None if it is not in a head."""
    first = max(start, hit - HEAD_BYTES)
    newline = lines.rfind(b"\n", first, hit)
    if newline < 0 and first > start:
        return None
    begin = max(first, newline + 1)
    if lines.startswith(COMPACTION, hit):
        return bytes(lines[begin : begin + HEAD_BYTES])
    stop = lines.find(b"\n", hit, end)
    return bytes(lines[begin:stop]) if stop - begin <= MAX_LINE_BYTES else None
