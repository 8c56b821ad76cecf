"""fleet.stream: bytes of one host -> frames, bounded and safe, in whatever pieces they come."""

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.errors import ErrorKind
from fleet.stream import BrokenStream, FrameStream
from fleet_agent import wire
from fleet_agent.wire import Frame, Heartbeat, Hello, Session, Snapshot

HOSTILE = sorted((Path(__file__).parent / "data" / "hostile").glob("*.ndjson"))
WIRE = Path(__file__).parent / "data" / "wire"
HELLO = Hello(schema=wire.SCHEMA, agent_version="0.1.0", hostname="h", now=1.0)


def line(frame: object) -> bytes:
    return msgspec.json.encode(frame) + b"\n"


def sessions(count: int, title: str = "t") -> tuple[Session, ...]:
    return tuple(Session(tool="codex", id=f"id-{i}", title=title) for i in range(count))


def read(*pieces: bytes) -> list[Frame]:
    stream = FrameStream()
    return [frame for piece in pieces for frame in stream.feed(piece)]


def broken(*pieces: bytes) -> BrokenStream:
    with pytest.raises(BrokenStream) as caught:
        read(*pieces)
    return caught.value


def test_hello_snapshot_and_heartbeat_are_handed_out_in_order() -> None:
    """The frames of a stream, as they were sent."""
    snapshot = Snapshot(seq=1, now=2.0, sessions=sessions(2))
    heartbeat = Heartbeat(seq=2, now=3.0)
    assert read(line(HELLO) + line(snapshot), line(heartbeat)) == [HELLO, snapshot, heartbeat]


@given(st.lists(st.integers(1, 40), max_size=30))
def test_the_pieces_in_which_bytes_come_do_not_matter(cuts: list[int]) -> None:
    """Framing is invariant under chunking: TCP and SSH cut where they like (PROMISES 3)."""
    whole = b"motd\n" + line(HELLO) + line(Snapshot(seq=1, now=2.0, sessions=sessions(1, "é\x1b")))
    pieces, at = [], 0
    for cut in cuts:
        pieces.append(whole[at : at + cut])
        at += cut
    assert read(*pieces, whole[at:]) == read(whole)


@pytest.mark.parametrize("path", HOSTILE, ids=lambda p: p.stem)
def test_hostile_output_is_one_error(path: Path) -> None:
    """Every attack ends as an error of a kind, with the sessions of no half-read snapshot (PROMISES 3, 5)."""
    attack = path.read_bytes()
    stream, frames = FrameStream(), []
    with pytest.raises(BrokenStream) as caught:
        for at in range(0, len(attack), 65536):
            frames += list(stream.feed(attack[at : at + 65536]))
        stream.close()
    expected = ErrorKind.SCHEMA if path.stem.startswith("schema-") else ErrorKind.BAD_OUTPUT
    assert caught.value.kind is expected
    assert not any(isinstance(f, Snapshot) for f in frames)
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 1000


def test_of_a_key_that_comes_twice_one_value_counts() -> None:
    """The last, everywhere, as bounded and as safe as any; and none of them is wrong (PROMISES 3, 4).

    Two types of one frame are an error: tests/data/hostile/two-types.ndjson.
    """
    twice = (
        b'{"type":"snapshot","seq":1,"now":1.0,"seq":2,"sessions":[{"tool":"codex","id":"a"}],"sessions":%b}\n'
    )
    _, snapshot = read(line(HELLO) + twice % rb'[{"tool":"codex","id":"b","id":"\u001bc"}]')
    assert snapshot == Snapshot(seq=2, now=1.0, sessions=(Session(tool="codex", id="\ufffdc"),))
    assert broken(line(HELLO) + twice % b"7").kind is ErrorKind.BAD_OUTPUT
    assert broken(line(HELLO) + (twice % b"[]").replace(b'"now":1.0', b'"now":"x","now":1.0'))


@given(st.binary(max_size=2000))
def test_no_bytes_are_an_exception(noise: bytes) -> None:
    """Random bytes before or after a hello are frames, noise or a BrokenStream, nothing else."""
    for start in (b"", line(HELLO)):
        stream = FrameStream()
        try:
            list(stream.feed(start + noise))
            stream.close()
        except BrokenStream:
            pass


def test_noise_before_hello_is_skipped_and_noted() -> None:
    """A MOTD or a chatty .bashrc costs a note, not the host."""
    stream = FrameStream()
    motd = b'Welcome to Debian\n{"motd": true\n{"type": "hello"\n\n'
    assert list(stream.feed(motd + line(HELLO))) == [HELLO]
    (note,) = stream.notes
    assert "4 line(s) of other output" in note
    assert "Welcome to Debian" in note


def test_noise_is_bounded_in_lines_and_bytes() -> None:
    """Without a hello, a host is heard for 200 lines or 64 KiB, and its first words are shown."""
    assert "201 lines" in broken(b"x\n" * 300).message
    assert "without a newline" in broken(b"y" * (wire.MAX_NOISE_BYTES + 1)).message
    error = broken(b"\x1b[31mnot an agent " * 5000)
    assert error.kind is ErrorKind.BAD_OUTPUT
    assert "[31mnot an agent" in error.message
    assert "\x1b" not in error.message


def test_a_line_without_end_is_cut_off_at_the_bound() -> None:
    """The buffer never holds more than one line's bound and the piece that passed it (PROMISES 1)."""
    stream = FrameStream()
    list(stream.feed(line(HELLO)))
    with pytest.raises(BrokenStream, match="more than 1 MiB"):
        for _ in range(64):
            list(stream.feed(b"x" * 65536))
    assert len(stream._buffer) <= wire.MAX_LINE_BYTES + 65536


