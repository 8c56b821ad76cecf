"""fleet_agent.openfiles: what a process holds open, asked as rarely as is safe."""

from pathlib import Path

import pytest

from fake_codex import FakeCodex
from fleet_agent import procfs
from fleet_agent.openfiles import FULL_S, OpenFiles

pytestmark = pytest.mark.skipif(not procfs.AVAILABLE, reason="/proc is Linux's")


class Watched:
    """The open files of one process below a directory, and how often all of them were looked at."""

    def __init__(self, codex: FakeCodex, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s, self.looks = 0.0, 0
        self._codex, self._directory = codex, str(directory)
        self._files = OpenFiles(lambda: self.now_s)
        read = procfs.open_files

        def counted(*arguments: object) -> object:
            self.looks += 1
            return read(*arguments)  # type: ignore[arg-type]

        monkeypatch.setattr(procfs, "open_files", counted)

    def names(self, born: float = 1.0) -> list[str]:
        found = self._files.of(self._codex.pid, born, lambda path: path.startswith(self._directory))
        return sorted(path.rpartition("/")[2] for path, _ in found)


def test_nothing_is_looked_at_twice_while_nothing_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The count of open files, and those that matter, are as they were; now and then all are read."""
    with FakeCodex(tmp_path, [tmp_path / "x.a"]) as codex:
        watched = Watched(codex, tmp_path / "x", monkeypatch)
        assert [watched.names(), watched.names()] == [["x.a"], ["x.a"]]
        assert watched.looks == (1 if procfs.open_count(codex.pid) else 2)  # Linux before 6.2 does not count
        watched.now_s = FULL_S
        assert watched.names() == ["x.a"]
        assert watched.looks >= 2


def test_what_is_opened_closed_or_renamed_is_seen_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another count; or the same count, but what it was known for is not there any more."""
    with FakeCodex(tmp_path, [tmp_path / "x.a"]) as codex:
        watched = Watched(codex, tmp_path / "x", monkeypatch)
        assert watched.names() == ["x.a"]
        codex.run(f"exec 60>{tmp_path}/x.b")
        assert watched.names() == ["x.a", "x.b"]
        codex.run(f"exec 60>{tmp_path}/x.c")  # one closed, one opened
        assert watched.names() == ["x.a", "x.c"]
        (tmp_path / "x.c").rename(tmp_path / "x.d")
        assert watched.names() == ["x.a", "x.d"]
        codex.run("exec 60>&-")
        assert watched.names() == ["x.a"]


def test_another_process_with_the_same_pid_is_read_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is known belongs to (pid, start)."""
    with FakeCodex(tmp_path, [tmp_path / "x.a"]) as codex:
        watched = Watched(codex, tmp_path / "x", monkeypatch)
        watched.names()
        looks = watched.looks
        watched.names(born=2.0)
        assert watched.looks == looks + 1


def test_a_process_that_is_gone_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that was known of it is handed out."""
    with FakeCodex(tmp_path, [tmp_path / "x.a"]) as codex:
        watched = Watched(codex, tmp_path / "x", monkeypatch)
        assert watched.names() == ["x.a"]
        codex.kill()
        with pytest.raises(OSError, match="No such file"):
            watched.names()
