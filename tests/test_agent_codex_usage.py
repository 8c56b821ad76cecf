"""fleet_agent.tools.codex.usage and skim: what a session spent itself."""

import json
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from itertools import accumulate
from pathlib import Path
from typing import Any
from unittest.mock import patch

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from damage import damaged_rollouts
from fake_codex import rollout_path, sample, thread_id
from fleet_agent.processes import ProcessTable
from fleet_agent.tail import Budget, LineSplitter, Source
from fleet_agent.tools.codex import skim, thread
from fleet_agent.tools.codex.find import Codex
from fleet_agent.tools.codex.lines import Meta, decode_meta
from fleet_agent.tools.codex.skim import Skim
from fleet_agent.tools.codex.thread import ThreadFile
from fleet_agent.tools.codex.usage import Ledger, Usage
from fleet_agent.wire import Session, Tokens

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


@pytest.mark.parametrize(
    ("name", "total", "confidence", "turns"),
    [
        ("exec_tool", 19916, "exact", 1),
        ("exec_spawn_v1.child1", 19587, "exact", 1),
        ("exec_spawn_v2", 42985, "exact", 1),
        ("exec_spawn_v2.child1", 30974, "exact", 1),
        ("exec_review.child1", 5490, "exact", 1),
        ("sigkill_then_resume", 9909, "exact", 2),
        ("exec_fail400", None, None, 1),
        ("exec_failctx", None, None, 1),
        ("old_0.155.1_tools", 41821, "exact", 1),
        ("old_0.150.1_tools", 46628, "exact", 1),
        ("old_0.145.0_tools", 46776, "exact", 1),
        ("old_0.101.0_tools", 34170, "exact", 1),
        ("old_0.90.0_tools", 31308, "exact", None),
        ("old_0.77.0_tools", 36948, "exact", None),
        ("old_0.36.0_tools", 30816, "conservative", None),  # resumed: its total began at zero again
        ("old_0.58.0_concurrent_writers", 8267, "conservative", None),
        ("old_0.21.0_tools", None, None, None),
    ],
)
def test_what_real_sessions_spent(
    name: str, total: int | None, confidence: str | None, turns: int | None
) -> None:
    """The account of what releases 0.21 to 0.169 wrote; where it may be too small, it says so."""
    usage = skimmed(sample(name))
    assert (usage.tokens.total if usage.tokens else None) == total
    assert (usage.confidence, usage.turns) == (confidence, turns)
    assert usage.compactions == (None if total is None and turns is None else 0)


used = st.tuples(st.integers(1, 10**6), st.integers(0, 10**5), st.integers(1, 10**4), st.integers(0, 10**3))
step = st.one_of(
    st.tuples(st.just("respond"), used, st.integers(1, 3)),
    st.tuples(st.just("say"), st.sampled_from([1, 50, 400, 3000])),
    st.tuples(st.just("compact"), st.sampled_from([1, 3000])),
    st.tuples(st.sampled_from(["overflow", "count"])),
)
turns = st.lists(st.tuples(st.booleans(), st.lists(step, max_size=6)), max_size=5)


@settings(deadline=None)
@given(turns, st.booleans(), used, st.integers(200, 4000), st.lists(st.integers(1500, 9000), max_size=9))
def test_nothing_counts_twice_however_it_is_read(
    history: list[tuple[bool, list[Any]]], forked: bool, inherited: Counts, block: int, budgets: list[int]
) -> None:
    """Repeats, overflows, compactions, turns of older and newer releases, forks: what was used, to the token.

    In whatever blocks the file is read, and if all its lines are looked at. Only where both kinds of release
    wrote to a file may it be less, and then it says so.
    """
    old = forked and not (history and history[0][0])  # what began a fork ran its first turn, too
    writer = Writer(forked, inherited if forked else ZERO, "0.145.0" if old else "0.169.0")
    for recorded, steps in history:
        writer.turn(recorded)
        for name, *arguments in steps:
            if name == "respond":  # no two are alike: each has all that was before in its input
                arguments[0] = plus(arguments[0], (10**6 * len(writer.data), 0, 0, 0))
            getattr(writer, name)(*arguments)
    with patch.object(skim, "MAX_LINE_BYTES", 1400):
        usage = skimmed(writer.data, block, budgets)
    assert usage == skimmed(writer.data) == fed(writer.data)
    assert (usage.turns or 0, usage.compactions or 0) == (writer.turns, writer.compactions)
    if len({recorded for recorded, _ in history}) == 2 and usage.confidence == "conservative":
        assert usage.tokens is not None
        assert all(a <= b for a, b in zip(msgspec.structs.astuple(usage.tokens), writer.spent, strict=False))
    elif writer.told:
        sure = not forked or old or writer.spent != ZERO  # else no record tells what was inherited
        assert (usage.tokens, usage.confidence) == (tokens(writer.spent), "exact" if sure else "conservative")


