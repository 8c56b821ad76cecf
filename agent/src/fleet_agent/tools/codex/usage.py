"""What one session spent itself: lines of its rollout in, a sum out. Pure, and no line can make it raise.

Two kinds of line tell tokens, each with a running total beside the figures of one response:

    token_usage_record   once for each response since 0.155: `thread_id`, `usage`, `thread_token_usage` with it
    token_count          all releases, often repeated: `last_token_usage`, `total_token_usage` with it

The sum is that of the rises of the running totals. So a line that is there twice adds nothing, lines may be
left out between two others, and no response id has to be remembered; that it is the sum over unique response
ids is shown with real releases by tests/e2e/test_codex_usage.py. How the totals run, as real releases did it:

- A fork's go on from its parent's: what the first own record holds beyond its own response is inherited. A
  token_count before it (of a request that is tried again) repeats the parent's last. So it is in a thread that
  was taken back to an earlier turn, which goes on in a file of its own (see `earlier`).
- A legacy fork, and a subagent of multi-agent v2, begins with a copy of the parent's lines, with new times. Its
  own are those from the first turn on whose id (a UUIDv7) is not older than the thread's. A copied record also
  names its thread. Before 0.101 turns had no ids: what was written a second after the fork passes for its own.
- After a context overflow token_counts begin again at zero: an estimate without parts says so. Records go on.
- 0.150 begins token_counts at zero each time that it resumes a session which 0.150 or later began: a total
  that is its response, and not the next one.
- Any other total that is not the next one: a resume up to 0.5x, which began at zero again too, or two processes
  that wrote one file, possible before 0.150. Only what passes the highest is counted, which may be too little:
  conservative.
- A remote compaction is a response that no token_count tells, so before records nothing does: conservative.
- What no line tells: the responses of threads without a file (--ephemeral, and the one with which the terminal
  UI finds a title), and one that was lost on its way, or whose process was killed before it wrote it down.
- In a turn with a record, token_counts say nothing new. Any other turn may be one that a release before 0.155
  ran. The records of a session that such a release began start at zero.
"""

from typing import Annotated, Any

import msgspec

from fleet_agent.fields import epoch
from fleet_agent.tools.codex.lines import Meta, release
from fleet_agent.wire import Tokens

COMPACTED = b'"type":"compacted",'
HEAD_BYTES = 256  # the types of a line are said in its first bytes

_REMOTE = COMPACTED + b'"payload":{"message":"",'  # the model API compacted: there is no summary

_TURN_IDS_SINCE = (0, 101)
_ONE_WRITER_SINCE = (0, 150)
_RECORDS_SINCE = (0, 155)
_COPY_S = 1.0  # what is written later than that after a fork was not copied by it

Counts = tuple[int, int, int, int]  # input, cached input (a part of it), output, reasoning (a part of that)
_ZERO: Counts = (0, 0, 0, 0)
_Count = Annotated[int, msgspec.Meta(ge=0, le=1 << 53)]


class Usage(msgspec.Struct, frozen=True):
    """Of one session, without its subagents: what it spent, how sure that is, its own turns and compactions.

    `confidence` is one of `wire.USAGE_CONFIDENCES`, None without tokens; what is not known is None.
    """

    tokens: Tokens | None = None
    confidence: str | None = None
    turns: int | None = None
    compactions: int | None = None


class _Figures(msgspec.Struct, gc=False):
    input_tokens: _Count = 0
    cached_input_tokens: _Count = 0
    output_tokens: _Count = 0
    reasoning_output_tokens: _Count = 0
    total_tokens: _Count = 0

    @property
    def counts(self) -> Counts:
        return (self.input_tokens, self.cached_input_tokens, self.output_tokens, self.reasoning_output_tokens)


class _Info(msgspec.Struct, gc=False):
    total_token_usage: _Figures | None = None
    last_token_usage: _Figures | None = None


class _Payload(msgspec.Struct, gc=False):
    type: str | None = None
    turn_id: str | None = None
    thread_id: str | None = None
    usage: _Figures | None = None
    thread_token_usage: _Figures | None = None
    info: _Info | None = None


class _Entry(msgspec.Struct, gc=False):
    type: str | None = None
    timestamp: Any = None
    payload: _Payload = msgspec.field(default_factory=_Payload)


