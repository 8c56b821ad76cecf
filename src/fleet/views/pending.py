"""What `fleet approvals` shows: every open approval and question, oldest first, numbered. Pure."""

from collections.abc import Iterator, Sequence

from fleet.views import cells, units
from fleet.views.controlled import PendingEntry
from fleet.views.lines import Line, Style

NONE = "nothing is open on the hosts that answered; `fleet status` shows what their sessions do"
_INDENT = "     "


def pending_lines(entries: Sequence[PendingEntry], width: int | None) -> list[Line]:
    """A heading line for each, then what is asked. Nothing of a command is left out: it is wrapped."""
    return [line for number, entry in enumerate(entries, 1) for line in _lines(number, entry, width)]


def _lines(number: int, entry: PendingEntry, width: int | None) -> Iterator[Line]:
    named = f" ({entry.name})" if entry.name else ""
    title = f"  {entry.title}" if entry.title else ""
    heading = f"{number:>3}  {entry.key}{named}  {entry.kind}  {units.age(entry.age_s)}{title}"
    yield ((heading if width is None else cells.clip(heading, width), Style.WAITING),)
    for text in _asked(entry):
        for part in cells.wrap(_INDENT + text, width, _INDENT):
            yield ((part, None),)


def _asked(entry: PendingEntry) -> Iterator[str]:
    if entry.command is not None:
        yield from (f"$ {line}" for line in entry.command.expandtabs(4).split("\n"))
    yield from (f"{change.kind} {change.path}" for change in entry.changes)
    if entry.cwd:
        yield f"in {entry.cwd}"
    if entry.reason:
        yield from (f"why: {line}" for line in entry.reason.expandtabs(4).split("\n"))
    for question in entry.questions:
        options = f"  [{' | '.join(question.options)}]" if question.options else ""
        yield from f"{question.id}? {question.text}{options}".expandtabs(4).split("\n")
