"""The table of `fleet status`: one line a session, at a given width or, for a pipe, in full. Pure.

On a terminal many subagents are one line that counts them (see `subagents`), and a column that says nothing is
left out. If it is narrow, columns first shrink, then those are left out that no longer fit, the least important
first; HOST, ID, STATE, AGE and TITLE always stay. Below it come the failed hosts, the warnings and a summary
(see `footer`).
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise

import msgspec

from fleet.views import cells, units
from fleet.views.entries import Document, SessionEntry
from fleet.views.footer import footer
from fleet.views.lines import INDENT, Line, Span, Style, plain
from fleet.views.rows import Urgency
from fleet.views.subagents import Item, folded, urgency_below, urgency_of

GAP = "  "
MIN_ID_CHARS = 8
MAX_WHY_LINES = 4  # on a terminal; a pipe and --json have the whole of it
MAX_INDENT = 8  # levels of subagents that are shown as such
_STATE_STYLES = {
    Urgency.WAITING: Style.WAITING,
    Urgency.STUCK: Style.WAITING,
    Urgency.FAILED: Style.FAILED,
    Urgency.WORKING: Style.WORKING,
}


class Column(msgspec.Struct, frozen=True):
    """One column. It shrinks to `min_cells`; one with an `importance` is then left out, the lowest first."""

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
    items: list[Item] = [*sessions] if width is None else [*folded(sessions)]
    columns = _columns(sessions, full=width is None)
    if why and width is None:
        columns.append(Column("WHY", 0, _why))
    texts = [[_text(column, item) for column in columns] for item in items]
    natural = [max(map(cells.width, (c.name, *(row[i] for row in texts)))) for i, c in enumerate(columns)]
    says = [any(row[i] not in ("", units.UNKNOWN) for row in texts) for i in range(len(columns))]
    widths = natural if width is None else fit(columns, natural, width, says)
    yield _clipped(_line(columns, widths, [c.name for c in columns], [Style.HEADER] * len(columns)), width)
    for item, row in zip(items, texts, strict=True):
        yield _clipped(_line(columns, widths, row, [_style(item, c.name) for c in columns]), width)
        if why and width is not None and isinstance(item, SessionEntry):
            yield from _why_lines(item, width)


def _columns(sessions: Iterable[SessionEntry], *, full: bool) -> list[Column]:
    """The columns in their order; ids are whole if `full`."""
    ids = short_ids(s.id for s in sessions)
    return [
        Column("HOST", 10, _host),
        Column("ID", 36, lambda s: s.id if full else ids[s.id]),
        Column("TOOL", 8, lambda s: s.tool, importance=6),
        Column("STATE", 19, state),
        Column("AGE", 3, lambda s: units.age(s.age_s), pad=cells.rjust),
        Column("TITLE", 24, _title),
        Column("DOING", 12, doing, importance=1),
        Column("BRANCH", 14, branch, importance=2, clip=cells.clip_before_last_word),
        Column("CWD", 16, lambda s: s.cwd or units.UNKNOWN, importance=4, clip=cells.clip_start),
        Column("TOKENS", 7, lambda s: _tokens([s]), importance=3, pad=cells.rjust),
        Column("CTX", 5, lambda s: units.percent(s.context_percent), importance=5, pad=cells.rjust),
    ]


def fit(columns: Sequence[Column], natural: Sequence[int], width: int, says: Sequence[bool]) -> list[int]:
    """Cells for each column so that all fit into `width`, 0 for one that is left out.

    What can be left out and says nothing is left out. Columns that need less than the others get what they
    need; the rest are equally wide, but for their least width. Where even those that always stay do not fit at
    their least, the line is cut at its end.
    """
    least = [min(c.min_cells, n) if c.importance is None else 0 for c, n in zip(columns, natural, strict=True)]
    optional = [i for i, c in enumerate(columns) if c.importance is not None and says[i]]
    for i in sorted(optional, key=lambda i: columns[i].importance or 0, reverse=True):
        least[i] = min(columns[i].min_cells, natural[i])
        if _total(least) > width:
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
    while len(spans) > 1 and not spans[-1][0].strip(" "):
        spans.pop()
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
    """State and detail in words, with a question mark where the evidence is weak.

    A tool call has its duration: `working tool 3m`; a stuck turn stands out: `working STUCK`. Of a root whose
    subagents need more attention than itself it says so: `idle +2 waiting`.
    """
    if (below := urgency_below(session)) is not None:
        return f"{session.state} {_below(session, below)}"
    detail = f" {_detail(session)}" if session.detail and session.detail != "unknown" else ""
    return session.state + detail + ("?" if session.confidence == "weak" and session.state != "unknown" else "")


def _detail(session: SessionEntry) -> str:
    if session.detail == "stuck":
        return "STUCK"
    if session.detail == "tool" and session.tool_call and session.tool_call.age_s is not None:
        return f"tool {units.age(session.tool_call.age_s)}"
    return session.detail or ""


def _below(session: SessionEntry, below: Urgency) -> str:
    number = {Urgency.WAITING: "waiting", Urgency.WORKING: "working"}
    return f"+{getattr(session.rollup, number[below])} {number[below]}" if below in number else f"+{below.name}"


def doing(session: SessionEntry) -> str:
    """What is going on in it: `exec_command; 2/5 write the tests; 3 subagents working`."""
    parts = []
    if session.tool_call:
        parts.append(session.tool_call.name)
    if plan := session.plan:
        parts.append(f"{plan.completed}/{plan.total}" + (f" {plan.current}" if plan.current else ""))
    if (rollup := session.rollup) and (rollup.waiting or rollup.working):
        counts = {"waiting": rollup.waiting, "working": rollup.working}
        busy = ", ".join(f"{number} {word}" for word, number in counts.items() if number)
        parts.append(f"subagents: {busy}")
    return "; ".join(parts) or units.UNKNOWN


def branch(session: SessionEntry) -> str:
    """The branch, then `*` with uncommitted changes, `+2` with commits to push, `-1` with commits to pull."""
    marks = "*" if session.dirty_files else ""
    marks += f"+{session.ahead}" if session.ahead else ""
    marks += f"-{session.behind}" if session.behind else ""
    return f"{session.branch or units.UNKNOWN} {marks}".rstrip()


def _host(session: SessionEntry) -> str:
    return f"*{session.host}" if session.stale else session.host


def _title(session: SessionEntry) -> str:
    title = session.title or units.UNKNOWN
    return "  " * (min(session.depth, MAX_INDENT) - 1) + f"└ {title}" if session.depth else title


def _tokens(sessions: Iterable[SessionEntry]) -> str:
    """Their tokens, with a ~ before them where that is not known to be exact."""
    counts = [(s.tokens.total if s.tokens else None, s.usage_confidence) for s in sessions]
    known = [total for total, _ in counts if total is not None]
    if not known:
        return units.UNKNOWN
    is_exact = all(total is not None and confidence == "exact" for total, confidence in counts)
    return ("" if is_exact else "~") + units.count(sum(known))


def _text(column: Column, item: Item) -> str:
    return column.text(item) if isinstance(item, SessionEntry) else _folded_text(column.name, item)


def _folded_text(column: str, sessions: Sequence[SessionEntry]) -> str:
    """A cell of the line that stands for these subagents."""
    if column == "HOST":
        return _host(sessions[0])
    if column == "STATE":
        states = Counter("failed" if urgency_of(s) is Urgency.FAILED else s.state for s in sessions)
        return ", ".join(f"{number} {word}" for word, number in states.most_common())
    if column == "TITLE":
        return f"└ +{len(sessions)} subagents"
    return _tokens(sessions) if column == "TOKENS" else ""


def _why(session: SessionEntry) -> str:
    return f"{session.reason or units.UNKNOWN} ({session.evidence or 'no evidence'}, {session.confidence})"


def _style(item: Item, column: str) -> Style | None:
    if not isinstance(item, SessionEntry) or item.stale:
        return Style.QUIET
    below = urgency_below(item)
    shown = urgency_of(item) if below is None else below
    if shown is Urgency.ENDED:
        return Style.QUIET
    return _STATE_STYLES.get(shown) if column == "STATE" else None
