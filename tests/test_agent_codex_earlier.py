"""fleet_agent.tools.codex.earlier: a thread that was taken back to an earlier turn, and the files it left."""

import os
import time
import uuid
from pathlib import Path

import pytest

from codex_host import Host
from fake_codex import FakeCodex, event, lock_path, meta, rollout_path, thread_id, written
from fleet_agent.tail import Budget
from fleet_agent.tools.codex import skim
from fleet_agent.tools.codex.earlier import Earlier, earlier_rollouts
from fleet_agent.tools.codex.usage import Usage
from fleet_agent.wire import Session, Tokens

PLENTY = 1 << 40
DAYS = ("2026/11/20", "2026/11/21", "2026/12/01")


def taken_back(home: Path, number: int, thread: str, day: str) -> Path:
    """Where the thread goes on; 0 is its first file."""
    path = rollout_path(home, thread, day)
    revert = f"01a1ff5f-0000-7000-8000-{number:012}"
    return path.with_name(f"{path.stem}_{revert}.jsonl") if number else path


def lines(thread: str, before: int, *spent: int) -> bytes:
    """A file in which the totals go on from `before`, one turn for each response."""
    more = {"history_base": {"thread_id": thread}} if before else {}
    now = time.time()
    data = meta(now, thread, cli_version="0.169.0", **more)
    for number, tokens in enumerate(spent):
        before += tokens
        total, own = ({"input_tokens": count, "output_tokens": 1} for count in (before, tokens))
        data += event(now, "task_started", turn_id=str(uuid.UUID(int=(0xFF << 120) + number)))
        record = event(now, "x").replace(b'"event_msg"', b'"token_usage_record"')
        told = f'{{"thread_id":"{thread}","usage":{own},"thread_token_usage":{total}}}'.replace("'", '"')
        data += record.replace(b'{"type":"x"}', told.replace(" ", "").encode())
    return data


@pytest.fixture
def thread() -> str:
    return thread_id()


@pytest.fixture
def files(tmp_path: Path, thread: str) -> list[Path]:
    """A thread that was taken back twice, each time to its first turn."""
    spent = [(0, 100, 2000), (100, 5000), (100, 300)]
    found = []
    for number, (day, (before, *own)) in enumerate(zip(DAYS, spent, strict=True)):
        path = taken_back(tmp_path / "home", number, thread, day)
        found.append(written(path, time.time(), lines(thread, before, *own)))
    return found


def spent(session: Session) -> tuple[int | None, str | None, int | None]:
    return session.tokens.input if session.tokens else None, session.usage_confidence, session.turns


def test_it_is_one_session_which_goes_on_in_its_newest_file(
    tmp_path: Path, thread: str, files: list[Path]
) -> None:
    """Ended or live: what it says last is in the newest, its tokens and turns are those of all."""
    host = Host(tmp_path / "home")
    later = time.time() + 5
    os.utime(files[0], (later, later))
    ended = host.sessions()
    assert list(ended) == [thread]
    assert (ended[thread].transcript, *spent(ended[thread])) == (str(files[2]), 7400, "exact", 4)
    with FakeCodex(tmp_path, [lock_path(host.home, thread), files[2]]):
        live = host.sessions()[thread]
        assert (live.transcript, *spent(live)) == (str(files[2]), 7400, "exact", 4)
    assert spent(Host(host.home).sessions()[thread]) == (7400, "exact", 4)


def test_who_followed_it_when_it_was_taken_back_says_the_same(
    tmp_path: Path, thread: str, files: list[Path]
) -> None:
    """The stream moves on to the new file, with what was spent in the old one."""
    host, (first, second, third) = Host(tmp_path / "home"), files
    third.unlink()
    data = second.read_bytes()
    second.unlink()
    assert spent(host.sessions()[thread]) == (2100, "exact", 2)
    head = data.index(b"\n") + 1
    second.write_bytes(data[:head])
    assert spent(host.sessions()[thread]) == (2100, "exact", 2)
    second.write_bytes(data)
    assert spent(host.sessions()[thread]) == (7100, "exact", 3)
    assert host.sessions()[thread].transcript == str(second) != str(first)


def test_a_copy_in_another_home_counts_once(tmp_path: Path, thread: str, files: list[Path]) -> None:
    """Of one thread's files in two homes the newer is shown, whichever home is looked at first."""
    now = time.time()
    for number, other in enumerate(("a-home", "z-home")):
        home = tmp_path / other
        copy = written(rollout_path(home, thread), now + number, files[0].read_bytes())
        with FakeCodex(tmp_path, environ={"CODEX_HOME": str(home)}):
            files[2].unlink(missing_ok=True)
            files[1].unlink(missing_ok=True)
            host = Host(tmp_path / "home")
            os.utime(files[0], (now - 5, now - 5))
            assert [s.transcript for s in host.sessions().values()] == [str(copy)]


def test_only_what_it_left_before_is_earlier(tmp_path: Path, thread: str, files: list[Path]) -> None:
    """Not what came after, nor another thread's; put away, they lie side by side."""
    taken_back(tmp_path / "home", 1, thread_id(), DAYS[1]).touch()
    files[0].with_suffix(".jsonl.zst").touch()
    files[0].with_suffix(".jsonl.bak").touch()
    assert [earlier_rollouts(str(path)) for path in files] == [[], [str(files[0])], list(map(str, files[:2]))]
    away = tmp_path / "home" / "archived_sessions"
    away.mkdir()
    moved = [path.rename(away / path.name) for path in files]
    assert earlier_rollouts(str(moved[2])) == list(map(str, moved[:2]))
    assert earlier_rollouts("/nowhere/rollout-x.jsonl") == []


def test_it_is_accounted_for_a_budget_at_a_time(files: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Until all is read the sum is too small, and says so; then nothing is read again."""
    monkeypatch.setattr(skim, "MAX_LINE_BYTES", 2000)
    earlier, own = Earlier(map(str, files[:2])), Usage(Tokens(300, 0, 1, 0, 301), "exact", 1, 0)
    readings = 0
    while earlier.left_bytes:
        assert (earlier.usage(own).confidence, earlier.usage(own).turns) == ("conservative", None)
        earlier.account(Budget(1200))
        readings += 1
    assert readings > 1
    assert earlier.usage(own) == Usage(Tokens(7400, 0, 3, 0, 7403), "exact", 4, 0)
    budget = Budget(PLENTY)
    earlier.account(budget)
    assert budget.left_bytes == PLENTY


@pytest.mark.parametrize("damage", ["gone", "packed", "garbage"])
def test_without_a_file_the_sum_is_conservative(files: list[Path], damage: str) -> None:
    """What cannot be read was spent all the same."""
    paths = [str(path) for path in files[:2]]
    if damage == "gone":
        files[0].unlink()
    elif damage == "packed":
        files[0].write_bytes(b"\x28\xb5\x2f\xfd packed")
    else:
        files[0].write_bytes(b"garbage\n" * 10)
    earlier = Earlier(paths)
    earlier.account(Budget(PLENTY))
    usage = earlier.usage(Usage(None, None, 0, 0))
    assert (earlier.left_bytes, usage.confidence, usage.turns) == (0, "conservative", None)
    assert usage.tokens
    assert usage.tokens.input == 5000
