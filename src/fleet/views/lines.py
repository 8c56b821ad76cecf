"""What a text view is made of: lines of spans, each with a style by name. The CLI gives styles their looks."""

import enum


class Style(enum.StrEnum):
    """Why a piece of text may look different. Nothing is told by style alone."""

    HEADER = "header"
    WAITING = "waiting"  # a person must act
    FAILED = "failed"
    WORKING = "working"
    QUIET = "quiet"  # of less interest: ended, stale, hints


INDENT = "    "  # of what continues a line

Span = tuple[str, Style | None]
Line = tuple[Span, ...]


def plain(line: Line) -> str:
    """The text of a line."""
    return "".join(text for text, _ in line)
