"""Text in terminal cells: how wide it is, and how to cut, pad and wrap it. Pure.

A Chinese character or an emoji takes two cells, a combining mark none. What is cut is cut between graphemes.
The text is clean (see `fleet.text`): there is no control character in it.
"""

from collections.abc import Iterable

ELLIPSIS = "…"


def width(text: str) -> int:
    """Cells that `text` takes on a terminal."""
    if text.isascii():
        return len(text)
    from wcwidth import wcswidth  # 40 ms to import, and most text is ASCII

    return max(0, wcswidth(text))


def clip(text: str, cells: int) -> str:
    """`text` in at most `cells` cells, its end replaced by an ellipsis where it is longer."""
    if width(text) <= cells:
        return text
    return _head(text, cells - 1) + ELLIPSIS if cells > 0 else ""


def clip_start(text: str, cells: int) -> str:
    """As `clip`, but it is the end of `text` that stays: for paths."""
    if width(text) <= cells:
        return text
    return ELLIPSIS + _tail(text, cells - 1) if cells > 0 else ""


def clip_before_last_word(text: str, cells: int) -> str:
    """As `clip`, but the last of several words stays, where there is room for it."""
    start, space, word = text.rpartition(" ")
    room = cells - width(space + word)
    return clip(start, room) + space + word if start and room > 1 else clip(text, cells)


def ljust(text: str, cells: int) -> str:
    """`text` with spaces after it, up to `cells`."""
    return text + " " * (cells - width(text))


def rjust(text: str, cells: int) -> str:
    """`text` with spaces before it, up to `cells`."""
    return " " * (cells - width(text)) + text


def wrap(text: str, cells: int | None, indent: str = "") -> list[str]:
    """`text` in lines of at most `cells` cells, broken at spaces where there are any; only those are left out.

    Lines after the first begin with `indent`. None: one line.
    """
    lines, lead, rest = [], "", text
    while cells is not None and width(lead + rest) > cells:
        head = _head(rest, cells - len(lead)) or rest[0]
        space = rest.rfind(" ", 1, len(head) + 1)
        lines.append(lead + (rest[:space] if space > 0 else head))
        rest = rest[space + 1 :] if space > 0 else rest[len(head) :]
        lead = indent if cells > 2 * len(indent) else ""
    return [*lines, lead + rest]


def _head(text: str, cells: int) -> str:
    """The longest beginning of `text`, in whole graphemes, that takes at most `cells` cells."""
    head = ""
    for grapheme in _graphemes(text):
        if width(head + grapheme) > cells:
            break
        head += grapheme
    return head


def _tail(text: str, cells: int) -> str:
    """As `_head`, of the end of `text`."""
    tail = ""
    for grapheme in reversed([*_graphemes(text)]):
        if width(grapheme + tail) > cells:
            break
        tail = grapheme + tail
    return tail


def _graphemes(text: str) -> Iterable[str]:
    if text.isascii():
        return text
    from wcwidth import iter_graphemes

    return iter_graphemes(text)
