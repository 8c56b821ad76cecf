"""The table of `fleet hosts`: one line a host, and how fleet's link to it does. Pure.

In a pipe the error is its last column; on a terminal it stands below, whole and with its fix.
"""

from collections.abc import Iterable, Iterator, Sequence

from fleet.model import Link
from fleet.views import cells, units
from fleet.views.entries import Document, HostEntry
from fleet.views.footer import by_cause, said
from fleet.views.lines import Line, Style

GAP = "  "
_HEADINGS = ("HOST", "LINK", "SINCE", "AGE", "SESSIONS", "ATTEMPTS", "RETRY", "SKEW", "ERROR")
_STYLES = {Link.DOWN: Style.FAILED, Link.STALE: Style.FAILED, Link.SLOW: Style.WAITING, Link.UP: Style.WORKING}
_SKEW_SHOWN_S = 2.0  # less is the time that a frame takes


def links(document: Document, now_at: float, width: int | None) -> list[Line]:
    """The lines; `now_at` is the wall clock in epoch seconds. No line is wider than `width` cells."""
    errors = {error.host: f"{error.kind} ({error.phase}): {error.message}" for error in document.host_errors}
    columns = len(_HEADINGS) if width is None else len(_HEADINGS) - 1
    rows = [_cells(host, errors.get(host.name, ""), now_at)[:columns] for host in document.hosts]
    widths = _widths([_HEADINGS[:columns], *rows])
    heading = ((_line(_HEADINGS[:columns], widths, width), Style.HEADER),)
    lines = [heading, *_lines(document.hosts, rows, widths, width)]
    if width is None or not errors:
        return lines
    return [*lines, (), *(line for same in by_cause(document.host_errors) for line in said(same, width))]


def _lines(
    hosts: Sequence[HostEntry], rows: Sequence[tuple[str, ...]], widths: Sequence[int], width: int | None
) -> Iterator[Line]:
    for host, row in zip(hosts, rows, strict=True):
        yield ((_line(row, widths, width), _STYLES.get(host.link)),)


def _cells(host: HostEntry, error: str, now_at: float) -> tuple[str, ...]:
    return (
        host.name,
        str(host.link),
        units.age(_ago(host.since_at, now_at)),
        units.age(host.age_s),
        units.UNKNOWN if host.session_count is None else str(host.session_count),
        str(host.attempts),
        units.age(_ago(host.next_retry_at, now_at, -1)) if host.next_retry_at else units.UNKNOWN,
        _skew(host.skew_s),
        error or units.UNKNOWN,
    )


def _ago(at: str | None, now_at: float, sign: int = 1) -> float | None:
    """Seconds since (or, with sign -1, until) an RFC 3339 time of our own clock."""
    then = units.epoch(at)
    return None if then is None else max(0.0, sign * (now_at - then))


def _skew(skew_s: float | None) -> str:
    if skew_s is None or abs(skew_s) < _SKEW_SHOWN_S:
        return units.UNKNOWN
    return ("+" if skew_s > 0 else "-") + units.age(abs(skew_s))


def _widths(rows: Iterable[Sequence[str]]) -> list[int]:
    return [max(map(cells.width, column)) for column in zip(*rows, strict=True)]


def _line(row: Sequence[str], widths: Sequence[int], width: int | None) -> str:
    text = GAP.join(map(cells.ljust, row, widths)).rstrip()
    return text if width is None else cells.clip(text, width)
