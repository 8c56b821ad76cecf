"""The recorded screens of tests/data/screens, and a program that paints them into a terminal."""

import json
import sys
from pathlib import Path
from typing import NamedTuple

SCREENS = Path(__file__).parent / "data/screens"
PAINTER = """\
import json, os, signal, sys, tty
frames = json.load(open(sys.argv[1]))
log = open(sys.argv[2], "ab", buffering=0)
tty.setraw(0)
signal.signal(signal.SIGCONT, lambda *_: tty.setraw(0))  # a shell took the terminal meanwhile
got = b""
for frame in frames:
    os.write(1, frame["paint"].encode())
    while (until := frame["until"].encode("latin-1")) not in got or not until:
        read = os.read(0, 65536)
        if not read:
            sys.exit(0)
        log.write(read)
        got += read
    got = b""
"""


class Recorded(NamedTuple):
    """A screen as it was captured; `row` and `shows` of its cursor."""

    captured: str
    column: int
    row: int
    shows: bool


def recorded(name: str) -> Recorded:
    """The screen of this name; `NAME@COLUMN`: with its cursor in that column."""
    name, _, at = name.partition("@")
    first, _, captured = (SCREENS / f"{name}.ansi").read_text().partition("\n")
    column, row, shows = first.split()
    return Recorded(captured, int(at or column), int(row), shows == "1")


def painter(directory: Path, *frames: tuple[str, str]) -> tuple[tuple[str, ...], Path]:
    """A command that paints screens, each until it has got an input; and the log of all that it gets.

    `frames`: name of a screen, and the input; "" is for ever.
    """
    shown = [{"paint": _paint(recorded(name)), "until": until} for name, until in frames]
    (directory / "frames.json").write_text(json.dumps(shown))
    (directory / "painter.py").write_text(PAINTER)
    log = directory / "input.log"
    log.touch()
    files = (directory / "painter.py", directory / "frames.json", log)
    return (sys.executable, "-I", *map(str, files)), log


def _paint(screen: Recorded) -> str:
    body = screen.captured.replace("\n", "\x1b[0m\r\n")  # codes that go on over a line's end come again with it
    cursor = f"\x1b[{screen.row + 1};{screen.column + 1}H\x1b[?25{'h' if screen.shows else 'l'}"
    return f"\x1b[?2004h\x1b[2J\x1b[H\x1b[0m{body}\x1b[0m{cursor}"
