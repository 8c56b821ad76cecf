"""fleet_agent.control.names: memorable names for runs."""

import re

import msgspec

from fleet_agent.control.names import ADJECTIVES, NOUNS, memorable
from fleet_agent.control.wire import Name


def test_a_name_is_two_words_and_a_name_on_the_wire() -> None:
    """Every name that can come of the lists is a valid one, and no word is twice in a list."""
    for words in (ADJECTIVES, NOUNS):
        assert len(words) == len(set(words)) >= 100
        assert all(re.fullmatch("[a-z]{2,9}", word) for word in words)
    assert msgspec.convert(memorable(set()), Name).count("-") == 1


def test_a_name_is_nobody_elses() -> None:
    """A name that is taken is not given again; when two words are not enough a number helps."""
    taken: set[str] = set()
    for _ in range(100):
        name = memorable(taken, lambda words: words[len(taken) % 3])
        assert name not in taken
        assert msgspec.convert(name, Name)
        taken.add(name)
