"""fleet.files: replaced whole or not at all."""

import threading
from pathlib import Path

import pytest

from fleet import files


def test_a_file_is_replaced_with_its_mode(tmp_path: Path) -> None:
    """A new one is its owner's alone; a link stays a link; nothing else is left in the directory."""
    path, link = tmp_path / "a", tmp_path / "link"
    files.replace(path, "one")
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o640)
    link.symlink_to(path)
    files.replace(link, "two")
    assert (path.read_text(), path.stat().st_mode & 0o777, link.is_symlink()) == ("two", 0o640, True)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a", "link"]


def test_what_cannot_be_written_changes_nothing(tmp_path: Path) -> None:
    """A text that has no encoding fails half-way: the old file is there, and no other."""
    path = tmp_path / "a"
    path.write_text("old")
    with pytest.raises(UnicodeEncodeError):
        files.replace(path, "new \ud800")
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"]


def test_bytes_that_are_no_text_survive(tmp_path: Path) -> None:
    """A comment in another encoding comes out as it went in."""
    path = tmp_path / "a"
    path.write_bytes(b"# \xe9\n")
    files.replace(path, path.read_text("utf-8", "surrogateescape"))
    assert path.read_bytes() == b"# \xe9\n"


@pytest.mark.parametrize(("before", "after"), [(b"", b"x\n"), (b"a\n", b"a\nx\n"), (b"a", b"a\nx\n")])
def test_a_line_is_a_line_of_its_own(tmp_path: Path, before: bytes, after: bytes) -> None:
    """Also behind a last line without its newline."""
    path = tmp_path / "a"
    path.write_bytes(before)
    files.append_line(path, "x\n")
    assert path.read_bytes() == after


def test_one_editor_at_a_time(tmp_path: Path) -> None:
    """Whoever comes second sees what the first has written."""
    path = tmp_path / "n"
    path.write_text("0")

    def add() -> None:
        for _ in range(20):
            with files.held(tmp_path):
                files.replace(path, str(int(path.read_text()) + 1))

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_text() == "80"
