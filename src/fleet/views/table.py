"""The table of `fleet status`: one line a session, at a given width or, for a pipe, in full. Pure.

On a narrow terminal columns first shrink, then are left out, the least important first; HOST, ID, STATE, AGE
and TITLE always stay. Below it come the failed hosts, the warnings and a summary (see `footer`).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise

import msgspec

from fleet.views import cells, units
from fleet.views.document import Document, SessionEntry
from fleet.views.footer import INDENT, footer
from fleet.views.lines import Line, Span, Style, plain

GAP = "  "
MIN_ID_CHARS = 8
MAX_WHY_LINES = 4  # on a terminal; a pipe and --json have the whole of it
MAX_INDENT = 8  # levels of subagents that are shown as such
_STATE_STYLES = {"waiting": Style.WAITING, "working": Style.WORKING}


class Column(msgspec.Struct, frozen=True):
    """One column. It shrinks to `min_cells`; those with an `importance` are then left out, the lowest first."""

    name: str
    min_cells: int
    text: Callable[[SessionEntry], str]
    importance: int | None = None
    pad: Callable[[str, int], str] = cells.ljust
    clip: Callable[[str, int], str] = cells.clip


def table(document: Document, *, width: int | None, why: bool = False, configured: bool = True) -> list[Line]:
    """The lines of the whole view. `width` in cells: no line is wider; None: nothing is cut.

    `why` says for each session why it is in its state: in a column WHY where nothing is cut, else below it.
    `configured` tells whether there is a configuration file.
    """
    below = footer(document, width, configured=configured)
    if not document.sessions:
        return below
    return [*_session_lines(document.sessions, width, why=why), (), *below]


def _session_lines(sessions: Sequence[SessionEntry], width: int | None, *, why: bool) -> Iterator[Line]:
    columns = _columns(sessions, full=width is None)
    if why and width is None:
        columns.append(Column("WHY", 0, _why))
    texts = [[column.text(session) for column in columns] for session in sessions]
    natural = [max(map(cells.width, (c.name, *(row[i] for row in texts)))) for i, c in enumerate(columns)]
    widths = natural if width is None else fit(columns, natural, width)
    yield _clipped(_line(columns, widths, [c.name for c in columns], [Style.HEADER] * len(columns)), width)
    for session, row in zip(sessions, texts, strict=True):
        yield _clipped(_line(columns, widths, row, [_style(session, c.name) for c in columns]), width)
        if why and width is not None:
            yield from _why_lines(session, width)


def _columns(sessions: Iterable[SessionEntry], *, full: bool) -> list[Column]:
    """The columns in their order; ids are whole if `full`."""
    ids = short_ids(s.id for s in sessions)
    return [
        Column("HOST", 10, lambda s: f"*{s.host}" if s.stale else s.host),
        Column("ID", 36, lambda s: s.id if full else ids[s.id]),
        Column("TOOL", 8, lambda s: s.tool, importance=5),
        Column("STATE", 19, state),
        Column("AGE", 3, lambda s: units.age(s.age_s), pad=cells.rjust),
        Column("TITLE", 24, _title),
        Column("BRANCH", 14, lambda s: s.branch or units.UNKNOWN, importance=1),
        Column("CWD", 16, lambda s: s.cwd or units.UNKNOWN, importance=3, clip=cells.clip_start),
        Column("TOKENS", 6, _tokens, importance=2, pad=cells.rjust),
        Column("CTX", 5, lambda s: units.percent(s.context_percent), importance=4, pad=cells.rjust),
    ]


def fit(columns: Sequence[Column], natural: Sequence[int], width: int) -> list[int]:
    """Cells for each column so that all fit into `width`, 0 for one that is left out.

    Columns that need less than the others get what they need; the rest are equally wide, but for their least
    width. Where even those that always stay do not fit at their least, the line is cut at its end.
    """
    least = [min(c.min_cells, n) for c, n in zip(columns, natural, strict=True)]
    optional = [i for i, c in enumerate(columns) if c.importance is not None]
    for i in sorted(optional, key=lambda i: columns[i].importance or 0):
        if _total(least) <= width:
            break
        least[i] = 0
    level = min(max(natural), width)
    while True:
        widths = [min(n, max(low, level)) if low else 0 for low, n in zip(least, natural, strict=True)]
        if _total(widths) <= width or level == 0:
            return widths
        level -= 1


def _total(widths: Sequence[int]) -> int:
    shown = [w for w in widths if w]
    return sum(shown) + len(GAP) * (len(shown) - 1)


def _line(
    columns: Sequence[Column], widths: Sequence[int], texts: Sequence[str], styles: Sequence[Style | None]
) -> Line:
    spans: list[Span] = []
    for column, cells_wide, text, style in zip(columns, widths, texts, styles, strict=True):
        if cells_wide:
            spans += [(GAP, None)] if spans else []
            spans.append((column.pad(column.clip(text, cells_wide), cells_wide), style))
    *start, (text, style) = spans
    return (*start, (text.rstrip(" "), style))


def _why_lines(session: SessionEntry, width: int) -> list[Line]:
    text = cells.clip(INDENT + _why(session), width * MAX_WHY_LINES)
    return [((line, Style.QUIET),) for line in cells.wrap(text, width, INDENT)]


def _clipped(line: Line, width: int | None) -> Line:
    """The line cut at `width`; only needed where not even the least widths fit."""
    if width is None or cells.width(plain(line)) <= width:
        return line
    spans: list[Span] = []
    for text, style in line:
        piece = cells.clip(text, width)
        spans.append((piece, style))
        width -= cells.width(piece)
    return tuple(spans)


def short_ids(ids: Iterable[str]) -> dict[str, str]:
    """Each id's shortest prefix that no other id begins with, of at least `MIN_ID_CHARS`, as git has it.

    >>> short_ids(["019c2590-aaaa", "019c2590-abbb", "7f3f1f8b-cccc"])
    {'019c2590-aaaa': '019c2590-aa', '019c2590-abbb': '019c2590-ab', '7f3f1f8b-cccc': '7f3f1f8b'}
    """
    ordered = sorted(set(ids))
    shared = [0, *(_shared(one, next_one) for one, next_one in pairwise(ordered)), 0]
    return {
        one: one[: max(MIN_ID_CHARS, before + 1, after + 1)]
        for one, (before, after) in zip(ordered, pairwise(shared), strict=False)
    }


def _shared(a: str, b: str) -> int:
    """How many characters both begin with."""
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def state(session: SessionEntry) -> str:
    """State and detail in words, with a question mark where the evidence is weak."""
    detail = f" {session.detail}" if session.detail and session.detail != "unknown" else ""
    return session.state + detail + ("?" if session.confidence == "weak" and session.state != "unknown" else "")


def _title(session: SessionEntry) -> str:
    title = session.title or units.UNKNOWN
    return "  " * (min(session.depth, MAX_INDENT) - 1) + f"└ {title}" if session.depth else title


def _tokens(session: SessionEntry) -> str:
    return units.count(session.tokens.total if session.tokens else None)


def _why(session: SessionEntry) -> str:
    return f"{session.reason or units.UNKNOWN} ({session.evidence or 'no evidence'}, {session.confidence})"


def _style(session: SessionEntry, column: str) -> Style | None:
    if session.stale:
        return Style.QUIET
    if session.detail in ("failed", "crashed"):
        return Style.FAILED if column == "STATE" else None
    if session.state == "ended":
        return Style.QUIET
    return _STATE_STYLES.get(session.state) if column == "STATE" else None
