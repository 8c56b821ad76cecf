"""The truth table's own arithmetic, and what it does to a pytest run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lab.truth import (
    NOT_SEEN,
    Reading,
    answer,
    case_table,
    confusion_matrix,
    share_right,
    summary,
    with_tables,
)

TESTS = Path(__file__).parent
NOTES_READINGS = """
def test_it(record_property):
    grounds = "lifecycle", "weak", "because"
    for said in ["idle/new"] * {right} + ["unknown"] * {unsure}:
        record_property("truth", ["0.1", "TUI", "idle", "idle/new", "stream", said, *grounds])
"""


def reading(truth: str, said: str, confidence: str | None = "strong", case: str = "x") -> Reading:
    return Reading("0.169.0", "TUI", case, truth, "stream", said, "lifecycle", confidence, "because")


@pytest.mark.parametrize(
    ("said", "confidence", "outcome"),
    [
        ("working/tool", "weak", "right"),
        ("working/tool", "fact", "right"),
        ("working", "fact", "unsure"),  # the state without its detail
        ("unknown", "strong", "unsure"),
        (NOT_SEEN, None, "unsure"),
        ("waiting/approval", "weak", "unsure"),
        ("waiting/approval", "strong", "wrong"),
        ("working/thinking", "fact", "wrong"),
        ("waiting", "strong", "wrong"),
    ],
)
def test_outcomes(said: str, confidence: str | None, outcome: str) -> None:
    """Only an answer that is another one and sure of itself is wrong."""
    assert reading("working/tool", said, confidence).outcome == outcome


def test_answers() -> None:
    """What a row says, and that there is none."""
    assert answer({"state": "idle", "detail": "new"}) == "idle/new"
    assert answer({"state": "unknown", "detail": None}) == "unknown"
    assert answer(None) == NOT_SEEN


def test_the_matrix() -> None:
    """A row for each truth, a column for each answer; answers that were never true have a column alone."""
    readings = [reading("a/b", "a/b"), reading("a/b", "a/b"), reading("a/b", "c/d", "weak"), reading("a", "a")]
    assert confusion_matrix(readings) == [
        "        a   b   c  <- fleet says",
        "a a     1   .   .",
        "b a/b   .   2   1",
        "c c/d",
        "",
        "4 readings of 2 states: 3 right (75.0%), 1 unsure, 0 wrong",
    ]


def test_the_cases() -> None:
    """Right answers show their grounds, others what they were."""
    readings = [reading("a/b", "a/b"), reading("a/b", "c/d", "weak"), reading("a/b", "a/b")]
    assert case_table(readings)[2:] == [
        "| TUI | x | `a/b` | lifecycle, strong; unsure: c/d (lifecycle, weak) | 0.169 |"
    ]
    assert share_right(readings) == pytest.approx(2 / 3)
    assert summary(readings).startswith("3 readings of 1 states: 2 right (66.7%)")


def test_a_page_is_filled_between_its_marks() -> None:
    """The rest of the page stays as it is."""
    page = "before\n<!-- matrix -->old<!-- /matrix -->\nbetween\n<!-- cases -->\n<!-- /cases -->\nafter"
    filled = with_tables(page, [reading("a", "a")])
    assert "old" not in filled
    assert [filled.split("<!--")[0], filled.rsplit("-->", 1)[1]] == ["before\n", "\nafter"]
    assert with_tables(filled, [reading("a", "a")]) == filled


@pytest.mark.parametrize(("right", "unsure", "status"), [(190, 10, 0), (189, 11, 1), (1, 9, 0)])
def test_too_few_right_readings_fail_a_run(tmp_path: Path, right: int, unsure: int, status: int) -> None:
    """Of a whole table 95 % must be right, though each test passes; a part of it is not held to that."""
    (tmp_path / "test_inner.py").write_text(NOTES_READINGS.format(right=right, unsure=unsure))
    argv = [sys.executable, "-m", "pytest", "-p", "lab.truth_report", "test_inner.py"]
    environment = os.environ | {"PYTHONPATH": str(TESTS), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    environment.pop("UPDATE_GOLDEN", None)
    done = subprocess.run(argv, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == status, done.stdout
    assert f"{right + unsure} readings of 1 states: {right} right" in done.stdout
    assert ("FAILED: less than 95% is right" in done.stdout) == bool(status)