def test_lines_without_a_snapshot_are_cut_off_at_the_bound() -> None:
    """Frames that are skipped cannot go on for ever either."""
    stream = FrameStream()
    list(stream.feed(line(HELLO)))
    with pytest.raises(BrokenStream, match="more than 4 MiB of output without a whole snapshot"):
        for _ in range(100):
            list(stream.feed(b'{"type":"later","x":"' + b"y" * 65536 + b'"}\n'))


def test_every_text_is_made_safe_where_it_enters() -> None:
    """Escapes, bidi and controls in any field of any frame are replaced (PROMISES 4)."""
    hello = msgspec.structs.replace(HELLO, hostname="a\x1b]0;owned\x07b")
    problem = wire.Problem(kind="unreadable", message="x\x9b2J", path="/a\nb")
    session = Session(tool="codex", id="i\u202ed", title="\x7f", cwd="/é")
    got_hello, got = read(
        line(hello) + line(Snapshot(seq=1, now=1.0, sessions=(session,), problems=(problem,)))
    )
    assert isinstance(got_hello, Hello)
    assert isinstance(got, Snapshot)
    assert got_hello.hostname == "a�]0;owned�b"
    assert (got.sessions[0].id, got.sessions[0].title, got.sessions[0].cwd) == ("i�d", "�", "/é")
    assert (got.problems[0].message, got.problems[0].path) == ("x�2J", "/a�b")


def test_a_snapshot_in_parts_is_taken_when_it_is_whole() -> None:
    """Nothing of a snapshot is handed out before its last part."""
    first = Snapshot(seq=7, now=1.0, sessions=sessions(2), more=True)
    last = Snapshot(seq=7, now=1.0, sessions=sessions(1, "z"), complete=False)
    stream = FrameStream()
    list(stream.feed(line(HELLO)))
    assert list(stream.feed(line(first))) == []
    (whole,) = stream.feed(line(last))
    assert isinstance(whole, Snapshot)
    assert len(whole.sessions) == 3
    assert not whole.complete


def test_what_comes_again_is_the_same_object() -> None:
    """Sessions that did not change cost no decoding and no comparing; one that did is another, others stay."""
    stream = FrameStream()
    first = sessions(3)
    changed = (first[0], Session(tool="codex", id="id-1", title="é\x1b"), first[2])
    frames = []
    for seq, listed in enumerate((first, first, changed, changed, first[:2], first)):
        frames += list(stream.feed((line(HELLO) if not seq else b"") + line(Snapshot(seq, 2.0, listed))))
    was, again, other, other_again, fewer, more = [
        frame.sessions for frame in frames if isinstance(frame, Snapshot)
    ]
    assert [a is b for a, b in zip(was, again, strict=True)] == [True, True, True]
    assert [a is b for a, b in zip(again, other, strict=True)] == [True, False, True]
    assert other[1].title == "é\N{REPLACEMENT CHARACTER}"
    assert other[1] is other_again[1]
    assert (was, fewer, more) == (first, first[:2], first)


def test_parts_together_are_bounded_too() -> None:
    """500 sessions are the most, however many lines they come in."""
    part = Snapshot(seq=7, now=1.0, sessions=sessions(300), more=True)
    error = broken(line(HELLO), line(part), line(msgspec.structs.replace(part, more=False)))
    assert "600 sessions" in error.message


def test_frames_of_a_later_agent_are_skipped_and_counted() -> None:
    """A newer agent's frame types and fields do not break an older collector (PROMISES 17)."""
    stream = FrameStream()
    later = b'{"type":"weather","sky":["blue"]}\n{"type":"snapshot","seq":1,"now":1.0,"mood":{"a":1}}\n'
    assert [type(f) for f in stream.feed(line(HELLO) + later)] == [Hello, Snapshot]
    assert stream.skipped_frames == 1
    assert "upgrade fleet here" in stream.notes[0]


def test_what_released_agents_wrote_is_read_for_ever() -> None:
    """Every field with its value, as an agent of this schema wrote it, and nothing noted (PROMISES 17)."""
    golden = (WIRE / f"schema-{wire.SCHEMA}.ndjson").read_bytes()
    stream = FrameStream()
    frames = list(stream.feed(golden))
    stream.close()
    read_again = [msgspec.json.decode(msgspec.json.encode(frame)) for frame in frames]
    assert read_again == [msgspec.json.decode(written) for written in golden.splitlines()]
    assert stream.notes == ()


@pytest.mark.parametrize(("schema", "side"), [(2, "upgrade fleet on this machine"), (0, "upgrade fleet-agent")])
def test_another_schema_says_which_side_to_upgrade(schema: int, side: str) -> None:
    """A major version apart is an error of its own, with the side to mend."""
    error = broken(line(Hello(schema=schema, agent_version="9.9")))
    assert error.kind is ErrorKind.SCHEMA
    assert side in error.hint


@pytest.mark.parametrize(
    ("output", "words"),
    [
        (b"", "the output ended and no hello"),
        (b"command not found\n", "it began 'command not found'"),
        (line(HELLO) + b'{"type":"snap', "in the middle of a snapshot"),
        (line(HELLO) + line(Snapshot(seq=1, now=1.0, more=True)), "in the middle of a snapshot"),
    ],
)
def test_an_end_too_soon_says_what_was_missing(output: bytes, words: str) -> None:
    """The end of the output is judged by what came before it."""
    stream = FrameStream()
    list(stream.feed(output))
    with pytest.raises(BrokenStream) as caught:
        stream.close()
    assert words in caught.value.message
