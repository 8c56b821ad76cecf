"""Standard output: how wide it is, whether it takes colour, and writing to it."""

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from fleet.views.lines import INDENT, Line, Style, plain

# Select Graphic Rendition: of the eight basic colours those that are readable on light and on dark ground.
_SGR = {
    Style.HEADER: "1",
    Style.WAITING: "1;35",
    Style.FAILED: "31",
    Style.WORKING: "32",
    Style.QUIET: "2",
}
_HOME, _CLEAR_LINE, _CLEAR_BELOW = "\x1b[H", "\x1b[K", "\x1b[J"


class Terminal(NamedTuple):
    """What standard output is. `width` and `height` in cells, None where it is not a terminal."""

    width: int | None
    height: int | None
    colour: bool


def terminal() -> Terminal:
    """What standard output is now; a window may have changed its size since the last time."""
    is_tty = sys.stdout is not None and sys.stdout.isatty()
    colour = wants_colour(os.environ, is_tty=is_tty)
    if not is_tty:
        return Terminal(None, None, colour)
    width, height = shutil.get_terminal_size()
    return Terminal(width, height, colour)


def wants_colour(environ: Mapping[str, str], *, is_tty: bool) -> bool:
    """By NO_COLOR, else by CLICOLOR_FORCE, else on a terminal that has it.

    https://no-color.org: any value but the empty one counts. https://bixense.com/clicolors: any value but 0.
    """
    if environ.get("NO_COLOR"):
        return False
    if environ.get("CLICOLOR_FORCE", "") not in ("", "0"):
        return True
    return is_tty and environ.get("TERM") != "dumb"


def paint(lines: Sequence[Line], colour: bool) -> list[str]:
    """The lines as text, with escape sequences for their styles if `colour`."""
    return ["".join(_span(text, style if colour else None) for text, style in line) for line in lines]


def frame(lines: Sequence[Line], to: Terminal) -> str:
    """The lines, drawn over what is on the screen from its top: nothing is cleared that is drawn again.

    What does not fit is cut above the summary, the last line and what continues it, and the cut is said.
    """
    assert to.height is not None
    drawn = paint(lines, to.colour)
    if len(drawn) >= to.height:
        ending = min(_ending(lines), max(1, to.height - 2))
        room = max(0, to.height - 2 - ending)
        more = len(drawn) - room - ending
        left_out = f"... {more} more lines; a taller window or fewer hosts (--host) shows them"
        drawn = [*drawn[:room], left_out[: to.width], *drawn[-ending:]]
    return _HOME + "".join(f"{line}{_CLEAR_LINE}\n" for line in drawn) + _CLEAR_BELOW


def _ending(lines: Sequence[Line]) -> int:
    """How many lines the summary takes: the last that continues none, and those that continue it."""
    return next((n for n, line in enumerate(reversed(lines), 1) if not plain(line).startswith(INDENT)), 1)


def _span(text: str, style: Style | None) -> str:
    return f"\x1b[{_SGR[style]}m{text}\x1b[0m" if style and text else text


def write(data: bytes | str) -> bool:
    """Write to standard output, at once. False when nobody reads it any more, which is no error.

    What the output's encoding lacks becomes a question mark. Exits 1 when it cannot be written, on a full disk.
    """
    if sys.stdout is None:
        return False
    raw = data if isinstance(data, bytes) else data.encode(sys.stdout.encoding, "replace")
    try:
        sys.stdout.buffer.write(raw)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        # Python flushes once more when it exits; let that go nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return False
    except OSError as exc:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(f"fleet: cannot write the output: {exc.strerror}")
    return True
