"""What the truth table's tests share: how right each reading has to be. (All together: lab.plugin.)"""

from collections.abc import Callable, Iterator

import pytest

from lab.stage import Stage, Truth
from lab.truth import Reading


@pytest.fixture
def truth_of(record_property: Callable[[str, object], None]) -> Iterator[Callable[[Stage, str], Truth]]:
    """`truth_of(stage, "TUI")` notes readings; not one of them may be wrong and sure of itself."""
    noted: list[Reading] = []

    def note(reading: Reading) -> None:
        noted.append(reading)
        record_property("truth", list(reading))  # on its way to the table at the end of the run

    yield lambda stage, surface: Truth(stage.home, stage.watch, surface, note)
    if wrong := [str(reading) for reading in noted if reading.outcome == "wrong"]:
        pytest.fail("wrong, and sure of it:\n" + "\n".join(wrong), pytrace=False)
