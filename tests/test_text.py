"""fleet.text: foreign text is made safe once."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.text import FORBIDDEN, REPLACEMENT, clean, clean_bytes, clean_text


@pytest.mark.parametrize(
    ("hostile", "safe"),
    [
        ("\x1b[31mred", "�[31mred"),
        ("a\nb\rc\td", "a�b�c�d"),
        ("\x9b2J", "�2J"),
        ("\x7f", "�"),
        ("abc\u202etxt.exe", "abc�txt.exe"),
        ("\u2066x\u2069", "�x�"),
        ("\U000e0041\U000e007f", "��"),
        ("\ufeffx\u200b", "�x�"),
        ("\ud800", "�"),
        ("naïve 日本 👩🏽‍💻", "naïve 日本 👩🏽‍💻"),
    ],
)
def test_forbidden_characters_are_replaced(hostile: str, safe: str) -> None:
    """Control, bidi, tag and zero-width characters and surrogates never pass; the rest does (PROMISES 4)."""
    assert clean(hostile) == safe


@given(st.text())
def test_nothing_a_terminal_obeys_is_left(text: str) -> None:
    """No control character and no surrogate is in any cleaned text; cleaning again changes nothing."""
    cleaned = clean(text)
    assert not [c for c in cleaned if unicodedata.category(c) in ("Cc", "Cs")]
    assert clean(cleaned) == cleaned


@given(st.text(), st.integers(1, 50))
def test_the_length_is_bounded(text: str, most: int) -> None:
    """A cleaned text is at most as long as asked, and says with an ellipsis that it was cut."""
    cleaned = clean(text, most)
    assert len(cleaned) <= most
    assert len(text) <= most or cleaned.endswith("…")


def test_bytes_of_any_encoding_become_one_safe_line() -> None:
    """A tail of stderr is shown on one line, whatever bytes it holds."""
    assert clean_bytes(b"Trace\n  back \xff\x1b[2J\n") == f"Trace back {REPLACEMENT}{REPLACEMENT}[2J"


@given(st.text(max_size=300))
def test_in_a_text_of_several_lines_only_line_ends_and_tabs_stay(text: str) -> None:
    """What `clean` takes out, this takes out too, but for those two (PROMISES 4)."""
    made = clean_text(text)
    assert not FORBIDDEN.search(made.replace("\n", "").replace("\t", ""))
    assert [clean(line) for line in text.replace("\r\n", "\n").split("\n")] == [
        clean(line) for line in made.split("\n")
    ]


def test_a_text_has_a_bound() -> None:
    """As a line has."""
    assert clean_text("abcdef", 4) == "abc…"
    assert clean_text("a\r\nb\rc") == "a\nb�c"
