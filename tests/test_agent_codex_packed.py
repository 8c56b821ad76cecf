"""fleet_agent.tools.codex.packed: compressed rollouts, with and without a Python that reads Zstandard."""

import importlib.util
from pathlib import Path

import pytest

from fake_codex import rollout_path, sample, thread_id
from fleet_agent.tail import Budget
from fleet_agent.tools.codex import packed
from fleet_agent.tools.codex.packed import PackedFile

UNREADABLE_HERE = importlib.util.find_spec("compression") is None
needs_zstd = pytest.mark.skipif(UNREADABLE_HERE, reason="Python reads Zstandard from 3.14 on")
# "hello\n", as one raw block: RFC 8878, 3.1.1
HELLO = bytes.fromhex("28b52ffd 2006 310000") + b"hello\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    plain = rollout_path(tmp_path, thread_id())
    return plain.with_name(f"{plain.name}.zst")


def polled(path: Path) -> PackedFile:
    file = PackedFile(str(path), want_prompt=False)
    file.poll(Budget(1 << 20))
    return file


def test_without_a_reader_it_is_listed_and_not_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its size and times are known; that it cannot be unpacked is no fault of the file."""
    monkeypatch.setattr(packed, "zstd_module", lambda: None)
    path.write_bytes(HELLO)
    file = polled(path)
    assert (file.facts, file.fault, file.size_bytes) == (None, None, len(HELLO))
    assert file.modified_at == pytest.approx(path.stat().st_mtime)


def test_a_file_that_is_gone_is_a_fault(path: Path) -> None:
    """As with a plain one."""
    file = polled(path)
    assert file.gone
    assert file.fault


@needs_zstd
def test_it_is_read_like_a_plain_one(path: Path) -> None:
    """The same facts, from the first line to the last; and again only when it changed."""
    zstd = packed.zstd_module()
    assert zstd is not None
    path.write_bytes(zstd.compress(sample("exec_fail429")))
    file = polled(path)
    assert file.facts is not None
    assert file.facts.turn is not None
    assert (file.facts.turn.status, file.facts.meta.version) == ("failed", "0.169.0")
    assert file.facts.last_error == "response_too_many_failed_attempts, HTTP 429"
    before = file.facts
    file.poll(Budget(1 << 20))
    assert file.facts is before


@needs_zstd
def test_one_that_was_away_is_read_again(path: Path) -> None:
    """Though it comes back as the file that it was."""
    zstd = packed.zstd_module()
    assert zstd is not None
    path.write_bytes(zstd.compress(sample("exec_tool")))
    file = polled(path)
    path.rename(path.with_name("away"))
    file.poll(Budget(1 << 20))
    assert file.gone
    path.with_name("away").rename(path)
    file.poll(Budget(1 << 20))
    assert (file.gone, file.fault) == (False, None)


@needs_zstd
@pytest.mark.parametrize("data", [b"no zstd at all", HELLO[:-3], b""])
def test_a_broken_one_is_a_fault(path: Path, data: bytes) -> None:
    """Garbage and a file that is still being written."""
    path.write_bytes(data)
    file = polled(path)
    assert file.facts is None
    assert data == b"" or (file.fault or "").startswith("it is no whole Zstandard file")


@needs_zstd
def test_a_bomb_is_not_unpacked(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Past its bound nothing more is read, and nothing is claimed of it."""
    zstd = packed.zstd_module()
    assert zstd is not None
    monkeypatch.setattr(packed, "MAX_UNPACKED_BYTES", 1 << 20)
    path.write_bytes(zstd.compress(sample("exec_tool") + b"x" * (2 << 20)))
    assert polled(path).facts is None


@needs_zstd
def test_a_bomb_of_lines_is_not_read(path: Path) -> None:
    """However little room they take, packed or not."""
    zstd = packed.zstd_module()
    assert zstd is not None
    path.write_bytes(zstd.compress(sample("exec_tool") + b"\n" * 2_000_000))
    assert polled(path).facts is None


@needs_zstd
def test_the_memory_that_one_asks_for_is_bounded(path: Path) -> None:
    """A file of a few bytes may ask a reader to hold 128 MiB of what it unpacks."""
    zstd = packed.zstd_module()
    assert zstd is not None
    log = zstd.CompressionParameter.window_log
    for window_log, is_read in ((packed.MAX_WINDOW_LOG, True), (27, False)):
        compressor = zstd.ZstdCompressor(options={log: window_log})
        path.write_bytes(compressor.compress(sample("exec_tool")) + compressor.flush())
        assert (polled(path).facts is not None) is is_read
