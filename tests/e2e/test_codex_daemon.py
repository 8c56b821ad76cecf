"""The real Codex's own background server, asked for the state of the sessions that it holds."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from fleet_agent.scan import Scanner
from fleet_agent.tools.codex.find import Codex
from fleet_agent.wire import Session
from lab.codex import CodexHome
from lab.mock_responses import MockResponses
from lab.waiting import wait_until

pytestmark = pytest.mark.codex

LOOK_FOR_S = 20.0
Told = tuple[str, str | None, str | None, str]


@pytest.fixture
def home(mock_api: MockResponses) -> Iterator[CodexHome]:
    """A home in which Codex asks before it leaves the sandbox."""
    with CodexHome(mock_api.url, approval="on-request", sandbox="read-only") as home:
        yield home


class Seen:
    """The one session of a home, as a stream sees it reading after reading, and as one `snapshot` does."""

    def __init__(self, home: CodexHome) -> None:
        self._home = home
        self._scanner = Scanner((Codex(environ=home.env),))

    def until(self, state: str, detail: str) -> None:
        """Wait for a state that is a fact, seen by both ways."""
        wanted = (state, detail, "app_server", "fact")
        what = f"the session is {', '.join(wanted)}"
        for seen in (self._streamed, self._snapshot):
            wait_until(lambda: seen() == wanted, what, timeout_s=LOOK_FOR_S)  # noqa: B023

    def _streamed(self) -> Told | None:
        reading = self._scanner.scan()
        ours = [s for s in reading.sessions if s.home == str(self._home.home)]
        return _told(ours[0]) if ours else None

    def _snapshot(self) -> Told:
        argv = [sys.executable, "-m", "fleet_agent", "snapshot"]
        done = subprocess.run(argv, env=self._home.env, capture_output=True, check=True, timeout=60)
        sessions = json.loads(done.stdout.splitlines()[-1])["sessions"]
        (ours,) = [s for s in sessions if s["home"] == str(self._home.home)]
        return ours["state"], ours["detail"], ours["evidence"], ours["confidence"]


def _told(session: Session) -> Told:
    return session.state, session.detail, session.evidence, session.confidence


def test_the_daemon_says_what_no_file_does(home: CodexHome) -> None:
    """New, done, waiting for an approval, at work, at work without its terminal, failed: each a fact."""
    seen = Seen(home)
    terminal = home.tui(daemon=True)
    seen.until("idle", "new")
    terminal.type("SAY hello")
    terminal.wait_for("hello")
    seen.until("idle", "turn_done")
    terminal.type("ESC touch x ;; SLOW 60 SAY done")
    terminal.wait_for("Press enter to confirm")
    seen.until("waiting", "approval")
    terminal.press("y")
    seen.until("working", "thinking")
    terminal.close()
    time.sleep(1)  # for the daemon to see that it is gone
    seen.until("working", "thinking")


def test_the_daemon_tells_a_question_and_how_a_turn_ended(home: CodexHome) -> None:
    """A failed turn, a question, an interrupted turn: waiting or idle, and why."""
    with (home.home / "config.toml").open("a") as config:
        config.write("\n[features]\ndefault_mode_request_user_input = true\n")
    seen = Seen(home)
    terminal = home.tui(daemon=True)
    terminal.type("ASK which ;; SAY answered")
    seen.until("waiting", "question")
    terminal.press("Enter")
    terminal.wait_for("answered")
    terminal.type("FAIL 400")
    seen.until("idle", "failed")
    terminal.type("SLOW 60 SAY never")
    seen.until("working", "thinking")
    terminal.press("Escape")
    seen.until("idle", "aborted")
