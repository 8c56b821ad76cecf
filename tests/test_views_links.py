"""fleet.views.links: the table of `fleet hosts`."""

import pytest

from fleet.errors import ErrorKind, HostError, Phase
from fleet.model import HostFailed, HostRead, HostSlow, Reading, apply, empty
from fleet.views.document import document
from fleet.views.lines import Style, plain
from fleet.views.links import links
from fleet_agent.wire import Hello, Session, Snapshot

ERROR = HostError(ErrorKind.TIMEOUT, Phase.CONNECT, "10.0.0.4 did not answer within 5 s", "look")


def lines(width: int | None = None) -> list[tuple[str, Style | None]]:
    snapshot = Snapshot(1, 1000.0, (Session(tool="codex", id="x"),))
    reading = Reading(Hello(schema=1), snapshot, 940.0, 40.0, 0.1)
    fleet = apply(
        empty(["up", "slow", "down", "stale", "new"]),
        HostRead("up", reading),
        HostRead("slow", reading),
        HostSlow("slow", 990.0),
        HostFailed("down", ERROR, 950.0, 1030.0),
        HostRead("stale", reading),
        HostFailed("stale", ERROR, 970.0),
    )
    now = document(fleet, 1000.0, 100.0)
    return [(plain(line), line[0][1] if line else None) for line in links(now, 1000.0, width)]


def test_each_link_on_a_line() -> None:
    """Since when, how old the reading is, how many sessions, failed attempts, the next one, skew, the error."""
    assert [text.split(maxsplit=8) for text, _ in lines()] == [
        ["HOST", "LINK", "SINCE", "AGE", "SESSIONS", "ATTEMPTS", "RETRY", "SKEW", "ERROR"],
        ["up", "up", "1m", "1m", "1", "0", "-", "+1m", "-"],
        ["slow", "slow", "10s", "1m", "1", "0", "-", "+1m", "-"],
        ["down", "down", "50s", "-", "-", "1", "30s", "-", f"timeout (connect): {ERROR.message}"],
        ["stale", "stale", "30s", "1m", "1", "1", "-", "+1m", f"timeout (connect): {ERROR.message}"],
        ["new", "pending", "-", "-", "-", "0", "-", "-", "-"],
    ]


def test_trouble_stands_out() -> None:
    """By colour where there is one, by its word always."""
    styles = [style for _, style in lines()]
    assert styles == [Style.HEADER, Style.WORKING, Style.WAITING, Style.FAILED, Style.FAILED, None]


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_terminal_shows_errors_below_with_their_fix(width: int) -> None:
    """No line is wider than it; of an error nothing is cut, and hosts that fail alike are told of once."""
    shown = [text for text, _ in lines(width)]
    assert max(map(len, shown)) <= width
    assert shown[0].split() == ["HOST", "LINK", "SINCE", "AGE", "SESSIONS", "ATTEMPTS", "RETRY", "SKEW"]
    assert " ".join(" ".join(shown[6:]).split()) == f"down,stale: timeout (connect): {ERROR.message} hint: look"
