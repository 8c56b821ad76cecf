"""The document -> what is written for it."""

from typing import NamedTuple

from fleet.cli.options import Format
from fleet.cli.terminal import Terminal, frame, paint
from fleet.views.document import encode
from fleet.views.entries import Document
from fleet.views.export import csv_table, ndjson
from fleet.views.lines import Line
from fleet.views.table import table


class View(NamedTuple):
    """What is asked for. `configured`: whether there is a configuration file."""

    format: Format
    why: bool
    configured: bool


def once(now: Document, view: View, to: Terminal) -> bytes | str:
    """The state as one view of its own."""
    if view.format is Format.JSON:
        return encode(now)
    if view.format is Format.NDJSON:
        return ndjson(now)
    if view.format is Format.CSV:
        return csv_table(now).encode()
    return _joined(paint(_table(now, view, to), to.colour))


def again(now: Document, view: View, to: Terminal) -> bytes | str:
    """The state as one of many: JSON on a line, tables with a blank line after each, or drawn over the last."""
    if view.format is Format.JSON:
        return encode(now, indent=False)
    if view.format is Format.NDJSON:
        return ndjson(now)
    lines = _table(now, view, to)
    return frame(lines, to) if to.height else _joined([*paint(lines, to.colour), ""])


def _table(now: Document, view: View, to: Terminal) -> list[Line]:
    return table(now, width=to.width, why=view.why, configured=view.configured)


def _joined(lines: list[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
