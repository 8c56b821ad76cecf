"""fleet_agent.tools.codex.limits: what is left of an account's rate limits."""

import re
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from fleet_agent.tools.codex.limits import Limits, Window, account, resets_at, windows
from fleet_agent.wire import MAX_LIMITS

AT = 1_800_000_000.0
OF_0_169 = {
    "limit_id": "codex",
    "primary": {"used_percent": 12.5, "window_minutes": 300, "resets_at": AT + 3600},
    "secondary": {"used_percent": 100.0, "window_minutes": 10080, "resets_at": AT + 86400},
    "credits": {"has_credits": True, "unlimited": False, "balance": "9.99"},
    "rate_limit_reached_type": None,
}


def test_both_windows_of_an_account() -> None:
    """The short and the long window, how much of each is used, and when each is reset."""
    short, long = windows(OF_0_169, AT)
    assert short == Window("codex", 300, 12.5, AT, AT + 3600)
    assert not short.reached
    assert (long.window_minutes, long.reached, long.resets_at) == (10080, True, AT + 86400)


def test_what_older_releases_wrote() -> None:
    """Seconds until the reset instead of its time, or neither; no id of the limit; one window only."""
    in_s = {"primary": {"used_percent": 1, "window_minutes": 300, "resets_in_seconds": 60}, "secondary": None}
    assert windows(in_s, AT) == (Window("codex", 300, 1.0, AT, AT + 60),)
    unknown = {"primary": {"used_percent": 1, "window_minutes": 300, "resets_in_seconds": None}}
    (window,) = windows(unknown, AT)
    assert (window.resets_at, window.expires_at) == (None, AT + 300 * 60)


def test_when_a_used_up_limit_is_reset() -> None:
    """At the last reset of what is used up; not known if one of them does not say, or none is."""
    full, later = Window("codex", 300, 100.0, AT, AT + 5), Window("codex", 10080, 101.0, AT, AT + 9)
    assert resets_at((full, later, Window("codex", 1, 50.0, AT, AT + 99))) == AT + 9
    assert resets_at((full, Window("codex", 10080, 100.0, AT))) is None
    assert resets_at(()) is None


def test_the_newest_word_wins_until_the_reset() -> None:
    """Whichever session was told last; an account's own windows only; nothing after the reset."""
    limits = Limits()
    limits.note("a", [Window("codex", 300, 20.0, AT, AT + 100)], AT)
    limits.note("a", [Window("codex", 300, 10.0, AT - 5, AT + 100)], AT)
    limits.note("b", [Window("codex", 300, 30.0, AT - 9, AT + 200)], AT)
    limits.note("a", [Window("codex", 300, 99.0, AT + 9000, AT + 9100)], AT)  # by a clock that ran ahead
    found = limits.current(AT + 1)
    assert [(limit.account, limit.used_percent, limit.observed_at) for limit in found] == [
        ("a", 20.0, AT),
        ("b", 30.0, AT - 9),
    ]
    assert [limit.account for limit in limits.current(AT + 150)] == ["b"]
    assert limits.current(AT + 201) == ()


def test_an_account_is_no_name() -> None:
    """Two homes, and two providers of one home, are told apart; neither can be read off."""
    logins = (("/home/me/.codex", "openai"), ("/home/me/.codex", None), ("/srv/codex", "openai"))
    names = {account(home, provider) for home, provider in logins}
    assert len(names) == 3
    assert all(re.fullmatch("[0-9a-f]{12}", name) for name in names)


def test_their_number_is_bounded() -> None:
    """A host that works with hundreds of accounts sends as many limits as the wire takes."""
    limits = Limits()
    for number in range(MAX_LIMITS + 50):
        limits.note(str(number), [Window("codex", 300, 20.0, AT, AT + 100)], AT)
    assert len(limits.current(AT)) == MAX_LIMITS


NAMES = (
    "limit_id", "primary", "secondary", "used_percent", "window_minutes", "resets_at", "resets_in_seconds"
)  # fmt: skip
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(NAMES), inner),
    max_leaves=12,
)


@given(json_values)
def test_no_value_makes_it_fail(rate_limits: Any) -> None:
    """Whatever stands where the limits should be: known kinds or nothing."""
    for window in windows(rate_limits, AT):
        assert isinstance(window.limit_id, str)
        assert window.used_percent >= 0
        assert window.resets_at is None or window.resets_at > 0
