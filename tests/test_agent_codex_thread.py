"""fleet_agent.tools.codex.thread: one rollout, followed as it grows."""

import os
from json import dumps
from pathlib import Path

import pytest

from fake_codex import DATA, event, item, meta, sample, thread_id, written
from fleet_agent.status import judge
from fleet_agent.tail import MAX_LINE_BYTES, Budget, Source
from fleet_agent.tools.codex import thread as thread_module
from fleet_agent.tools.codex.session import Thread, evidence
from fleet_agent.tools.codex.thread import ThreadFile
from fleet_agent.tools.codex.usage import Usage
from fleet_agent.wire import Plan

NOW = 2_000_000_000.0
PLENTY = 1 << 40
FACTS = (
    "plan",
    "last_error",
    "effort",
    "sandbox",
    "provider",
    "limits",
    "context_used",
    "context_window",
    "cwd",
)


def test_a_file_is_followed_as_it_grows(tmp_path: Path) -> None:
    """Facts after each append are those of the whole file; nothing is read twice."""
    path = tmp_path / "r.jsonl"
    path.write_bytes(b"")
    file = ThreadFile(str(path), want_prompt=True)
    whole = sample("exec_tool")
    for end in range(0, len(whole) + 700, 700):
        path.write_bytes(whole[:end])
        file.poll(Budget(PLENTY))
    assert file.facts is not None
    assert file.facts.turn is not None
    assert file.facts.turn.status == "complete"
    assert file.facts.tokens is not None
    assert file.facts.tokens.total == 19916
    assert file.prompt == "TOOL ls -la ;; SAY listed"
    budget = Budget(PLENTY)
    file.poll(budget)
    assert budget.left_bytes == PLENTY


@pytest.mark.parametrize("name", sorted(path.stem for path in DATA.glob("*.jsonl")))
def test_at_every_line_a_first_reading_says_what_a_follower_says(name: str, tmp_path: Path) -> None:
    """The one-shot and the stream agree, in whichever moment of a session they look at it."""
    first, *rest = sample(name).splitlines(keepends=True)
    path = written(tmp_path / "r.jsonl", NOW, first)
    follower = ThreadFile(str(path), want_prompt=False)
    for number, line in enumerate(rest, 1):
        with path.open("ab") as file:
            file.write(line)
        fresh = ThreadFile(str(path), want_prompt=False)
        told = []
        for reader in (follower, fresh):
            reader.poll(Budget(PLENTY))
            facts = reader.facts
            assert facts is not None
            thread = Thread("", None, facts=facts, calls=tuple(facts.calls.values()))
            verdict = judge(evidence(thread, NOW, None))
            told.append((verdict, [getattr(facts, fact) for fact in FACTS]))
        assert told[0] == told[1], f"after line {number}"


def test_a_long_file_is_read_from_its_last_turn_on(tmp_path: Path) -> None:
    """First sight costs the last turn, not the file."""
    filler = item(NOW, "message", role="assistant", content=[{"type": "output_text", "text": "x" * 5000}])
    data = sample("exec_tool") + filler * 3000 + event(NOW, "task_started", turn_id="last")
    path = tmp_path / "r.jsonl"
    path.write_bytes(data)
    budget = Budget(PLENTY)
    file = ThreadFile(str(path), want_prompt=False)
    assert len(data) > 3 * thread_module.OLD_REACH_BYTES
    file.poll(budget)
    assert PLENTY - budget.left_bytes < 1000
    assert file.facts is not None
    assert file.facts.turn is not None
    assert (file.facts.turn.id, file.facts.turn.status, file.facts.gapless) == ("last", "open", True)
    assert file.facts.meta.id == "01a1fbf3-d4da-78f3-8f80-8b9a0611d5f6"


def test_settings_and_tokens_from_before_a_turn_that_has_just_begun(tmp_path: Path) -> None:
    """Between task_started and its first lines, what the turn before said still holds."""
    path = tmp_path / "r.jsonl"
    path.write_bytes(sample("exec_tool") + event(NOW, "task_started", turn_id="last"))
    file = ThreadFile(str(path), want_prompt=False)
    file.poll(Budget(PLENTY))
    assert file.facts is not None
    assert (file.facts.model, file.facts.approvals) == ("gpt-5.5", "never")
    assert file.facts.tokens is not None
    assert file.facts.tokens.total == 19916
    assert file.facts.last_at == pytest.approx(NOW)


