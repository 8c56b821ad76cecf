"""Colour, frames and what the exit code says; pure."""

import pytest

from fleet.cli.options import FailOn
from fleet.cli.outcome import exit_code
from fleet.cli.terminal import Terminal, frame, paint, wants_colour
from fleet.errors import ExitCode
from fleet.views.lines import INDENT, Line, Style


@pytest.mark.parametrize(
    ("environ", "on_tty", "on_pipe"),
    [
        ({}, True, False),
        ({"NO_COLOR": "1"}, False, False),
        ({"NO_COLOR": ""}, True, False),
        ({"CLICOLOR_FORCE": "1"}, True, True),
        ({"CLICOLOR_FORCE": "0"}, True, False),
        ({"CLICOLOR_FORCE": "1", "NO_COLOR": "1"}, False, False),
        ({"TERM": "dumb"}, False, False),
    ],
)
def test_colour(environ: dict[str, str], on_tty: bool, on_pipe: bool) -> None:
    """NO_COLOR goes before CLICOLOR_FORCE, and that before whether it is a terminal."""
    assert wants_colour(environ, is_tty=True) is on_tty
    assert wants_colour(environ, is_tty=False) is on_pipe


@pytest.mark.parametrize(
    ("failed", "hosts", "fail_on", "code"),
    [
        (0, 1, FailOn.ANY, 0),
        (1, 2, FailOn.ANY, 4),
        (1, 2, FailOn.ALL, 0),
        (1, 2, FailOn.NONE, 0),
        (2, 2, FailOn.ANY, 5),
        (2, 2, FailOn.ALL, 5),
        (2, 2, FailOn.NONE, 0),
        (0, 0, FailOn.ANY, 0),
    ],
)
def test_exit_codes(failed: int, hosts: int, fail_on: FailOn, code: int) -> None:
    """4 some hosts failed, 5 all did, as far as --fail-on wants to know; they are words of `ExitCode`."""
    assert exit_code(failed, hosts, fail_on) == code
    assert code in set(ExitCode)


def _lines(count: int) -> list[Line]:
    return [((f"line {i}", None),) for i in range(1, count + 1)]


def test_a_frame_is_drawn_over_the_last() -> None:
    """It begins at the top of the screen, and clears only what each line and the end leave over."""
    assert frame(_lines(2), Terminal(80, 24, colour=False)) == "\x1b[Hline 1\x1b[K\nline 2\x1b[K\n\x1b[J"


@pytest.mark.parametrize("count", [22, 23, 24, 60])
def test_a_frame_never_scrolls(count: int) -> None:
    """It has fewer lines than the screen; the summary stays, and what is left out is counted."""
    drawn = frame(_lines(count), Terminal(80, 24, colour=False)).split("\n")[:-1]
    assert len(drawn) <= 23
    assert f"line {count}" in drawn[-1]
    if count > 23:
        assert drawn[-2].startswith(f"... {count - 22} more lines")
        assert len(drawn[-2]) <= 80 + len("\x1b[K")


def test_a_summary_of_several_lines_stays_whole() -> None:
    """On a narrow terminal it wraps: what continues it is indented, and is not cut from it."""
    lines = [*_lines(30), (("3 hosts up; 12 sessions:", None),), ((f"{INDENT}1 waiting", None),)]
    drawn = frame(lines, Terminal(30, 10, colour=False)).replace("\x1b[K", "").split("\n")[:-1]
    assert drawn[-2:] == ["3 hosts up; 12 sessions:", f"{INDENT}1 waiting"]
    assert drawn[-3].startswith("... 24 more lines")
    assert len(drawn) == 9
    assert len(frame(lines[-1:] * 9, Terminal(30, 4, colour=False)).split("\n")) <= 4


def test_paint() -> None:
    """Styles become escape sequences only with colour."""
    line: Line = (("a ", None), ("b", Style.WAITING))
    assert paint([line], colour=False) == ["a b"]
    assert paint([line], colour=True) == ["a \x1b[1;35mb\x1b[0m"]


def test_every_style_has_a_look() -> None:
    """No style is forgotten."""
    for style in Style:
        assert paint([(("x", style),)], colour=True) != ["x"]
