"""fleet_agent.tools.codex.names: the names of threads, as a home's session_index.jsonl has them."""

from pathlib import Path

import pytest

from fake_codex import named, thread_id
from fleet_agent.tools.codex.names import Names


def test_the_last_line_of_a_thread_wins(tmp_path: Path) -> None:
    """The index is append-only; a name that was taken back is none."""
    a, b = thread_id(), thread_id()
    (tmp_path / "session_index.jsonl").write_text(
        named(a, "one") + "not json\n[]\n" + named(b, "b") + named(a, "two")
    )
    names = Names(str(tmp_path))
    names.poll()
    assert (names.get(a), names.get(b), names.get(thread_id())) == ("two", "b", None)
    with (tmp_path / "session_index.jsonl").open("a") as file:
        file.write(named(b, None))
    names.poll()
    assert (names.get(a), names.get(b)) == ("two", None)


def test_a_name_that_codex_may_have_made_of_a_prompt_is_not_a_given_one(tmp_path: Path) -> None:
    """PROMISES 13: the first one may be, also when it is said again or comes after one was taken back."""
    first, again, back, given = (thread_id() for _ in range(4))
    lines = [named(thread, "made of a prompt") for thread in (first, again, again, back, given)]
    lines += [named(back, None), named(back, "made anew"), named(given, "mine"), named(given, "mine")]
    (tmp_path / "session_index.jsonl").write_text("".join(lines))
    names, all_names = Names(str(tmp_path), given_only=True), Names(str(tmp_path))
    names.poll()
    all_names.poll()
    assert [names.get(thread) for thread in (first, again, back, given)] == [None, None, None, "mine"]
    assert all_names.get(first) == "made of a prompt"


def test_a_home_without_an_index_has_no_names(tmp_path: Path) -> None:
    """Releases before 0.101 write none; a later one may appear, or be replaced by a shorter one."""
    names, a = Names(str(tmp_path)), thread_id()
    names.poll()
    assert names.get(a) is None
    (tmp_path / "session_index.jsonl").write_text(named(a, "a rather long name"))
    names.poll()
    assert names.get(a) == "a rather long name"
    (tmp_path / "session_index.jsonl").write_text(named(a, "x"))
    names.poll()
    assert names.get(a) == "x"


def test_an_index_that_goes_takes_its_names_along(tmp_path: Path) -> None:
    """And brings them back, as the same file."""
    index, names, a = tmp_path / "session_index.jsonl", Names(str(tmp_path)), thread_id()
    index.write_text(named(a, "a"))
    names.poll()
    index.rename(tmp_path / "aside")
    names.poll()
    assert names.get(a) is None
    (tmp_path / "aside").rename(index)
    names.poll()
    assert names.get(a) == "a"


def test_an_index_that_cannot_be_read_stays_an_error(tmp_path: Path) -> None:
    """At every look, until it can be read: a problem that is told once is taken for one that has gone."""
    index, names, a = tmp_path / "session_index.jsonl", Names(str(tmp_path)), thread_id()
    index.mkdir()
    for _ in range(3):
        with pytest.raises(OSError, match="not a regular file"):
            names.poll()
    index.rmdir()
    index.write_text(named(a, "a"))
    names.poll()
    assert names.get(a) == "a"


def test_a_huge_index_is_read_from_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading and memory are bounded; the newest names are the ones kept."""
    monkeypatch.setattr("fleet_agent.tools.codex.names.MAX_READ_BYTES", 5000)
    monkeypatch.setattr("fleet_agent.tools.codex.names.MAX_NAMES", 10)
    threads = [thread_id() for _ in range(200)]
    (tmp_path / "session_index.jsonl").write_text("".join(named(t, t[:8]) for t in threads))
    names = Names(str(tmp_path))
    names.poll()
    assert [t for t in threads if names.get(t)] == threads[-10:]
