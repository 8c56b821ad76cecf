"""A numbered list of what the hosts have told, on standard output, and kept for who says a number later."""

from collections.abc import Callable, Iterable, Sequence
from typing import NoReturn, TypeVar

import msgspec

from fleet.cli.sessions.session import end, troubles
from fleet.cli.sessions.way import note
from fleet.cli.terminal import paint, terminal, write
from fleet.control import listing
from fleet.control.selectors import Listed
from fleet.control.verbs import Answered
from fleet.views.lines import Line

T = TypeVar("T")


def show(
    kind: str,
    entries: Sequence[T],
    answers: Sequence[Answered],
    *,
    numbered: Iterable[Listed],
    lines: Callable[[Sequence[T], int | None], list[Line]],
    none: str,
    json: bool,
) -> NoReturn:
    """Print the entries, by `lines` or under the name of their `kind` as JSON; `none` is said where none are.

    Then exit with what the answers have come to.
    """
    listing.save(list(numbered))
    if json:
        said = {kind: entries, "errors": troubles(answers)}
        write(msgspec.json.format(msgspec.json.encode(said), indent=2) + b"\n")
    elif entries:
        to = terminal()
        write("".join(f"{line}\n" for line in paint(lines(entries, to.width), to.colour)))
    elif len(troubles(answers)) < len(answers):
        note(none)
    end(answers, say=not json)
