"""Rows of cells -> lines of a table. Pure."""

from collections.abc import Sequence

from fleet.views import cells
from fleet.views.lines import Line, Style

GAP = "  "


def columns(
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    styles: Sequence[Style | None],
    width: int | None,
) -> list[Line]:
    """A heading and a line a row, columns as wide as their widest cell. No line is wider than `width` cells."""
    widths = [max(map(cells.width, column)) for column in zip(headings, *rows, strict=True)]
    heading: Line = ((_line(headings, widths, width), Style.HEADER),)
    styled = zip(rows, styles, strict=True)
    return [heading, *(((_line(row, widths, width), style),) for row, style in styled)]


def _line(row: Sequence[str], widths: Sequence[int], width: int | None) -> str:
    text = GAP.join(map(cells.ljust, row, widths)).rstrip()
    return text if width is None else cells.clip(text, width)
