"""Numbers and times as they are shown."""

import doctest
from datetime import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet.views import units


def test_examples() -> None:
    """The examples in the docstrings are true."""
    assert doctest.testmod(units).failed == 0


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0s"),
        (59.9, "59s"),
        (60, "1m"),
        (3600, "1h"),
        (86_399, "23h"),
        (172_800, "2d"),
        (1e300, ">99999d"),
        (None, "-"),
    ],
)
def test_ages(seconds: float | None, shown: str) -> None:
    """An age is in its largest whole unit, rounded down."""
    assert units.age(seconds) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, "0"), (999, "999"), (1000, "1.0k"), (999_949, "999.9k"), (999_950, "1.0M"), (2**63, "9.2E")],
)
def test_counts(value: int, shown: str) -> None:
    """Counts have one decimal, and never four digits before it."""
    assert units.count(value) == shown


def test_percentages() -> None:
    """Whole percents; what is absurd does not make the column wide."""
    assert [units.percent(p) for p in (None, 0.0, 36.7, 100.0, 999.4, 1e30)] == [
        "-",
        "0%",
        "37%",
        "100%",
        "999%",
        ">999%",
    ]


@settings(deadline=None)
@given(st.floats(allow_nan=True) | st.none())
def test_times_never_raise(at: float | None) -> None:
    """Whatever number a host calls a time: RFC 3339, or null."""
    shown = units.rfc3339(at)
    if shown is not None:
        assert at is not None
        assert abs(datetime.fromisoformat(shown).timestamp() - at) <= 0.001