@settings(deadline=None)
@given(turns, st.booleans(), st.lists(st.integers(1, 5000), max_size=12), st.sampled_from([0, 700, 64 << 10]))
def test_in_whatever_pieces_it_grows_it_spent_the_same(
    history: list[tuple[bool, list[Any]]], forked: bool, pieces: list[int], little_bytes: int
) -> None:
    """Who follows a rollout from its first bytes on, and who reads it once it is whole, say the same."""
    writer = Writer(forked, (1000, 100, 10, 1) if forked else ZERO)
    for recorded, steps in history:
        writer.turn(recorded)
        for name, *arguments in steps:
            getattr(writer, name)(*arguments)
    with tempfile.TemporaryDirectory() as directory, ExitStack() as patched:
        for module, name, value in ((skim, "MAX_LINE_BYTES", 1400), (thread, "LITTLE_BYTES", little_bytes)):
            patched.enter_context(patch.object(module, name, value))
        path = Path(directory, "r.jsonl")
        path.touch()
        follower = ThreadFile(str(path), want_prompt=False)
        for end in (*accumulate(pieces), len(writer.data)):
            with path.open("ab") as file:
                file.write(writer.data[path.stat().st_size : end])
            followed(follower)
        fresh = ThreadFile(str(path), want_prompt=False)
        followed(fresh)
    assert follower.usage == fresh.usage == skimmed(writer.data)


@settings(deadline=None)
@given(st.lists(st.tuples(used, used), max_size=30), st.booleans())
def test_never_more_than_the_highest_total(totals: list[tuple[Counts, Counts]], forked: bool) -> None:
    """Whatever order totals come in: what is counted is not more than the highest, less what was inherited."""
    writer = Writer(forked, version="0.145.0")  # two processes may have written it
    writer.turn()
    for total, last in totals:
        writer.count_total, writer._last = total, last
        writer.count()
    usage = skimmed(writer.data)
    spent = msgspec.structs.astuple(usage.tokens or Tokens())
    first, own = totals[0] if totals else (ZERO, ZERO)
    for i in range(4):
        assert spent[i] <= max((total[i] for total, _ in totals), default=0) - max(0, first[i] - own[i])


@settings(deadline=None, max_examples=200)
@given(damaged_rollouts(), st.integers(200, 5000))
def test_no_damage_can_make_it_fail(raw: bytes, block_bytes: int) -> None:
    """Whatever bytes are changed, left out or doubled in a rollout, its account never raises."""
    usage = skimmed(raw + b"\n", block_bytes)
    assert usage.confidence in ("exact", "conservative", "unknown", None)
    fed(raw)


def test_a_line_twice_adds_nothing() -> None:
    """A block of lines that was written again, records and counts alike, was paid for once."""
    writer = Writer()
    writer.turn()
    for count in range(1, 6):
        writer.respond((100 * count, 10, count, 1))
    first, *rest = writer.data.splitlines(keepends=True)
    assert skimmed(first + b"".join(rest) * 2).tokens == tokens(writer.spent)


@pytest.mark.parametrize("recorded", [True, False], ids=["records", "counts"])
def test_a_legacy_fork_begins_with_its_parents_lines(recorded: bool) -> None:
    """The copied prefix is the parent's: not its tokens, turns or compactions are the fork's."""
    writer = Writer(forked=True)
    writer.thread = PARENT
    writer.turn(recorded)
    writer.respond((1000, 100, 10, 1))
    writer.compact()
    writer.respond((500, 50, 5, 0))
    assert skimmed(writer.data) == fed(writer.data) == Usage(tokens(ZERO), "exact", 0, 0)
    writer.thread, writer.spent, writer.turns, writer.compactions = THREAD, ZERO, 0, 0
    writer.turn(recorded)
    writer.respond((70, 7, 3, 1))
    assert skimmed(writer.data) == fed(writer.data) == Usage(tokens((70, 7, 3, 1)), "exact", 1, 0)