_decode = msgspec.json.Decoder(_Entry).decode


class RunningTotal:
    """The totals that one kind of line tells. `base` is what they held before this session's first response."""

    def __init__(self) -> None:
        self.base: Counts | None = None
        self.high = _ZERO
        self.steady = True  # never below an earlier one

    def begin(self, base: Counts) -> None:
        """Start from what was inherited."""
        self.base = self.high = base

    def begin_anew(self, total: Counts) -> None:
        """Go on from the first total after they began at zero again."""
        self.base, self.high = self.base or _ZERO, total

    def rise(self, total: Counts, last: Counts) -> Counts:
        """By how much `total` passes the highest so far; the first, what was there without its response."""
        if self.base is None:
            self.begin(_minus(total, last))
        step = _minus(total, self.high)
        if _plus(self.high, step) != total:
            self.steady = False
        self.high = _plus(self.high, step)
        return step


class Ledger:
    """The account of one session. Feed it the starts of turns, compactions and token lines, in file order.

    Of the token lines it may get only some (see `skim`): totals bridge what is left out.
    """

    def __init__(self, meta: Meta) -> None:
        self.thread_id = meta.id
        self._inherits = bool(meta.forked_from_id or meta.own_from_ordinal or meta.base_id)
        began_with = release(meta.version) or _RECORDS_SINCE
        self._has_turn_ids = began_with >= _TURN_IDS_SINCE
        self._has_one_writer = began_with >= _ONE_WRITER_SINCE
        self._has_records = began_with >= _RECORDS_SINCE
        self._copied_until_at = (meta.started_at or 0.0) + _COPY_S
        self._copying = self._inherits
        self._records, self._counts = RunningTotal(), RunningTotal()
        self._owed = _ZERO  # told by records, and not yet repeated by a token_count
        self._recorded_last = _ZERO  # what the last record told
        self._spent = _ZERO
        self._turns, self._turn_id = 0, ""
        self._turn_recorded = False  # there was a record since the turn began
        self._compactions = 0
        self._assumed = False  # what was inherited, by a token_count; a record will tell
        self._doubtful = False  # something was not as it should be

    def feed(self, line: bytes) -> None:
        """One line without its newline; of a compaction its first `HEAD_BYTES` will do."""
        if COMPACTED in line[:HEAD_BYTES]:
            self._take_compaction(line[:HEAD_BYTES])
            return
        try:
            entry = _decode(line)
        except (ValueError, RecursionError):
            self._doubtful = True
            return
        self._take(entry.type, entry.payload, entry.timestamp)

    def usage(self, whole: bool, last_total: Tokens | None) -> Usage:
        """What is known. `whole`: the file was seen to its end; `last_total` is the newest total in it."""
        whole_account = whole and self._told
        tokens = _tokens(self._spent) if whole_account else self._estimate(last_total)
        confidence = None if tokens is None else self._confidence(whole_account)
        if not whole:
            return Usage(tokens, confidence)
        turns = self._turns if self._has_turn_ids and (self._turns or self._inherits) else None
        compactions = self._compactions if self._told or turns is not None else None
        return Usage(tokens, confidence, turns, compactions)

    @property
    def _told(self) -> bool:
        return self._records.base is not None or self._counts.base is not None

    def _confidence(self, whole: bool) -> str:
        """How sure the sum is, of the whole file or of a part of it."""
        if self._inherits and not self._has_turn_ids:
            return "unknown"
        steady = self._records.steady and self._counts.steady
        # What was there before the first response is a fork's; any other session has lost lines.
        began = self._inherits or (self._records.base or self._counts.base) == _ZERO
        sure = steady and began and not (self._assumed or self._doubtful)
        return "exact" if whole and sure else "conservative"

    def _estimate(self, last_total: Tokens | None) -> Tokens | None:
        """From the newest total, without what is before it. What was inherited does not count."""
        if last_total is None or (self._inherits and not self._told):
            return _tokens(self._spent) if self._told else None
        last = (last_total.input, last_total.cached_input, last_total.output, last_total.reasoning_output)
        base = _max(self._records.base or _ZERO, self._counts.base or _ZERO)
        return _tokens(_max(_minus(last, base), self._spent))

    def _take(self, kind: str | None, p: _Payload, timestamp: Any) -> None:
        if kind == "token_usage_record":
            self._take_record(p)
        elif kind == "event_msg" and p.type == "task_started":
            self._take_turn(p.turn_id or "")
        elif kind == "event_msg" and p.type == "token_count" and p.info and p.info.total_token_usage:
            self._take_count(p.info.total_token_usage, p.info.last_token_usage, timestamp)

    def _take_turn(self, turn_id: str) -> None:
        self._turn_recorded = False
        if self._copying and _is_older(turn_id, self.thread_id):
            return
        self._copying = False
        if turn_id != self._turn_id or not turn_id:
            self._turns, self._turn_id = self._turns + 1, turn_id

    def _take_compaction(self, head: bytes) -> None:
        if not self._copying:
            self._compactions += 1
            self._doubtful |= _REMOTE in head and not self._has_records

    def _take_record(self, p: _Payload) -> None:
        if p.thread_id is not None and self.thread_id is not None and p.thread_id.lower() != self.thread_id:
            return
        if p.usage is None or p.thread_token_usage is None:
            self._doubtful = True
            return
        self._recorded_last, self._turn_recorded = p.usage.counts, True
        step = self._records.rise(p.thread_token_usage.counts, p.usage.counts)
        if self._assumed and self._records.base and self._counts.base:
            self._assumed, more = False, _minus(self._counts.base, self._records.base)
            self._doubtful |= more != _ZERO  # a response of an older release was taken for inherited
        self._spent, self._owed = _plus(self._spent, step), _plus(self._owed, step)

    def _take_count(self, figures: _Figures, last: _Figures | None, timestamp: Any) -> None:
        total, excess = figures.counts, figures.total_tokens - figures.input_tokens - figures.output_tokens
        if self._is_copy(timestamp):
            self._counts.begin(total)
        elif self._turn_recorded:
            return
        elif total[0] == total[2] == 0:  # an estimate of the context
            self._counts.high = self._owed = _ZERO
        else:
            self._rise(total, last.counts if last else total, excess)

    def _rise(self, total: Counts, last: Counts, excess: int) -> None:
        """A token_count of a turn without a record so far. `excess`: its `total_tokens` without its parts."""
        expected = _plus(self._counts.high, self._owed)
        goes_on = self._counts.base is not None and total in (expected, _plus(expected, last))
        if self._inherits and self._has_records and not self._told:
            self._counts.begin(total)
            self._assumed = True
        elif self._has_one_writer and excess == 0 and total == last and total != expected:
            self._counts.begin_anew(total)
            self._spent = _plus(self._spent, total)
        elif self._records.base is not None and not goes_on:
            # It goes on from what was left out; if the response was no record's, others may have been left out.
            self._doubtful |= last not in (self._recorded_last, _ZERO)
            self._counts.begin(_minus(total, self._owed))
            self._counts.high = total
        else:
            step = self._counts.rise(total, last)
            self._doubtful |= step not in (self._owed, _plus(self._owed, last))
            self._spent = _plus(self._spent, _minus(step, self._owed))
        self._owed = _ZERO

    def _is_copy(self, timestamp: Any) -> bool:
        if self._copying and not self._has_turn_ids:
            self._copying = (epoch(timestamp) or 0.0) <= self._copied_until_at
        return self._copying


def _is_older(turn_id: str, thread_id: str | None) -> bool:
    """Whether a turn began before the thread was made, by the milliseconds at the head of their UUIDv7s."""
    return thread_id is not None and turn_id[:13].lower() < thread_id[:13]


def _plus(a: Counts, b: Counts) -> Counts:
    return (a[0] + b[0], a[1] + b[1], a[2] + b[2], a[3] + b[3])


def _minus(a: Counts, b: Counts) -> Counts:
    """What each is more; 0 where it is less."""
    return (max(0, a[0] - b[0]), max(0, a[1] - b[1]), max(0, a[2] - b[2]), max(0, a[3] - b[3]))


def _max(a: Counts, b: Counts) -> Counts:
    return (max(a[0], b[0]), max(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3]))


def _tokens(counts: Counts) -> Tokens:
    return Tokens(counts[0], counts[1], counts[2], counts[3], counts[0] + counts[2])
