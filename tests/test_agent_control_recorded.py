"""fleet_agent.control.recorded: what a tool has written down, from its end, since a time, behind a number."""

import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fake_codex import event, meta
from fleet_agent.control import recorded
from fleet_agent.control.events import Failure, Message, SessionStarted
from fleet_agent.control.recorded import Recorded
from fleet_agent.control.wire import Said
from fleet_agent.tail import Source

BEGUN_AT = 1_795_000_000.0
SAMPLES = Path(__file__).parent / "data/codex"


def message(number: int, padding: str = "") -> bytes:
    return event(BEGUN_AT + number, "agent_message", message=f"{number}{padding}")


def rest(record: Recorded) -> list[Said]:
    """All that there is."""
    found: list[Said] = []
    while (said := record.read()) is not None:
        found += said
    return found


def numbers(found: list[Said]) -> list[int]:
    return [int(said.event.text.strip("x")) for said in found if isinstance(said.event, Message)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A rollout of 200 messages, a second apart, some 100 bytes each."""
    written = tmp_path / "rollout.jsonl"
    written.write_bytes(meta(BEGUN_AT, "0199") + b"".join(message(n) for n in range(200)))
    return written


def test_a_long_record_is_told_from_near_its_end(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose it is, how much is left out, then whole lines to the end."""
    monkeypatch.setattr(recorded, "TAIL_BYTES", 2000)
    with Recorded(str(path), "codex") as record:
        begun, gap, *found = rest(record)
    assert isinstance(begun.event, SessionStarted)
    assert isinstance(gap.event, Failure)
    told = numbers(found)
    assert told == list(range(told[0], 200))
    left_out = path.read_bytes()[: gap.event.dropped_bytes]
    assert left_out.endswith(b"\n")
    assert 2000 <= path.stat().st_size - len(left_out) < 2200
    assert (gap.seq, begun.seq > 0) == (0, True)


@pytest.mark.parametrize("near_bytes", [1, 500, 1 << 20])
@pytest.mark.parametrize("since", [-5, 0, 1, 77, 77.5, 199, 300])
def test_since_a_time(path: Path, since: float, near_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What has that time or a later one, wherever the search by halves begins and ends."""
    monkeypatch.setattr(recorded, "_NEAR_BYTES", near_bytes)
    with Recorded(str(path), "codex", since_at=BEGUN_AT + since) as record:
        found = rest(record)
    assert numbers(found) == [n for n in range(200) if n >= since]


def test_a_time_is_found_without_reading_all(tmp_path: Path) -> None:
    """Of 60 MiB a few are read: it is searched for."""
    path = tmp_path / "rollout.jsonl"
    with path.open("wb") as file:
        file.write(meta(BEGUN_AT, "0199"))
        file.writelines(message(n, "x" * 60_000) for n in range(1000))
    before = Source.read_bytes
    with Recorded(str(path), "codex", since_at=BEGUN_AT + 990) as record:
        assert numbers(rest(record)) == list(range(990, 1000))
    assert Source.read_bytes - before < 16 << 20


@pytest.mark.parametrize(
    "sample", ["exec_tool", "old_0.36.0_tools", "exec_spawn_v2.child1", "old_0.21.0_tools"]
)
def test_going_on_behind_any_event(sample: str) -> None:
    """Numbers rise, are the same for each reader, and behind any of them comes exactly the rest."""
    path = str(SAMPLES / f"{sample}.jsonl")
    with Recorded(path, "codex") as record:
        whole = rest(record)
    seqs = [said.seq for said in whole]
    assert seqs == sorted(set(seqs))
    for place, said in enumerate(whole, 1):
        with Recorded(path, "codex", after_seq=said.seq) as record:
            later = rest(record)
        assert [(one.seq, type(one.event)) for one in later] == [(o.seq, type(o.event)) for o in whole[place:]]


def test_a_number_of_another_record(path: Path) -> None:
    """A terminal has come to another session meanwhile: that is told whole."""
    with Recorded(str(path), "codex", after_seq=path.stat().st_size + 1) as record:
        assert numbers(rest(record)) == list(range(200))


def test_only_what_is_appended(path: Path) -> None:
    """From now on: nothing of before, and a line as soon as it is whole."""
    with Recorded(str(path), "codex", from_now=True) as record, path.open("ab") as file:
        assert rest(record) == []
        line = message(200)
        file.write(line[:50])
        file.flush()
        assert rest(record) == []
        file.write(line[50:] + message(201))
        file.flush()
        assert numbers(rest(record)) == [200, 201]


def test_lines_that_cannot_be_read(path: Path) -> None:
    """One that is too long, and one that is no JSON: told with their size, and the next ones are read."""
    with path.open("ab") as file:
        file.write(message(200, "x" * (5 << 20)) + b"no JSON\n" + message(201))
    with Recorded(str(path), "codex", since_at=BEGUN_AT + 199) as record:
        _, long, bad, last = rest(record)
    assert isinstance(long.event, Failure)
    assert isinstance(bad.event, Failure)
    assert long.event.dropped_bytes > 5 << 20
    assert (bad.event.source, bad.event.dropped_bytes) == ("stream", 7)
    assert numbers([last]) == [201]


def test_a_record_without_times(tmp_path: Path) -> None:
    """0.21 dated its first line alone; a file that has none is as old as its last change."""
    with Recorded(str(SAMPLES / "old_0.21.0_tools.jsonl"), "codex") as record:
        begun = datetime(2026, 11, 21, 2, 53, 40, 193_000, UTC).timestamp()
        assert {said.at for said in rest(record)} == {begun}
    undated = tmp_path / "rollout.jsonl"
    undated.write_bytes(b'{"type":"message","role":"assistant","content":[{"text":"1"}]}\n')
    with Recorded(str(undated), "codex", since_at=time.time() - 60) as record:
        assert numbers(rest(record)) == [1]


def test_an_empty_record(tmp_path: Path) -> None:
    """Nothing, until something comes."""
    path = tmp_path / "x.jsonl"
    path.touch()
    with Recorded(str(path), "claude", from_now=True) as record:
        assert record.read() is None
