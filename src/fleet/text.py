"""Foreign text, made safe once, where it enters.

Whatever a host sends (titles, paths, branch names, error output) may hold terminal escape sequences,
bidirectional overrides or invisible tag characters. `clean` is the one place that takes them out; everything
behind it may print what it is given.
"""

import re

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"

# C0 and C1 controls and DEL (Cc), surrogates (Cs), zero-width and bidirectional controls, line and paragraph
# separators, interlinear annotation, variation-selector smuggling and tag characters (Cf and friends).
# Sources: Unicode UAX #9 (bidi), UTS #51 (tags), "Trojan Source" (CVE-2021-42574).
FORBIDDEN = re.compile(
    "[\x00-\x1f\x7f-\x9f"
    "\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff"
    "\U000e0000-\U000e0fff]"
)

_TAIL_BYTES = 4096  # looked at for the last words: more than the private key of an RSA pair has
_FORBIDDEN_IN_TEXT = re.compile(rf"(?![\n\t]){FORBIDDEN.pattern}")


def clean(text: str, max_chars: int = 4096) -> str:
    """`text` with every forbidden character replaced by U+FFFD, and cut to `max_chars` with an ellipsis.

    >>> clean("a\\x1b[31mb")
    'a\ufffd[31mb'
    >>> clean("abcdef", 4)
    'abc…'
    """
    if len(text) > max_chars:
        text = text[: max_chars - 1] + "…"
    return FORBIDDEN.sub(REPLACEMENT, text)


def clean_bytes(raw: bytes, max_chars: int = 4096) -> str:
    """What a program said, to be quoted: `clean` for bytes of any encoding, white space folded, no secrets."""
    from fleet_agent.redact import redact  # compiled when something is quoted, not at the start

    return clean(" ".join(redact(raw.decode("utf-8", "replace")).split()), max_chars)


def clean_tail(raw: bytes, max_chars: int) -> str:
    """Its last words: at most `max_chars` of them, as the end of error output says what went wrong.

    Secrets go before it is cut, as half of one would no longer look like one.
    """
    return clean_bytes(raw[-_TAIL_BYTES:])[-max_chars:]


def clean_text(text: str, max_chars: int = 65536) -> str:
    """`clean` for a text of several lines: line ends and tabs stay. Who prints it splits it into lines.

    >>> clean_text("a\\r\\n\\tb\\x07")
    'a\\n\\tb\ufffd'
    """
    if len(text) > max_chars:
        text = text[: max_chars - 1] + "…"
    return _FORBIDDEN_IN_TEXT.sub(REPLACEMENT, text.replace("\r\n", "\n"))