@pytest.mark.parametrize("began", [{"forked_from_id": PARENT}, {"history_base": {"thread_id": PARENT}}])
def test_a_request_that_is_tried_again_repeats_what_was_inherited(began: dict[str, Any]) -> None:
    """Before its first response a fork, or a thread that was taken back, says its parent's total and last."""
    inherited = (1000, 100, 10, 1)
    writer = Writer(inherited=inherited, **began)
    writer.turn()
    writer._last = inherited
    writer.count()
    writer.respond((70, 7, 3, 1))
    writer.count()
    writer.turn()
    writer.count()
    writer.respond((90, 9, 5, 1))
    assert skimmed(writer.data) == fed(writer.data) == Usage(tokens((160, 16, 8, 2)), "exact", 2, 0)
    writer = Writer(inherited=inherited, **began)
    writer.turn()
    writer._last = inherited
    writer.count()
    assert skimmed(writer.data) == Usage(tokens(ZERO), "conservative", 1, 0)


@pytest.mark.parametrize(("version", "sure"), [("0.150.0", False), ("0.169.0", True)])
def test_what_a_remote_compaction_spent_is_told_by_records_alone(version: str, sure: bool) -> None:
    """Without them the sum is too small, and says so."""
    writer, compacting = Writer(version=version), (3000, 300, 30, 3)
    for number in range(3):
        writer.turn(recorded=sure)
        if number == 1:
            writer.compact(remote=compacting)
            writer.turn(recorded=sure)
        else:
            writer.count()
        writer.respond((1000 + number, 100, 10, 1))
    untold = ZERO if sure else compacting
    usage = skimmed(writer.data)
    assert usage.tokens
    told = usage.tokens
    own = (told.input, told.cached_input, told.output, told.reasoning_output)
    assert plus(own, untold) == writer.spent
    assert usage.confidence == ("exact" if sure else "conservative")


@pytest.mark.parametrize("began", ["0.150.0", "0.169.0"])
def test_a_session_that_begins_at_zero_when_it_is_resumed(began: str) -> None:
    """0.150 forgets its totals, and what a later release told in records; all of it was paid for."""
    writer = Writer(version=began)
    later = began != "0.150.0"
    for recorded, resumed in ((later, False), (False, True), (False, True), (True, False), (False, True)):
        if resumed:
            writer.count_total = ZERO
        writer.turn(recorded)
        for number in range(3 - 2 * resumed):
            writer.respond((1000 + 10 * writer.turns + number, 100, 10, 1), repeats=2)
    assert skimmed(writer.data) == fed(writer.data) == Usage(tokens(writer.spent), "exact", 5, 0)


def test_a_fork_from_before_turns_had_ids_is_not_vouched_for() -> None:
    """Up to 0.90 only time tells the copied lines from its own."""
    writer = Writer(forked=True, version="0.90.0")
    writer.respond((1000, 100, 10, 1))
    writer.spent, writer.stamp = ZERO, "2026-11-21T02:35:00.000Z"
    writer.respond((70, 7, 3, 1))
    assert skimmed(writer.data) == Usage(tokens((70, 7, 3, 1)), "unknown", None, 0)


def test_what_was_not_seen_to_its_end_is_estimated() -> None:
    """Before the whole file was read: the newest total without what was inherited, and never called exact."""
    last = Tokens(5000, 500, 50, 5, 5050)
    assert Ledger(Meta()).usage(False, last) == Usage(last, "conservative")
    fork = Ledger(Meta(id=THREAD, forked_from_id=PARENT))
    assert fork.usage(False, last) == Usage()
    writer = Writer(forked=True, inherited=(1000, 100, 10, 1))
    writer.turn()
    writer.respond((70, 7, 3, 1))
    for line in writer.data.splitlines()[1:]:
        fork.feed(line)
    assert fork.usage(False, last) == Usage(tokens((4000, 400, 40, 4)), "conservative")


def test_a_first_total_that_holds_more_than_its_response_is_not_exact() -> None:
    """A session that is no fork has lost the lines that told the rest."""
    writer = Writer(inherited=(1000, 100, 10, 1))
    writer.turn()
    writer.respond((70, 7, 3, 1))
    assert skimmed(writer.data) == Usage(tokens((70, 7, 3, 1)), "conservative", 1, 0)


