"""fleet_agent.tools.codex.growth: what a file gained in the last minute."""

from fleet_agent.tools.codex.growth import WINDOW_S, Growth


class Sizes:
    """A file whose size is noted at given times."""

    def __init__(self) -> None:
        self._now_s = 0.0
        self.growth = Growth(lambda: self._now_s)

    def at(self, now_s: float, size_bytes: int) -> int | None:
        self._now_s = now_s
        self.growth.note(size_bytes)
        return self.growth.grown_bytes


def test_one_reading_knows_no_growth() -> None:
    """A one-shot reading says "not known"; the next one says what came since."""
    sizes = Sizes()
    assert sizes.at(0, 100) is None
    assert sizes.at(2, 100) == 0
    assert sizes.at(4, 130) == 30


def test_only_the_last_minute_counts() -> None:
    """What was appended earlier drops out after a minute, and silence is 0."""
    sizes = Sizes()
    sizes.at(0, 100)
    assert sizes.at(10, 150) == 50
    assert sizes.at(50, 170) == 70
    assert sizes.at(10 + WINDOW_S, 170) == 20
    assert sizes.at(50 + WINDOW_S, 170) == 0


def test_a_file_that_was_cut_is_counted_anew() -> None:
    """Growth is never negative."""
    sizes = Sizes()
    sizes.at(0, 100)
    sizes.at(2, 200)
    assert sizes.at(4, 50) is None
    assert sizes.at(6, 80) == 30
