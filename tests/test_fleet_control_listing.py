"""fleet.control.listing: what the numbers of the last listing mean."""

from pathlib import Path

import pytest

from fleet import paths
from fleet.control import listing
from fleet.control.selectors import Listed


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    return tmp_path


def test_it_is_kept_privately(state: Path) -> None:
    """Only its owner reads what somebody works on (PROMISES 22)."""
    lines = (Listed("h", "codex", "i", "a-b", "r1"), Listed("h", "codex", None, "c-d"))
    assert listing.load() == ()
    listing.save(lines)
    assert listing.load() == lines
    path = paths.listing_path({"XDG_STATE_HOME": str(state)})
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    listing.save(())
    assert listing.load() == ()


def test_what_is_broken_means_nothing(state: Path) -> None:
    """A file that is no listing is none; a place that cannot be written is no error of the listing."""
    path = paths.listing_path({"XDG_STATE_HOME": str(state)})
    path.parent.mkdir()
    path.write_bytes(b"\xff")
    assert listing.load() == ()
    path.unlink()
    path.parent.rmdir()
    path.parent.write_text("a file")
    listing.save((Listed("h", "codex"),))
    assert listing.load() == ()
