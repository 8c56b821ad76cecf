"""What pytest must know of the lab: which tests need which part, and that nothing is left behind.

Tests marked `sshd`, `codex`, `claude` ... are skipped where that part cannot be had, and the summary says so
loudly. With FLEET_REQUIRE_REAL=1 in the environment, as in CI, they fail instead.
"""

import functools
import os
from collections.abc import Callable, Iterator

import pytest

from lab import MARK, claude, codex, opencode, procs, promtool, sshfleet, systemd, wheels

OBSTACLES: dict[str, Callable[[], str | None]] = {
    "sshd": functools.cache(sshfleet.obstacle),
    "codex": functools.cache(codex.obstacle),
    "old_codex": functools.cache(lambda: codex.obstacle(*codex.OLD_CODEX_VERSIONS)),
    "claude": functools.cache(claude.obstacle),
    "opencode": functools.cache(opencode.obstacle),
    "promtool": functools.cache(promtool.obstacle),
    "systemd": functools.cache(systemd.obstacle),
    "wheels": functools.cache(wheels.obstacle),
}
REQUIRE = "FLEET_REQUIRE_REAL"
GRACE_S = 3.0  # how long a process may take to notice that its test is over (PROMISES 11)


def pytest_configure() -> None:
    """Mark whatever this pytest process starts (an xdist worker is one of its own)."""
    os.environ[MARK] = f"{os.getpid()}-{procs.born(os.getpid())}"


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip, or fail, before any fixture of a test whose part is not there."""
    for part, obstacle in OBSTACLES.items():
        reason = obstacle() if item.get_closest_marker(part) else None
        if reason is not None and os.environ.get(REQUIRE) == "1":
            pytest.fail(f"{REQUIRE}=1, and {reason}", pytrace=False)
        if reason is not None:
            pytest.skip(reason)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which parts of the lab are missing, and how many tests did not run for it."""
    skipped = [str(report.longrepr) for report in terminalreporter.stats.get("skipped", [])]
    for part, obstacle in OBSTACLES.items():
        count = sum((obstacle() or part) in longrepr for longrepr in skipped)
        if obstacle() is not None and count:
            terminalreporter.section(f"NOT TESTED: {part}", red=True, bold=True)
            terminalreporter.line(f"{count} tests did not run. {obstacle()}")


@pytest.fixture(autouse=True, scope="module")
def nothing_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """A module fails if a process that it started still runs when it is over; the process is ended."""
    yield
    left = procs.wait_gone(procs.carrying(**{MARK: os.environ[MARK]}), timeout_s=GRACE_S)
    described = [process.describe() for process in left]
    procs.end(left)
    if left:
        pytest.fail(f"{request.node.name} left behind:\n" + "\n".join(described), pytrace=False)
