"""parse/lines: a tool's output in any pieces -> lines -> events."""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from control_samples import DATA, only
from fleet_agent.control.events import MAX_OUTPUT_CHARS, Event, Failure, ToolEnded, Unknown
from fleet_agent.control.parse.exec_json import ExecJson
from fleet_agent.control.parse.lines import MAX_LINE_BYTES, LineReader

SAMPLE = (DATA / "exec_reason_note_tool_0.169.0.jsonl").read_bytes()


def echo(line: bytes) -> list[Event]:
    return [Unknown(line.decode("latin-1"))]


@given(st.lists(st.integers(0, len(SAMPLE)), max_size=12))
def test_the_pieces_in_which_output_comes_do_not_matter(cuts: list[int]) -> None:
    """A pipe may be read at any byte: the events are those of the whole."""
    reader, bounds = LineReader(ExecJson().feed), [0, *sorted(cuts), len(SAMPLE)]
    found = [event for a, b in pairwise(bounds) for event in reader.feed(SAMPLE[a:b])]
    assert found == LineReader(ExecJson().feed).feed(SAMPLE)
    assert len(found) == 9


@settings(max_examples=200)
@given(st.lists(st.sampled_from([b"a", b"bcdef", b"\n", b"\xff" * 11, b" ", b"\n\n", b"g\nh"]), max_size=20))
def test_long_lines_are_counted_whatever_the_pieces(pieces: list[bytes]) -> None:
    """Each line is handed over whole or, if too long, is one error with its exact length."""
    whole, reader = b"".join(pieces), LineReader(echo, max_line_bytes=10)
    found = [event for piece in pieces for event in reader.feed(piece)] + reader.end()
    expected = [line for line in whole.split(b"\n") if len(line) > 10 or line.strip()]
    assert [event.dropped_bytes for event in only(Failure, found)] == [len(e) for e in expected if len(e) > 10]
    told = [event.what.encode("latin-1") for event in only(Unknown, found)]
    assert told == [line for line in expected if len(line) <= 10]


def test_a_line_that_is_too_long_is_skipped_and_counted_and_the_next_one_is_read() -> None:
    """64 MiB without a newline costs one error, in order, and no memory."""
    reader = LineReader(ExecJson().feed)
    for _ in range(64):
        assert reader.feed(b"x" * (1 << 20)) == []
    (dropped, started) = reader.feed(b'x\n{"type":"turn.started"}\n')
    assert isinstance(dropped, Failure)
    assert (dropped.source, dropped.dropped_bytes) == ("stream", (64 << 20) + 1)
    assert len(dropped.message) < 300
    assert not isinstance(started, Failure)


def test_a_line_of_megabytes_is_read_and_its_text_cut_to_its_end() -> None:
    """codex writes the whole output of a command into one line: what is kept is its end."""
    output = b"a" * (MAX_LINE_BYTES - 200) + b"the end"
    item = b'{"type":"item.completed","item":{"id":"1","type":"command_execution","aggregated_output":"%b"}}\n'
    (ended,) = only(ToolEnded, LineReader(ExecJson().feed).feed(item % output))
    assert ended.output is not None
    assert len(ended.output) == MAX_OUTPUT_CHARS
    assert ended.output.endswith("the end")


def test_a_last_line_without_a_newline_is_read_at_the_end() -> None:
    """A tool that is killed may not have written its last newline."""
    reader = LineReader(ExecJson().feed)
    assert reader.feed(b'{"type":"turn.started"}') == []
    assert len(reader.end()) == 1
    assert reader.end() == []
