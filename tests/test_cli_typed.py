"""fleet.cli.sessions.typed, inputline, spans: what is typed while a session is attached, and spans of time."""

import pytest
import typer

from fleet.cli.sessions.inputline import InputLine
from fleet.cli.sessions.spans import seconds_of, since
from fleet.cli.sessions.typed import request
from fleet.errors import UsageError
from fleet.views.cells import width
from fleet_agent.control.events import ApprovalRequested, Asked, Question
from fleet_agent.control.wire import Answer, Decide, Interrupt, Send, Target

T = Target(id="i")
R1, R2 = ApprovalRequested("r1", "command"), ApprovalRequested("r2", "command")
Q = Asked("q1", (Question("c", "Which?"), Question("d", "Why?")))


@pytest.mark.parametrize(
    ("line", "asked"),
    [
        ("fix it", Send(target=T, text="fix it", by="me")),
        ("  indented\n  twice", Send(target=T, text="  indented\n  twice", by="me")),
        ("//etc is a path", Send(target=T, text="/etc is a path", by="me")),
        ("   ", None),
        ("/interrupt", Interrupt(target=T, by="me")),
        ("/approve", Decide(target=T, decision="accept", request_id="r1", by="me")),
        ("/approve session", Decide(target=T, decision="accept_for_session", request_id="r1", by="me")),
        ("/deny r1 cancel", Decide(target=T, decision="cancel", request_id="r1", by="me")),
        (
            "/answer red; d=so",
            Answer(target=T, answers={"c": ("red",), "d": ("so",)}, request_id="q1", by="me"),
        ),
    ],
)
def test_what_a_line_asks_for(line: str, asked: object) -> None:
    """Text is said as it stands; a decision is of the request that was seen, by its id."""
    assert request(line, T, [R1, Q], "me") == asked


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("/approve", "2 requests are open"),
        ("/approve r9", "no such approval is open"),
        ("/answer x", "it is an approval that is open"),
        ("/etc/passwd", "there is no /etc/passwd"),
        ("/help", "Ctrl-D"),
    ],
)
def test_what_a_line_cannot_ask_for(line: str, words: str) -> None:
    """A slip of the keys is never said to the session."""
    with pytest.raises(UsageError, match=words.replace("(", r"\(")):
        request(line, T, [R1, R2], "me")


@pytest.mark.parametrize(
    ("keys", "lines", "left"),
    [
        (b"hi\r", ["hi"], ""),
        (b"a\nb\n", ["a", "b"], ""),
        (b"ab\x7fc", [], "ac"),
        (b"one two\x17x", [], "one x"),
        (b"gone\x15", [], ""),
        ("é日".encode(), [], "é日"),
        (b"a\x1b[Db\x1bOAc\x1b[1;5Cd", [], "abcd"),
        (b"\x1b[200~one\ntwo\n\x1b[201~\r", ["one\ntwo\n"], ""),
        (b"a\x04", [], "a"),
    ],
)
def test_keys_make_lines(keys: bytes, lines: list[str], left: str) -> None:
    """However they come: one by one, or together; a pasted line end sends nothing."""
    whole, one_by_one = InputLine(), InputLine()
    assert whole.feed(keys) == lines
    assert [line for i in range(len(keys)) for line in one_by_one.feed(keys[i : i + 1])] == lines
    assert whole.text == one_by_one.text == left
    assert not whole.has_ended


def test_the_end_of_input_is_on_an_empty_line() -> None:
    """Ctrl-D behind text ends nothing."""
    line = InputLine()
    line.feed(b"\x04")
    assert line.has_ended


def test_the_line_fits_the_terminal() -> None:
    """Its end is what is seen; nothing raw of it, and a line end as a sign."""
    line = InputLine()
    line.feed(b"\x1b[200~" + "日本\n".encode() * 40 + b"\x1b[201~\tend")
    assert width(line.shown(80)) <= 80
    assert line.shown(80).endswith("⏎�end")
    assert line.shown(80).startswith("> …")


def test_spans_and_moments() -> None:
    """Ago is by the clock that is given; a time is itself."""
    assert [seconds_of(text) for text in ("90s", "10m", "2h", "7d")] == [90, 600, 7200, 604_800]
    assert since("10m", 1000.0) == 400.0
    assert since("2d", 1000.0) == 0.0
    assert since("1970-01-01T00:10:00Z", 5.0) == 600.0
    for wrong in ("10", "m", "-1m", "tomorrow", "\u0661m"):
        with pytest.raises(typer.BadParameter):
            since(wrong, 1.0)
