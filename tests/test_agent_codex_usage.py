"""fleet_agent.tools.codex.usage: what a session spent itself."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codex_account import PARENT, THREAD, USED, ZERO, Counts, Writer, fed, plus, skimmed, tokens
from fake_codex import sample
from fleet_agent.tools.codex.lines import Meta
from fleet_agent.tools.codex.usage import Ledger, Usage
from fleet_agent.wire import Tokens


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


@settings(deadline=None)
@given(st.lists(st.tuples(USED, USED), max_size=30), st.booleans())
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
