"""Real Codex sessions, seen locally and over SSH, with the same state both ways."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lab import inventory
from lab.codex import CodexHome
from lab.mock_responses import MockResponses
from lab.sshfleet import SshFleet, install_agent
from lab.waiting import wait_until

pytestmark = [pytest.mark.sshd, pytest.mark.codex]

SAME = ("state", "detail", "evidence", "confidence", "title", "cwd", "branch", "model", "tokens", "pids", "tty")
LOOK_FOR_S = 20.0


class Seen:
    """What `fleet status --json` says, of this machine and through SSH, run in the environment of one home."""

    def __init__(self, config: Path, home: CodexHome) -> None:
        self._config, self._home = config, home

    def sessions(self, host: str) -> list[dict[str, Any]]:
        """All sessions of one host."""
        argv = [
            sys.executable,
            "-m",
            "fleet",
            "status",
            "--json",
            "--host",
            host,
            "--config",
            str(self._config),
        ]
        done = subprocess.run(argv, env=self._home.env, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr + done.stdout
        sessions: list[dict[str, Any]] = json.loads(done.stdout)["sessions"]
        return sessions

    def until(self, what: str, found: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The one session that was looked for, as this machine and an SSH host both see it."""

        def look(host: str) -> Callable[[], dict[str, Any] | None]:
            ours = lambda s: s["home"] == str(self._home.home) and found(s)  # noqa: E731
            return lambda: next(filter(ours, self.sessions(host)), None)

        here = wait_until(look("local"), what, timeout_s=LOOK_FOR_S)
        there = wait_until(look("h0001"), f"{what} over SSH", timeout_s=LOOK_FOR_S)
        assert {key: here[key] for key in SAME} == {key: there[key] for key in SAME}
        assert here["id"] == there["id"]
        assert there["host"] == "h0001"
        return there


@pytest.fixture
def seen(codex_home: CodexHome, ssh_fleet: Callable[..., SshFleet], tmp_path: Path) -> Seen:
    """One SSH host, which is this machine, with the real agent on it."""
    lab = ssh_fleet(hosts=1)
    (agent,) = install_agent(lab)
    tables = inventory.tables(lab, privacy="title")
    # An ended session is looked for in the homes that are known: over SSH nobody else says which that is.
    tables["hosts"]["h0001"]["agent_command"] = f"env CODEX_HOME={codex_home.home} {agent}"
    return Seen(inventory.write(tmp_path / "hosts.toml", tables), codex_home)


def is_in(state: str, detail: str) -> Callable[[dict[str, Any]], bool]:
    return lambda session: (session["state"], session["detail"]) == (state, detail)


def test_a_terminal_session_that_waits_for_its_next_prompt(seen: Seen, codex_home: CodexHome) -> None:
    """A live TUI whose turn is over is idle, with its pid, terminal, tokens and branch."""
    terminal = codex_home.tui()
    terminal.type("USAGE 1000 400 50 10 SAY hello")
    terminal.wait_for("hello")
    session = seen.until("a session is idle", is_in("idle", "turn_done"))
    assert (session["evidence"], session["confidence"]) == ("lifecycle", "fact")
    assert session["cwd"] == str(codex_home.project)
    assert session["branch"] == "lab"
    assert session["tokens"]["total"] >= 1050
    assert session["context_window_tokens"] > 1000
    assert session["tty"].startswith("pts/")
    assert len(session["pids"]) == 1
    assert session["reason"]


def test_a_terminal_session_in_the_middle_of_a_slow_tool_call(seen: Seen, codex_home: CodexHome) -> None:
    """While a command runs the session is working, with a tool."""
    terminal = codex_home.tui()
    terminal.type("TOOL sleep 120")
    codex_home.wait_for_tool()
    session = seen.until("a tool is running", is_in("working", "tool"))
    assert session["confidence"] in ("fact", "strong")
    assert session["age_s"] is not None
    terminal.press("Escape")
    assert seen.until("it was interrupted", is_in("idle", "aborted"))["id"] == session["id"]


def test_a_codex_exec_that_has_finished(seen: Seen, codex_home: CodexHome) -> None:
    """A run that ended lately is shown as ended, well or not."""
    assert codex_home.exec("SAY done").returncode == 0
    session = seen.until("an exec ended well", is_in("ended", "ok"))
    assert session["pids"] == []
    assert session["ended_at"] is not None
    assert codex_home.exec("FAIL 400").returncode == 1
    failed = seen.until("an exec failed", is_in("ended", "failed"))
    assert failed["id"] != session["id"]


def test_a_codex_exec_that_was_killed(seen: Seen, codex_home: CodexHome) -> None:
    """A turn without an end whose process is gone has crashed: it is not working for ever."""
    started = codex_home.start_exec("TOOL sleep 120")
    codex_home.wait_for_tool()
    working = seen.until("the exec runs a tool", is_in("working", "tool"))
    for pid in working["pids"]:
        subprocess.run(["kill", "-KILL", str(pid)], check=True)
    started.wait(10)
    assert seen.until("the exec crashed", is_in("ended", "crashed"))["id"] == working["id"]


def test_sessions_of_a_home_that_nobody_named(
    seen: Seen, codex_home: CodexHome, mock_api: MockResponses
) -> None:
    """CODEX_HOME is each process's own: sessions of another home are found through their processes."""
    with CodexHome(mock_api.url) as other:
        other.start_exec("TOOL sleep 120")
        other.wait_for_tool()
        assert codex_home.exec("SAY done").returncode == 0
        for host in ("local", "h0001"):
            homes = {s["home"]: s["state"] for s in seen.sessions(host)}
            assert homes[str(codex_home.home)] == "ended"
            assert homes[str(other.home)] == "working"
