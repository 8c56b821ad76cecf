"""Text in terminal cells."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wcwidth import wcswidth

from fleet.text import clean
from fleet.views.cells import clip, clip_before_last_word, clip_start, ljust, rjust, width, wrap

TEXT = st.text(max_size=60).map(clean)
CELLS = st.integers(min_value=0, max_value=40)


def test_wide_and_combining_characters() -> None:
    """CJK and emoji take two cells, a combining mark none, a family of emoji two."""
    assert [width(t) for t in ("abc", "日本", "cafe\u0301", "👩\u200d👩\u200d👧", "")] == [3, 4, 4, 2, 0]


@pytest.mark.parametrize(
    ("text", "cells", "head", "tail"),
    [
        ("abc", 3, "abc", "abc"),
        ("abcd", 3, "ab…", "…cd"),
        ("日本語", 4, "日…", "…語"),
        ("日本語", 5, "日本…", "…本語"),
        ("abcd", 1, "…", "…"),
        ("abcd", 0, "", ""),
        ("cafe\u0301s!", 5, "cafe\u0301…", "…fe\u0301s!"),
    ],
)
def test_clipping(text: str, cells: int, head: str, tail: str) -> None:
    """The cut is between graphemes, and an ellipsis says that there was one."""
    assert clip(text, cells) == head
    assert clip_start(text, cells) == tail


@settings(deadline=None)
@given(TEXT, CELLS)
def test_what_is_clipped_fits(text: str, cells: int) -> None:
    """Never wider than asked for, by the measure of wcwidth itself."""
    for cut in (clip(text, cells), clip_start(text, cells)):
        assert wcswidth(cut) <= cells
        assert cut == text or "…" in cut or cells == 0


@settings(deadline=None)
@given(TEXT)
def test_padding_is_exact(text: str) -> None:
    """Padded text takes the cells that it was padded to."""
    assert ljust(text, width(text) + 3) == f"{text}   "
    assert rjust(text, width(text) + 3) == f"   {text}"


@settings(deadline=None)
@given(TEXT, st.integers(min_value=2, max_value=40), st.sampled_from(["", "  ", "    "]))
def test_wrapping_loses_nothing(text: str, cells: int, indent: str) -> None:
    """All lines fit, and all that is not a space is there, in its order."""
    lines = wrap(text, cells, indent)
    assert all(width(line) <= cells for line in lines)
    assert "".join("".join(lines).split(" ")) == "".join(text.split(" "))


def test_wrapping_at_words() -> None:
    """Lines break at spaces; a word that is longer than a line is cut without a space put into it."""
    assert wrap("one two three", 8, "  ") == ["one two", "  three"]
    assert wrap("abcdefghij kl", 6, "  ") == ["abcdef", "  ghij", "  kl"]
    assert wrap("one two", None) == ["one two"]


@pytest.mark.parametrize(
    ("text", "cells", "clipped"),
    [
        ("main *+2", 8, "main *+2"),
        ("main *+2", 7, "ma… *+2"),
        ("main *+2", 5, "main…"),
        ("日本語 *", 6, "日… *"),
        ("branch", 4, "bra…"),
        ("a b", 1, "…"),
        ("a b", 0, ""),
    ],
)
def test_the_last_word_stays(text: str, cells: int, clipped: str) -> None:
    """What is cut is before the last word, where that leaves room for anything else."""
    assert clip_before_last_word(text, cells) == clipped


@settings(deadline=None)
@given(TEXT, CELLS)
def test_cut_before_the_last_word_it_fits_too(text: str, cells: int) -> None:
    """It is never wider than it may be."""
    assert width(clip_before_last_word(text, cells)) <= cells
