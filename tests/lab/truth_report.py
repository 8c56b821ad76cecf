"""The truth table at the end of a pytest run: printed, held to its least share, and put into docs/states.md.

Tests note readings as the property `truth`, which travels with their reports, so that the workers of
pytest-xdist come together here. `UPDATE_GOLDEN=1 pytest tests/e2e/truth` makes the tables of the page anew.
"""

import os
from pathlib import Path

import pytest

from lab.truth import LEAST_RIGHT, WHOLE, Reading, confusion_matrix, too_few_right, with_tables

PAGE = Path(__file__).parents[2] / "docs/states.md"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the matrix, and each reading that is not right."""
    readings = _readings(terminalreporter)
    if not readings:
        return
    terminalreporter.section("what is true, and what fleet says")
    others = [str(reading) for reading in readings if reading.outcome != "right"]
    for line in [*confusion_matrix(readings), *others]:
        terminalreporter.line(line)
    if too_few_right(readings):
        terminalreporter.line(f"FAILED: less than {LEAST_RIGHT:.0%} is right", red=True)
    if os.environ.get("UPDATE_GOLDEN") and len(readings) >= WHOLE:
        PAGE.write_text(with_tables(PAGE.read_text(), readings))


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """A run in which too few readings are right has failed, whatever its single tests say."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    readings = _readings(reporter) if reporter else []
    if too_few_right(readings):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _readings(reporter: pytest.TerminalReporter) -> list[Reading]:
    """All that the tests noted, in the order in which the tests ended."""
    reports = [report for outcome in ("passed", "failed") for report in reporter.stats.get(outcome, [])]
    noted = [value for report in reports for name, value in report.user_properties if name == "truth"]
    return [Reading(*reading) for reading in noted]
