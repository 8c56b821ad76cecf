"""fleet_agent.repositories: each repository is read once for all of its sessions, now and then."""

import time
from pathlib import Path

import psutil
import pytest

from fleet_agent import gitstatus, repositories
from fleet_agent.git import WorkTree
from fleet_agent.gitstatus import Status, StatusRun
from fleet_agent.repositories import FOUND_AGAIN_S, REFRESH_S, Repositories, Repository
from lab.waiting import wait_until
from repository import git, make_repository


class NeverAtOnce(StatusRun):
    """A git that has not ended yet where nobody waits for it, however busy this machine is."""

    def wait(self, timeout_s: float) -> bool:
        return timeout_s > 0 and super().wait(timeout_s)


class Watched:
    """Repositories on a clock of their own, and which of them git was asked about."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, remote: str = "none") -> None:
        self.now_s = 1000.0
        self.asked: list[str] = []
        self.all = Repositories(lambda path: path == remote, lambda: self.now_s)

        def start(tree: WorkTree) -> StatusRun:
            self.asked.append(tree.root)
            return NeverAtOnce(tree)

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
    watched.now_s += 10
    assert watched.dirty(repository) == 0
    assert len(watched.asked) == 3


def test_git_is_left_alone_for_long_after_it_took_long(
    repository: Path, watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A repository where it takes a second is not read every half minute."""

    class Slow(StatusRun):
        def wait(self, timeout_s: float) -> bool:
            ended = super().wait(timeout_s)
            self.cpu_s = 1.0
            return ended

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


def test_what_git_said_of_another_branch_is_not_said_of_this_one(repository: Path, watched: Watched) -> None:
    """The branch is known at once. Its commit and counts are not until git is asked again, and are not told."""
    git(repository, "branch", "side")
    git(repository, "commit", "-q", "--allow-empty", "-m", "second")
    (found,) = watched.of(repository)
    assert found
    assert found.status
    git(repository, "switch", "-q", "side")
    assert watched.of(repository) == [Repository(str(repository), "side", None)]  # it is left alone for a while
    watched.now_s += 10
    assert watched.all.refresh([str(repository)], 0.0)[str(repository)].status is None
    (found,) = watched.of(repository)
    assert found == Repository(str(repository), "side", Status(0, git(repository, "rev-parse", "HEAD")[:8]))


def test_what_git_said_between_two_readings_is_taken(
    repository: Path, watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reading waits a moment for it, and the next may come when its time is over: it ended long before."""
    monkeypatch.setattr(gitstatus, "TIMEOUT_S", 0.2)
    for number in range(1500):  # more than a pipe holds
        (repository / f"{number:0100}").touch()
    watched.all.refresh([str(repository)], wait_s=0.0)
    run = watched.all._run
    assert run
    wait_until(lambda: psutil.Process(run._pid).status() == psutil.STATUS_ZOMBIE, "git has ended", timeout_s=20)
    time.sleep(gitstatus.TIMEOUT_S)
    found = watched.all.refresh([str(repository)], wait_s=0.1)[str(repository)]
    assert found.status
    assert found.status.dirty_files == 1500


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
