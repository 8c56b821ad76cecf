"""fleet_agent.repositories: each repository is read once for all of its sessions, now and then."""

from pathlib import Path

import pytest

from fleet_agent import repositories
from fleet_agent.git import WorkTree
from fleet_agent.gitstatus import StatusRun
from fleet_agent.repositories import FOUND_AGAIN_S, REFRESH_S, Repositories, Repository
from repository import git, make_repository


class Watched:
    """Repositories on a clock of their own, and which of them git was asked about."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, remote: str = "none") -> None:
        self.now_s = 1000.0
        self.asked: list[str] = []
        self.all = Repositories(lambda path: path == remote, lambda: self.now_s)

        def start(tree: WorkTree) -> StatusRun:
            self.asked.append(tree.root)
            return StatusRun(tree)

        monkeypatch.setattr(repositories, "StatusRun", start)

    def of(self, *directories: Path) -> list[Repository | None]:
        found = self.all.refresh([str(d) for d in directories], wait_s=30.0)
        return [found.get(str(d)) for d in directories]

    def dirty(self, directory: Path) -> int | None:
        (found,) = self.of(directory)
        return found.status.dirty_files if found and found.status else None


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return make_repository(tmp_path / "repo")


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    return Watched(monkeypatch)


def test_ten_sessions_in_one_repository_are_one_reading(repository: Path, watched: Watched) -> None:
    """In whatever directories of it."""
    directories = [repository, *(repository / str(number) for number in range(9))]
    for directory in directories[1:]:
        directory.mkdir()
    found = watched.of(*directories)
    assert {(r.root, r.branch) for r in found if r} == {(str(repository), "main")}
    assert all(found)
    assert watched.asked == [str(repository)]


def test_all_repositories_are_read_in_turn(tmp_path: Path, watched: Watched) -> None:
    """As long as there is time for it."""
    roots = [make_repository(tmp_path / str(number)) for number in range(3)]
    assert all(found and found.status for found in watched.of(*roots))
    assert sorted(watched.asked) == sorted(map(str, roots))


def test_a_directory_outside_of_any_repository_has_none(tmp_path: Path, watched: Watched) -> None:
    """Nor has one that is gone."""
    assert watched.of(tmp_path, tmp_path / "gone") == [None, None]


def test_a_repository_is_read_again_when_it_is_old_or_its_index_changed(
    repository: Path, watched: Watched
) -> None:
    """In between, what was read last is told."""
    (repository / "a").write_text("")
    assert watched.dirty(repository) == 1
    (repository / "b").write_text("")
    assert watched.dirty(repository) == 1
    watched.now_s += REFRESH_S
    assert watched.dirty(repository) == 2
    git(repository, "add", ".")
    git(repository, "commit", "-q", "-m", "all")
    assert watched.dirty(repository) == 0
    assert len(watched.asked) == 3


def test_git_is_left_alone_for_long_after_it_took_long(
    repository: Path, watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A repository where it takes a second is not read every half minute."""

    class Slow(StatusRun):
        def wait(self, timeout_s: float) -> bool:
            watched.now_s += 1.0
            return super().wait(timeout_s)

    monkeypatch.setattr(repositories, "StatusRun", Slow)
    assert watched.dirty(repository) == 0
    (repository / "a").write_text("")
    git(repository, "add", "a")
    watched.now_s += 10
    assert watched.dirty(repository) == 0  # even though its index changed
    watched.now_s += 10
    assert watched.dirty(repository) == 1
    (repository / "b").write_text("")
    watched.now_s += REFRESH_S
    assert watched.dirty(repository) == 1
    watched.now_s += 300
    assert watched.dirty(repository) == 2


def test_who_is_slow_keeps_nobody_waiting(repository: Path, watched: Watched) -> None:
    """A reading takes what git has said so far; what it says later is in the next one."""
    (found,) = watched.all.refresh([str(repository)], wait_s=0.0).values()
    assert (found.branch, found.status) == ("main", None)
    assert watched.dirty(repository) == 0
    assert len(watched.asked) == 1


def test_nothing_is_run_on_a_network_file_system(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that is gone would leave a process that cannot be killed. The branch is known all the same."""
    watched = Watched(monkeypatch, remote=str(repository))
    assert watched.of(repository) == [Repository(str(repository), "main", None)]
    assert watched.asked == []


def test_nothing_is_run_where_the_configuration_is_not_safe(repository: Path, watched: Watched) -> None:
    """What is_safe refuses."""
    git(repository, "config", "filter.x.clean", "x")
    assert watched.of(repository) == [Repository(str(repository), "main", None)]
    assert watched.asked == []


def test_a_repository_that_appears_or_goes_is_seen_in_time(tmp_path: Path, watched: Watched) -> None:
    """The search of the parents is repeated after a while; a HEAD that is gone is noticed at once."""
    root = tmp_path / "later"
    root.mkdir()
    assert watched.of(root) == [None]
    git(root, "init", "-q", "-b", "main")
    watched.now_s += FOUND_AGAIN_S
    (found,) = watched.of(root)
    assert found
    assert found.branch == "main"
    (root / ".git/HEAD").unlink()
    (found,) = watched.of(root)
    assert found is None or found.branch is None
    assert watched.of(root) == [None]


def test_what_still_runs_is_ended(repository: Path, watched: Watched) -> None:
    """The agent leaves no process behind."""
    watched.all.refresh([str(repository)], wait_s=0.0)
    run = watched.all._run
    assert run
    watched.all.close()
    assert run.wait(10)
