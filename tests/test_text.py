"""fleet.text: foreign text is made safe once."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.text import REPLACEMENT, clean, clean_bytes


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
