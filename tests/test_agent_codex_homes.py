"""fleet_agent.tools.codex.homes: the homes that are in use, and those that were a while ago."""

import os
from pathlib import Path

import pytest

from fake_codex import named, rollout_path, thread_id, written
from fleet_agent.tools.codex.homes import Homes
from fleet_agent.tools.codex.recent import RECENT_S

NOW = 2_000_000_000.0


def test_a_home_is_watched_while_it_is_in_use_and_a_while_after(tmp_path: Path) -> None:
    """Another CODEX_HOME is remembered as long as something in it ended lately, the own one always."""
    own, other = tmp_path / "own", tmp_path / "other"
    path = written(rollout_path(other, a := thread_id()), NOW)
    (other / "session_index.jsonl").write_text(named(a, "a name"))
    homes = Homes([str(own)])
    assert homes.poll(set(), NOW) == {}
    assert list(homes.poll({str(other)}, NOW)) == [str(path)]
    assert list(homes.poll(set(), NOW + 1)) == [str(path)]
    assert homes.name(str(other), a) == "a name"
    assert homes.poll(set(), NOW + RECENT_S + 2) == {}
    assert homes.name(str(other), a) is None
    assert (homes.problems, homes.complete) == ([], True)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_directory_that_cannot_be_listed_is_a_problem(tmp_path: Path) -> None:
    """An empty list of sessions must not stand for "not permitted"."""
    (tmp_path / "sessions").mkdir(mode=0o000)
    homes = Homes([str(tmp_path)])
    assert homes.poll(set(), NOW) == {}
    assert [(p.kind, p.path) for p in homes.problems] == [("unreadable", str(tmp_path / "sessions"))]
    assert not homes.complete


def test_a_trap_in_place_of_the_index_is_a_problem(tmp_path: Path) -> None:
    """A FIFO as session_index.jsonl is named, and does not hang."""
    os.mkfifo(tmp_path / "session_index.jsonl")
    homes = Homes([str(tmp_path)])
    homes.poll(set(), NOW)
    assert [p.path for p in homes.problems] == [str(tmp_path / "session_index.jsonl")]