def test_two_processes_that_write_one_file_are_noticed() -> None:
    """Both went on from the same total: what they spent together is more than the totals say."""
    writer = Writer(version="0.145.0")
    writer.turn(recorded=False)
    writer.respond((1000, 100, 10, 1))
    for used in ((300, 10, 5, 0), (500, 20, 9, 0)):
        writer.count_total = (1000, 100, 10, 1)
        writer.respond(used)
    assert skimmed(writer.data) == Usage(tokens((1500, 120, 19, 1)), "conservative", 1, 0)


def test_a_session_that_was_written_by_another_program_is_only_estimated() -> None:
    """Lines with spaces after colons are not looked through: the newest total stands, turns are not counted."""
    ledger = Ledger(Meta())
    assert ledger.usage(True, Tokens(10, 0, 1, 0, 11)) == Usage(Tokens(10, 0, 1, 0, 11), "conservative")


def test_what_is_appended_is_all_that_is_read(tmp_path: Path) -> None:
    """A later look costs the bytes that are new, and a line that is not whole yet."""
    writer = Writer()
    writer.turn()
    writer.respond((70, 7, 3, 1))
    path = tmp_path / "r.jsonl"
    path.write_bytes(writer.data)
    with Source(str(path)) as source:
        reader = Skim(Ledger(meta_of(writer.data)), source.identity)
        reader.read(source, Budget(PLENTY))
    before = len(writer.data)
    writer.respond((30, 3, 2, 0))
    path.write_bytes(writer.data[:-1])
    for end in (-1, None):
        path.write_bytes(writer.data[:end])
        budget = Budget(PLENTY)
        with Source(str(path)) as source:
            assert reader.left_bytes(source.size) > 0
            reader.read(source, budget)
            assert PLENTY - budget.left_bytes <= len(writer.data) - before
            assert reader.left_bytes(source.size) == 0
    assert reader.ledger.usage(True, None).tokens == tokens((100, 10, 5, 1))


def test_a_line_that_is_taken_back_half_written_hides_nothing(tmp_path: Path) -> None:
    """The start of a long line was read, and is cut off again: what is written in its place is read."""
    path, writer = tmp_path / "r.jsonl", Writer()
    writer.turn()
    writer.respond((70, 7, 3, 1))
    path.write_bytes(writer.data + b'{"type":"response_item","payload":{"x":"' + b"x" * 100_000)
    file = ThreadFile(str(path), want_prompt=False)
    followed(file)
    path.write_bytes(writer.data)
    followed(file)
    writer.respond((30, 3, 2, 0))
    path.write_bytes(writer.data)
    followed(file)
    assert file.usage == Usage(tokens((100, 10, 5, 1)), "exact", 1, 0)


def test_one_reading_goes_through_so_many_bytes_and_the_next_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A huge rollout costs no reading more than its cap, and keeps no other session waiting."""
    monkeypatch.setattr(thread, "LITTLE_BYTES", 0)  # of what is small the account is taken while it is read
    small, huge = Writer(), Writer()
    for writer, responses in ((small, 1), (huge, 40)):
        writer.turn()
        for number in range(responses):
            writer.respond((100 + number, 10, 5, 1))
    paths = {rollout_path(tmp_path, thread_id()): writer for writer in (huge, small)}
    for path, writer in paths.items():
        path.write_bytes(writer.data.replace(THREAD.encode(), path.stem[-36:].encode()))
    codex = Codex(environ={"CODEX_HOME": str(tmp_path)}, account_bytes=len(small.data) + len(huge.data) // 3)
    nobody = ProcessTable(lambda _image: False)

    def look() -> list[Session]:
        sessions = codex.find(nobody, time.time()).sessions
        return sorted((s for s in sessions if s.home == str(tmp_path)), key=lambda s: s.transcript_bytes or 0)

    one, other = look()
    assert (one.tokens, one.usage_confidence, one.turns) == (tokens(small.spent), "exact", 1)
    assert (other.tokens, other.usage_confidence, other.turns) == (tokens(huge.spent), "conservative", None)
    assert [look()[1].usage_confidence for _ in range(2)] == ["conservative", "exact"]
    assert look()[1].tokens == tokens(huge.spent)
