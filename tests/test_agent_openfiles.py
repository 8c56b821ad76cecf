"""fleet_agent.openfiles: what a process holds open, asked as rarely as is safe."""

from pathlib import Path

import pytest

from fake_codex import FakeCodex
from fleet_agent import procfs
from fleet_agent.openfiles import FULL_S, OpenFiles, Telling

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

    def names(self, inode: int | None = None, telling: Telling = list) -> list[str]:
        glance = procfs.glance(self._codex.pid)
        glance = (glance[0] if inode is None else inode, glance[1])
        found = self._files.of(self._codex.pid, glance, lambda path: path.startswith(self._directory), telling)
        return sorted(path.rpartition("/")[2] for path, _ in found)


def test_nothing_is_looked_at_twice_while_nothing_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The count of open files, and those that matter, are as they were; now and then all are read."""
    with FakeCodex(tmp_path, [tmp_path / "x.a"]) as codex:
        watched = Watched(codex, tmp_path / "x", monkeypatch)
        assert [watched.names(), watched.names()] == [["x.a"], ["x.a"]]
        assert watched.looks == (1 if procfs.glance(codex.pid)[1] else 2)  # Linux before 6.2 does not count
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


def test_only_what_tells_is_looked_at_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of files that come and go together one is enough, as long as their number is the same."""
    with FakeCodex(tmp_path, [tmp_path / "x.a", tmp_path / "x.b"]) as codex:
        watched = Watched(codex, tmp_path / "x", monkeypatch)

        def telling(files: list[tuple[str, bool]]) -> list[tuple[str, bool]]:
            return [file for file in files if file[0].endswith("a")]

        assert watched.names(telling=telling) == ["x.a", "x.b"]
        (tmp_path / "x.b").rename(tmp_path / "x.c")
        watched.names(telling=telling)
        assert watched.looks == (1 if procfs.glance(codex.pid)[1] else 2)
        (tmp_path / "x.a").rename(tmp_path / "x.aa")
        assert watched.names(telling=telling) == ["x.aa", "x.c"]


def test_another_process_with_the_same_pid_is_read_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is known belongs to a process, not to its pid."""
    with FakeCodex(tmp_path, [tmp_path / "x.a"]) as codex:
        watched = Watched(codex, tmp_path / "x", monkeypatch)
        watched.names()
        looks = watched.looks
        watched.names(inode=2)
        assert watched.looks == looks + 1


def test_a_process_that_is_gone_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that was known of it is handed out."""
    with FakeCodex(tmp_path, [tmp_path / "x.a"]) as codex:
        watched = Watched(codex, tmp_path / "x", monkeypatch)
        assert watched.names() == ["x.a"]
        codex.kill()
        with pytest.raises(OSError, match="No such file"):
            watched.names()