def test_of_a_long_turn_its_start_and_its_end_are_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A turn of a thousand responses is not read whole: what is open, who spoke, what was used is known.

    So are its plan and its settings, which may have changed in between and are not said again.
    """
    monkeypatch.setattr(thread_module, "TURN_HEAD_BYTES", 2000)
    monkeypatch.setattr(thread_module, "TURN_TAIL_BYTES", 3000)
    turn = event(NOW, "task_started", turn_id="t", model_context_window=1000)
    turn += event(NOW, "x", model="m", approval_policy="never").replace(b"event_msg", b"turn_context")
    for number in range(100):
        used = {"input_tokens": number, "output_tokens": 1}
        turn += item(NOW, "function_call", call_id=f"c{number}", name="exec_command", arguments="{}")
        turn += item(NOW + number, "function_call_output", call_id=f"c{number}", output="x" * 500)
        turn += event(NOW, "token_count", info={"total_token_usage": used, "last_token_usage": used})
        if number in (1, 50):
            steps = [{"step": "x", "status": "completed"}] * number
            made = dumps({"plan": steps})
            turn += item(NOW, "function_call", call_id="p", name="update_plan", arguments=made)
            turn += item(NOW, "function_call_output", call_id="p", output="")
            settings = {"model": f"m{number}", "approval_policy": "on-request"}
            turn += event(NOW, "thread_settings_applied", thread_settings=settings)
    turn += item(NOW, "function_call", call_id="open", name="exec_command", arguments="{}")
    path = written(tmp_path / "r.jsonl", NOW, meta(NOW, thread_id()) + turn)
    seen = []
    for long_bytes in (1 << 30, 20_000):
        monkeypatch.setattr(thread_module, "LONG_TURN_BYTES", long_bytes)
        file, budget = ThreadFile(str(path), want_prompt=False), Budget(PLENTY)
        file.poll(budget)
        assert file.facts is not None
        assert list(file.facts.calls) == ["open"]
        facts = vars(file.facts) | vars(file.facts.compaction)
        seen.append({name: str(value) for name, value in facts.items() if name != "compaction"})
        assert (file.facts.plan, file.facts.model) == (Plan(50, 50), "m50")
    assert seen[0] == seen[1]
    assert PLENTY - budget.left_bytes < 9000 < len(turn)


def test_a_turn_that_began_too_far_back_is_not_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Past the reach of the search the facts say that something is missing, and memory stays bounded."""
    monkeypatch.setattr(thread_module, "REACH_BYTES", 50_000)
    monkeypatch.setattr(thread_module, "OLD_REACH_BYTES", 20_000)
    filler = item(NOW, "message", role="assistant", content="x" * 1000)
    path = tmp_path / "r.jsonl"
    path.write_bytes(meta(NOW, thread_id()) + event(NOW, "task_started", turn_id="t") + filler * 200)
    budget = Budget(PLENTY)
    file = ThreadFile(str(path), want_prompt=False)
    file.poll(budget)
    assert file.facts is not None
    assert (file.facts.turn, file.facts.gapless) == (None, False)
    assert PLENTY - budget.left_bytes <= 20_000
    with path.open("ab") as appended:
        appended.write(event(NOW, "task_complete", turn_id="t", last_agent_message="done"))
    file.poll(budget)
    assert file.facts.turn is not None
    assert (file.facts.turn.status, file.facts.gapless) == ("complete", True)


def test_lines_of_megabytes_do_not_hide_the_turn(tmp_path: Path) -> None:
    """An image of 5 MB in the first line or in the turn: counted, and the state is still known."""
    big = "i" * (MAX_LINE_BYTES + 1)
    thread = thread_id()
    path = tmp_path / "r.jsonl"
    path.write_bytes(
        meta(NOW, thread, source="exec", base_instructions={"text": big})
        + event(NOW, "task_started", turn_id="t")
        + item(NOW, "message", role="user", content=[{"image_url": big}])
        + item(NOW, "function_call", call_id="c", name="exec_command", arguments="{}")
    )
    file = ThreadFile(str(path), want_prompt=True)
    file.poll(Budget(PLENTY))
    assert file.facts is not None
    assert (file.facts.meta.id, file.facts.meta.source, file.facts.cut_lines) == (thread, "exec", 2)
    assert list(file.facts.calls) == ["c"]
    assert file.facts.gapless


