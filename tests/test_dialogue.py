"""fleet.dialogue: what a control agent says, bounded and made safe; what it is asked, untouched."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.dialogue import ReplyStream, request_line
from fleet.errors import ErrorKind, UsageError
from fleet.stream import BrokenStream
from fleet_agent.control.events import ApprovalRequested, Message, ToolEnded, Unknown
from fleet_agent.control.wire import Done, Pending, Refused, Reply, Run, Said, Send, Stderr, Target
from fleet_agent.wire import MAX_LINE_BYTES, SCHEMA, Hello

HELLO = msgspec.json.encode(Hello(schema=SCHEMA, now=1.0)) + b"\n"


def line(reply: object) -> bytes:
    return msgspec.json.encode(reply) + b"\n"


def read(*pieces: bytes) -> list[Hello | Reply]:
    stream = ReplyStream()
    return [reply for piece in (HELLO, *pieces) for reply in stream.feed(piece)][1:]


REPLIES = (
    Said(Message("hi"), 2.0, 1),
    Stderr("oops\n"),
    Run("calm-otter", "codex", "exec", "running", 1.0),
    Pending("id", "codex", ApprovalRequested("r", "command", command="ls")),
    Refused("stale", "gone", "look again", ("a", "b")),
    Done("sent"),
)


def test_every_reply_comes_through() -> None:
    """As it was sent, in order."""
    assert read(*map(line, REPLIES)) == list(REPLIES)


@given(st.lists(st.integers(1, 60), max_size=40))
def test_the_pieces_in_which_bytes_come_do_not_matter(cuts: list[int]) -> None:
    """Framing is invariant under chunking (PROMISES 3)."""
    whole, pieces, at = b"motd\n" + HELLO + b"".join(map(line, REPLIES)), [], 0
    for cut in cuts:
        pieces.append(whole[at : at + cut])
        at += cut
    stream = ReplyStream()
    replies = [reply for piece in (*pieces, whole[at:]) for reply in stream.feed(piece)]
    assert replies[1:] == list(REPLIES)
    assert stream.noise_lines == 1


def test_nothing_of_a_host_comes_raw() -> None:
    """Every string is made safe; only in texts of several lines do line ends stay (PROMISES 4)."""
    evil = "a\x1b[31m\u202e\nb\tc"
    said = Said(ToolEnded("c\x07\n", command=evil, output="1\r\n2\x9b"), 2.0)
    (made,) = read(line(said))
    assert isinstance(made, Said)
    assert made.event == ToolEnded("c��", command="a�[31m�\nb\tc", output="1\n2�")
    pending = Pending("i\n", "codex", ApprovalRequested("r\x00", "command", command=evil), title=evil)
    (told,) = read(line(pending))
    assert isinstance(told, Pending)
    assert (told.session_id, told.request.request_id, told.title) == ("i�", "r�", "a�[31m��b�c")
    assert isinstance(told.request, ApprovalRequested)
    assert told.request.command == "a�[31m�\nb\tc"


def test_what_only_a_newer_agent_knows_is_passed_over() -> None:
    """An unknown event is said to be one; unknown replies and requests are skipped and counted."""
    stream = ReplyStream()
    new = b'{"type":"said","at":2.0,"seq":7,"event":{"type":"dreamt\\u001b","x":[1]}}\n'
    other = b'{"type":"sang"}\n{"type":"pending","session_id":"i","tool":"codex","request":{"type":"wished"}}\n'
    replies = list(stream.feed(HELLO + new + other + line(Done())))
    assert replies[1:] == [Said(Unknown("dreamt�"), 2.0, 7), Done()]
    assert stream.skipped_frames == 2
    assert "upgrade fleet" in stream.notes[0]


@pytest.mark.parametrize(
    "bad",
    [
        b"not json\n",
        b'{"type":"said","at":-1,"event":{"type":"message","text":"x"}}\n',
        b'{"type":"said","at":1,"event":{"type":"message"}}\n',
        b'{"type":"said","at":1}\n',
        b'{"type":"refused","kind":1,"message":""}\n',
        b"[" * 100_000 + b"\n",
        b'{"type":"stderr","text":"\xff"}\n',
        HELLO,
        b'{"type":"done","message":"' + b"x" * MAX_LINE_BYTES + b'"}\n',
    ],
    ids=["text", "time", "event", "no-event", "kind", "deep", "utf-8", "hello", "long"],
)
def test_what_breaks_a_rule_ends_the_dialogue(bad: bytes) -> None:
    """Wrong types, depth, encoding, length: one error, nothing taken of it (PROMISES 1, 3)."""
    with pytest.raises(BrokenStream) as caught:
        read(bad)
    assert caught.value.kind is ErrorKind.BAD_OUTPUT


def test_noise_and_silence_are_told_apart_from_an_agent() -> None:
    """A MOTD is passed over within its bound; no hello at all is an error with a sample."""
    stream = ReplyStream()
    with pytest.raises(BrokenStream, match="no hello"):
        list(stream.feed(b"welcome\n" * 300))
    ended = ReplyStream()
    list(ended.feed(b"bash: fleet-agent"))
    with pytest.raises(BrokenStream, match="bash: fleet-agent"):
        ended.close()


def test_an_output_that_ends_inside_a_line_is_said_to() -> None:
    """The rest of a reply never comes."""
    stream = ReplyStream()
    list(stream.feed(HELLO + b'{"type":"done"'))
    with pytest.raises(BrokenStream, match="middle of a line"):
        stream.close()


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=300))
def test_what_is_asked_is_not_touched(text: str) -> None:
    """A prompt arrives as it was written, on one line."""
    asked = Send(target=Target(id="x"), text=text)
    sent = request_line(asked)
    assert sent.count(b"\n") == 1
    assert msgspec.json.decode(sent, type=Send) == asked


def test_a_request_that_no_host_would_take_is_not_sent() -> None:
    """1 MiB with all that JSON makes of it."""
    with pytest.raises(UsageError, match="too long"):
        request_line(Send(target=Target(id="x"), text="\x01" * 400_000))
