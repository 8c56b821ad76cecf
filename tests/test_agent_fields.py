"""fleet_agent.fields: reading foreign JSON."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet_agent.fields import count, epoch, member, text

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=50),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@settings(deadline=None)
@given(anything)
def test_no_value_can_make_a_reader_fail(value: Any) -> None:
    """Whatever a field holds, the answer is a value in bounds or None."""
    number, at, words = count(value), epoch(value), text(value, 10)
    assert number is None or 0 <= number <= 1 << 53
    assert at is None or 0 < at < 1e12
    assert words is None or 0 < len(words) <= 10
    member(value, "a", "b")


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("2026-11-21T02:33:43.423Z", 1795228423.423),
        ("2026-11-21T02:33:43+00:00", 1795228423.0),
        (1795228423, 1795228423.0),
        ("2026-11-21T02:33:43", None),  # no zone: whose clock?
        ("yesterday", None),
        (0, None),
        (True, None),
        (float("inf"), None),
        (1e300, None),
    ],
)
def test_times(value: object, seconds: float | None) -> None:
    """Times are epoch seconds, from numbers or RFC 3339; what is no time is None."""
    assert epoch(value) == (pytest.approx(seconds) if seconds else None)


def test_a_path_of_names_ends_where_there_is_no_object() -> None:
    """A missing member anywhere on the way is None."""
    assert member({"a": {"b": 1}}, "a", "b") == 1
    assert member({"a": "text"}, "a", "b") is None
    assert member(None, "a") is None