def test_a_line_of_megabytes_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The search for the turn, what is followed and the account of its tokens share one pass over it."""
    monkeypatch.setattr(thread_module, "LONG_TURN_BYTES", 1 << 20)
    responses = b"".join(
        event(NOW, "token_count", info={"total_token_usage": used, "last_token_usage": used})
        for used in [{"input_tokens": 5, "output_tokens": 1}] * 5000
    )
    huge = item(NOW, "message", role="user", content=[{"image_url": "i" * (24 << 20)}])
    path = tmp_path / "r.jsonl"
    path.write_bytes(meta(NOW, thread_id()) + event(NOW, "task_started", turn_id="t") + responses + huge)
    file, before_bytes = ThreadFile(str(path), want_prompt=False), Source.read_bytes
    file.poll(Budget(PLENTY))
    file.account(Budget(PLENTY))
    assert file.usage.tokens
    assert file.usage.tokens.total == 6
    assert file.facts
    assert file.facts.cut_lines == 1
    assert len(huge) < Source.read_bytes - before_bytes < 1.6 * len(huge)


def test_a_file_that_is_no_rollout_is_a_fault(tmp_path: Path) -> None:
    """Absurd content is said, not taken for an empty session; and it can heal."""
    path = tmp_path / "r.jsonl"
    path.write_bytes(b"\x00\x01\x02 garbage\n")
    file = ThreadFile(str(path), want_prompt=False)
    file.poll(Budget(PLENTY))
    assert (file.fault, file.facts) == ("its first line is no session_meta", None)
    file.poll(Budget(PLENTY))
    assert file.fault
    path.write_bytes(sample("exec_tool"))
    file.poll(Budget(PLENTY))
    assert file.fault is None
    assert file.facts


def test_a_huge_line_that_is_no_rollout_is_a_fault(tmp_path: Path) -> None:
    """What only begins like one tells nothing of a session, so nothing is claimed of it."""
    path = written(tmp_path / "r.jsonl", NOW, b'{"timestamp":"' + b"y" * (MAX_LINE_BYTES + 1))
    file = ThreadFile(str(path), want_prompt=False)
    file.poll(Budget(PLENTY))
    assert (file.fault, file.facts) == ("its first line is no session_meta", None)


def test_a_rollout_of_one_huge_line_is_read(tmp_path: Path) -> None:
    """The search for a turn that there is not ends inside of it."""
    thread = thread_id()
    first = meta(NOW, thread, base_instructions={"text": "i" * (3 * thread_module.OLD_REACH_BYTES)})
    file = ThreadFile(str(written(tmp_path / "r.jsonl", NOW, first)), want_prompt=False)
    file.poll(Budget(PLENTY))
    assert file.fault is None
    assert file.facts is not None
    assert (file.facts.meta.id, file.facts.turn) == (thread, None)


def test_a_file_that_is_gone_or_a_trap_is_a_fault(tmp_path: Path) -> None:
    """Neither raises nor hangs."""
    file = ThreadFile(str(tmp_path / "gone"), want_prompt=False)
    file.poll(Budget(PLENTY))
    assert (file.fault, file.gone) == ("No such file or directory", True)
    os.mkfifo(tmp_path / "trap")
    trap = ThreadFile(str(tmp_path / "trap"), want_prompt=False)
    trap.poll(Budget(PLENTY))
    assert trap.fault
    assert not trap.gone


def test_a_budget_that_is_spent_is_said(tmp_path: Path) -> None:
    """What could not be read in one reading is read in the next; until then it is known to be missing."""
    path = tmp_path / "r.jsonl"
    path.write_bytes(sample("exec_tool"))
    file = ThreadFile(str(path), want_prompt=False)
    file.poll(Budget(5000))
    assert file.behind
    file.poll(Budget(PLENTY))
    assert not file.behind
    assert file.facts is not None
    assert file.facts.turn is not None
    assert file.facts.turn.status == "complete"


def test_its_tokens_are_accounted_for_a_budget_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until its file was read once, the newest total stands for what it spent; then it is exact."""
    monkeypatch.setattr(thread_module, "LITTLE_BYTES", 0)
    path = written(tmp_path / "r.jsonl", NOW, whole := sample("exec_spawn_v2"))
    file = ThreadFile(str(path), want_prompt=False)
    assert (file.usage, file.unaccounted_bytes) == (Usage(), 0)
    file.poll(Budget(PLENTY))
    assert (file.usage.confidence, file.usage.turns) == ("conservative", None)
    readings = 0
    while file.unaccounted_bytes:
        file.account(Budget(max(map(len, whole.splitlines(keepends=True)))))
        readings += 1
    assert readings > 1
    assert file.usage.tokens is not None
    assert (file.usage.tokens.total, file.usage.confidence, file.usage.turns) == (42985, "exact", 1)


def test_what_is_little_is_accounted_for_while_it_is_read(tmp_path: Path) -> None:
    """A rollout of a few lines, and the few lines that a reading appends: the file is opened once."""
    path = written(tmp_path / "r.jsonl", NOW, whole := sample("exec_spawn_v2"))
    file = ThreadFile(str(path), want_prompt=False)
    half = whole.index(b"\n", len(whole) // 2) + 1
    path.write_bytes(whole[:half])
    file.poll(Budget(PLENTY))
    assert file.unaccounted_bytes == 0
    path.write_bytes(whole)
    file.poll(Budget(PLENTY))
    assert file.unaccounted_bytes == 0
    assert file.usage.tokens is not None
    assert (file.usage.tokens.total, file.usage.confidence, file.usage.turns) == (42985, "exact", 1)


def test_another_file_in_its_place_is_another_account(tmp_path: Path) -> None:
    """What a replaced rollout spent is not what its successor spends."""
    path = written(tmp_path / "r.jsonl", NOW, sample("exec_spawn_v2"))
    file = ThreadFile(str(path), want_prompt=False)
    for name, total in (("exec_spawn_v2", 42985), ("exec_tool", 19916)):
        written(tmp_path / "new", NOW, sample(name)).replace(path)
        file.account(Budget(PLENTY))  # of the file that was there at the last poll, so of none
        file.poll(Budget(PLENTY))
        file.account(Budget(PLENTY))
        assert file.usage.tokens is not None
        assert (file.usage.tokens.total, file.usage.confidence) == (total, "exact")
    path.unlink()
    file.account(Budget(PLENTY))
    assert file.usage.confidence == "exact"
