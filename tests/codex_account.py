"""Rollouts as Codex writes them, with what they spent; and the account of one, however it is read."""

import json
import tempfile
from collections.abc import Sequence
from typing import Any
from unittest.mock import patch

from hypothesis import strategies as st

from fleet_agent.tail import Budget, LineSplitter, Source
from fleet_agent.tools.codex import skim
from fleet_agent.tools.codex.lines import Meta, decode_meta
from fleet_agent.tools.codex.skim import Skim
from fleet_agent.tools.codex.thread import ThreadFile
from fleet_agent.tools.codex.usage import Ledger, Usage
from fleet_agent.wire import Tokens

PLENTY = 1 << 40
PARENT = "01a1fbf3-0000-7000-8000-000000000001"
THREAD = "01a1fbf4-0000-7000-8000-000000000002"
NAMES = ("input_tokens", "cached_input_tokens", "output_tokens", "reasoning_output_tokens")
WINDOW = 258_400
Counts = tuple[int, int, int, int]
ZERO: Counts = (0, 0, 0, 0)


def meta_of(data: bytes) -> Meta:
    return decode_meta(next(iter(LineSplitter().feed(data)))) or Meta()


def skimmed(data: bytes, block_bytes: int = skim.BLOCK_BYTES, budgets: Sequence[int] = ()) -> Usage:
    """What a rollout says, read in blocks of this size, in so many bytes at a time."""
    meta, sizes = meta_of(data), iter(budgets)
    with tempfile.NamedTemporaryFile() as file, patch.object(skim, "BLOCK_BYTES", block_bytes):
        file.write(data)
        file.flush()
        with Source(file.name) as source:
            reader = Skim(Ledger(meta), source.identity)
            while not reader.whole:
                reader.read(source, Budget(next(sizes, PLENTY)))
            assert reader.left_bytes(source.size) == 0
            return reader.ledger.usage(True, None)


def followed(file: ThreadFile) -> None:
    """One reading, and the account as far as the file goes."""
    file.poll(Budget(PLENTY))
    if file.unaccounted_bytes:
        file.account(Budget(PLENTY))


def fed(data: bytes) -> Usage:
    """What all of its lines say."""
    ledger = Ledger(meta_of(data))
    for line in data.splitlines():
        if any(kind in line for kind in (skim.RECORD, skim.COUNT, skim.TURN, skim.COMPACTION)):
            ledger.feed(line)
    return ledger.usage(True, None)


def figures(counts: Counts, more: int = 0) -> dict[str, int]:
    return dict(zip(NAMES, counts, strict=True)) | {"total_tokens": counts[0] + counts[2] + more}


def plus(a: Counts, b: Counts) -> Counts:
    return (a[0] + b[0], a[1] + b[1], a[2] + b[2], a[3] + b[3])


class Writer:
    """Writes a rollout as Codex does. `spent`: what its own responses used; `told`: there is a total in it."""

    def __init__(
        self, forked: bool = False, inherited: Counts = ZERO, version: str = "0.169.0", **began: Any
    ) -> None:
        self.data = b""
        self.spent, self.turns, self.compactions, self.told = ZERO, 0, 0, False
        self.thread, self.stamp = THREAD, "2026-11-21T02:33:43.423Z"
        self.count_total, self.record_total = inherited, inherited
        self._last = ZERO
        self._bogus, self._recorded = 0, False
        began |= {"forked_from_id": PARENT} if forked else {}
        self._line("session_meta", id=THREAD, cli_version=version, timestamp=self.stamp, **began)

    def turn(self, recorded: bool = True) -> None:
        self.turns, self._recorded = self.turns + 1, recorded
        self.event("task_started", turn_id=f"{self.thread[:14]}7000-8000-{self.turns:012}")

    def respond(self, used: Counts, repeats: int = 1) -> None:
        self.spent, self._last = plus(self.spent, used), used
        self.count_total = plus(self.count_total, used)
        if self._recorded:
            self._record(used)
        for _ in range(repeats):
            self.count()

    def count(self) -> None:
        self.told |= self.count_total != ZERO
        total = figures(self.count_total, self._bogus)
        self.event("token_count", info={"total_token_usage": total, "last_token_usage": figures(self._last)})

    def overflow(self) -> None:
        self.count_total, self._last, self._bogus = ZERO, ZERO, WINDOW
        self.count()

    def compact(self, size: int = 10, remote: Counts | None = None) -> None:
        self.compactions += 1
        if remote:  # its response is told in no count
            size, self.spent = 0, plus(self.spent, remote)
            if self._recorded:
                self._record(remote)
        self._line("compacted", message="m" * size, replacement_history=[])
        self._last = ZERO
        self.count()

    def say(self, size: int) -> None:
        text = f"{skim.RECORD.decode()} {skim.COUNT.decode()} {'x' * size} {skim.TURN.decode()}"
        self._line("response_item", type="message", role="assistant", content=[{"text": text}])

    def _record(self, used: Counts) -> None:
        self.record_total = plus(self.record_total, used)
        ids = {"thread_id": self.thread, "response_id": f"resp_{len(self.data)}"}
        total = figures(self.record_total)
        self._line("token_usage_record", **ids, usage=figures(used), thread_token_usage=total)

    def event(self, kind: str, **payload: Any) -> None:
        self._line("event_msg", type=kind, **payload)

    def _line(self, kind: str, **payload: Any) -> None:
        line = {"timestamp": self.stamp, "type": kind, "payload": payload}
        self.data += json.dumps(line, separators=(",", ":")).encode() + b"\n"


def tokens(counts: Counts) -> Tokens:
    return Tokens(*counts, counts[0] + counts[2])


USED = st.tuples(st.integers(1, 10**6), st.integers(0, 10**5), st.integers(1, 10**4), st.integers(0, 10**3))
_STEP = st.one_of(
    st.tuples(st.just("respond"), USED, st.integers(1, 3)),
    st.tuples(st.just("say"), st.sampled_from([1, 50, 400, 3000])),
    st.tuples(st.just("compact"), st.sampled_from([1, 3000])),
    st.tuples(st.sampled_from(["overflow", "count"])),
)
TURNS = st.lists(st.tuples(st.booleans(), st.lists(_STEP, max_size=6)), max_size=5)
