"""fleet_agent.tools.codex.recent: the rollouts of a home that were written lately."""

import os
from pathlib import Path

import pytest

from fake_codex import rollout_path, thread_id, written
from fleet_agent.tools.codex import recent as recent_module
from fleet_agent.tools.codex.homes import Homes
from fleet_agent.tools.codex.recent import ALL_DAYS_EVERY_S, RECENT_S, RecentRollouts

NOW = 2_000_000_000.0


def test_only_what_was_written_lately(tmp_path: Path) -> None:
    """Ten minutes; other files and links are passed over."""
    fresh = written(rollout_path(tmp_path, a := thread_id()), NOW - 10)
    written(rollout_path(tmp_path, thread_id()), NOW - RECENT_S - 1)
    written(fresh.parent / "rollout-x.jsonl.zst", NOW)
    written(fresh.parent / "notes.txt", NOW)
    rollout_path(tmp_path, thread_id()).symlink_to("/etc/passwd")
    found = RecentRollouts(str(tmp_path)).poll(NOW)
    assert {path: thread for path, (thread, _) in found.items()} == {str(fresh): a}


def test_a_compressed_rollout_counts_unless_the_plain_one_is_there(tmp_path: Path) -> None:
    """Codex reads the plain one if both exist, and so does the agent, even if that was written long ago."""
    alone, both = (rollout_path(tmp_path, thread_id()) for _ in range(2))
    packed = [written(path.with_name(f"{path.name}.zst"), NOW) for path in (alone, both)]
    written(both, NOW - 9999)
    recent = RecentRollouts(str(tmp_path))
    assert list(recent.poll(NOW)) == [str(packed[0])]
    both.unlink()
    assert set(recent.poll(NOW)) == set(map(str, packed))


def test_what_is_dated_into_the_future_was_not_written_lately(tmp_path: Path) -> None:
    """A clock that was wrong for a while leaves no session that ended a moment ago for ever."""
    near = written(rollout_path(tmp_path, thread_id()), NOW + 60)
    written(rollout_path(tmp_path, thread_id()), NOW + 9e6)
    assert list(RecentRollouts(str(tmp_path)).poll(NOW)) == [str(near)]


def test_a_session_that_was_resumed_stays_in_its_old_directory(tmp_path: Path) -> None:
    """All days are looked at first and then now and then; what was found stays watched in between."""
    clock_s = 0.0
    written(rollout_path(tmp_path, thread_id(), "2026/11/21"), NOW - 9999)
    written(rollout_path(tmp_path, thread_id(), "2026/11/20"), NOW - 9999)
    old = written(rollout_path(tmp_path, thread_id(), "2025/01/02"), NOW)
    recent = RecentRollouts(str(tmp_path), lambda: clock_s)
    assert list(recent.poll(NOW)) == [str(old)]
    assert list(recent.poll(NOW + 1)) == [str(old)]
    late = written(rollout_path(tmp_path, thread_id(), "2025/01/02"), NOW)
    assert str(late) not in recent.poll(NOW + 2)
    clock_s = ALL_DAYS_EVERY_S
    assert str(late) in recent.poll(NOW + 3)


def test_what_is_held_open_is_looked_at_when_it_is_not(tmp_path: Path) -> None:
    """Whoever holds a rollout tells of it; in whichever directory it is, it is found after that."""
    written(rollout_path(tmp_path, thread_id(), "2026/11/21"), NOW - 9999)
    written(rollout_path(tmp_path, thread_id(), "2026/11/20"), NOW - 9999)
    old = written(rollout_path(tmp_path, thread_id(), "2025/01/02"), NOW - 9999)
    recent = RecentRollouts(str(tmp_path))
    assert recent.poll(NOW, {str(old)}) == {}
    written(old, NOW)
    assert recent.poll(NOW + 1, {str(old)}) == {}
    assert list(recent.poll(NOW + 2)) == [str(old)]


def test_a_session_of_today_is_found_at_once(tmp_path: Path) -> None:
    """The newest days are looked at every time."""
    recent = RecentRollouts(str(tmp_path))
    assert recent.poll(NOW) == {}
    path = written(rollout_path(tmp_path, thread_id()), NOW)
    assert list(recent.poll(NOW)) == [str(path)]
    path.unlink()
    assert recent.poll(NOW) == {}


def test_a_day_of_very_many_costs_a_bounded_number_of_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that rest take turns; what is new there, and what was written lately, is looked at each time."""
    monkeypatch.setattr(recent_module, "MAX_LOOKS", 3)
    old = [written(rollout_path(tmp_path, thread_id()), NOW - 9999) for _ in range(10)]
    fresh = written(rollout_path(tmp_path, thread_id()), NOW)
    looked_at: list[str] = []
    look = recent_module._look

    def counted(path: str, lately_ns: range) -> tuple[str, int] | None:
        looked_at.append(path)
        return look(path, lately_ns)

    monkeypatch.setattr(recent_module, "_look", counted)
    recent = RecentRollouts(str(tmp_path))
    for most in (11, 11 + 3, 3 + 1, 3 + 1):
        looked_at.clear()
        assert list(recent.poll(NOW)) == [str(fresh)]
        assert len(looked_at) <= most
    new = written(rollout_path(tmp_path, thread_id()), NOW)
    assert set(recent.poll(NOW)) == {str(fresh), str(new)}
    written(old[0], NOW)
    assert any(str(old[0]) in recent.poll(NOW) for _ in range(4))


def test_a_listing_that_may_be_stale_is_made_again(tmp_path: Path) -> None:
    """A directory may change twice within one tick of its clock: its time alone is believed a while later."""
    recent = RecentRollouts(str(tmp_path))
    first = written(rollout_path(tmp_path, thread_id()), NOW)
    times = ((NOW - 1, NOW - 1), (NOW - 60, NOW - 60))
    os.utime(first.parent, times[0])
    assert len(recent.poll(NOW)) == len(recent.poll(NOW)) == 1
    written(rollout_path(tmp_path, thread_id()), NOW)
    os.utime(first.parent, times[0])
    assert len(recent.poll(NOW)) == 2
    os.utime(first.parent, times[1])
    assert len(recent.poll(NOW)) == 2


def test_only_the_newest_of_very_many_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home that was copied without the times of its files: not all that it ever had, and it is said."""
    monkeypatch.setattr(recent_module, "MAX_RECENT", 2)
    monkeypatch.setattr(recent_module, "MAX_LOOKS", 1)
    newest = [written(rollout_path(tmp_path, thread_id()), NOW - age) for age in range(5)][:2]
    homes = Homes([str(tmp_path)])
    for _ in range(4):
        assert set(homes.poll(set(), NOW)) == set(map(str, newest))
        assert [(p.kind, p.path) for p in homes.problems] == [("limit", str(tmp_path))]
        assert homes.problems[0].message.endswith(" 3 others not")


def test_the_walk_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With very many rollouts the newest days are looked at and the rest is said to be left out."""
    monkeypatch.setattr("fleet_agent.tools.codex.recent.MAX_FILES", 3)
    days = ["2026/11/21", "2026/11/20", "2026/11/19"]
    paths = [written(rollout_path(tmp_path, thread_id(), day), NOW) for day in days for _ in range(2)]
    recent = RecentRollouts(str(tmp_path))
    assert set(recent.poll(NOW)) == {str(path) for path in paths[:4]}
    assert recent.cut
