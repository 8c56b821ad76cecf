"""fleet_agent.tools.codex.skim: the account of a rollout that is read in pieces, and as it grows."""

import tempfile
import time
from contextlib import ExitStack
from itertools import accumulate
from pathlib import Path
from typing import Any
from unittest.mock import patch

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codex_account import (
    PLENTY,
    THREAD,
    TURNS,
    USED,
    ZERO,
    Counts,
    Writer,
    fed,
    followed,
    meta_of,
    plus,
    skimmed,
    tokens,
)
from damage import damaged_rollouts
from fake_codex import rollout_path, thread_id
from fleet_agent.processes import ProcessTable
from fleet_agent.tail import Budget, Source
from fleet_agent.tools.codex import skim, thread
from fleet_agent.tools.codex.find import Codex
from fleet_agent.tools.codex.skim import Skim
from fleet_agent.tools.codex.thread import ThreadFile
from fleet_agent.tools.codex.usage import Ledger, Usage
from fleet_agent.wire import Session


@settings(deadline=None)
@given(TURNS, st.booleans(), USED, st.integers(200, 4000), st.lists(st.integers(1500, 9000), max_size=9))
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
@given(TURNS, st.booleans(), st.lists(st.integers(1, 5000), max_size=12), st.sampled_from([0, 700, 64 << 10]))
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


@settings(deadline=None, max_examples=200)
@given(damaged_rollouts(), st.integers(200, 5000))
def test_no_damage_can_make_it_fail(raw: bytes, block_bytes: int) -> None:
    """Whatever bytes are changed, left out or doubled in a rollout, its account never raises."""
    usage = skimmed(raw + b"\n", block_bytes)
    assert usage.confidence in ("exact", "conservative", "unknown", None)
    fed(raw)


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
