"""The Claude lab itself: the real Claude Code gets into the states that a test asks for; no trace is left."""

import json
import time

import pytest

from lab import procs
from lab.claude import CLAUDE_VERSION, ClaudeHome
from lab.mock_anthropic import MockAnthropic
from lab.waiting import wait_until

pytestmark = pytest.mark.claude


def test_a_session_and_its_end(mock_anthropic: MockAnthropic) -> None:
    """The terminal UI of the pinned version runs a turn, says what it does, and does not survive its home."""
    with ClaudeHome(mock_anthropic.url) as home:
        tui = home.tui()
        tui.type("RUN touch begun && tail -f begun ;; SAY never")
        tui.wait_for("Do you want to proceed?")
        (status,) = (home.config / "sessions").glob("*.json")
        waiting = lambda: '"waiting"' in status.read_text()  # noqa: E731
        wait_until(waiting, "it says that it waits", timeout_s=30)
        told = json.loads(status.read_text())
        assert told["version"] == CLAUDE_VERSION
        time.sleep(1)  # it takes no key in the first 0.2 s of a prompt
        tui.press("1")
        wait_until((home.project / "begun").exists, "the tool runs", timeout_s=30)
        assert [path.stem for path in home.transcripts()] == [told["sessionId"]]
        assert procs.carrying(CLAUDE_CONFIG_DIR=str(home.config))
    assert procs.carrying(CLAUDE_CONFIG_DIR=str(home.config)) == []
    assert not home.root.exists()
