"""What the machine knows of a real Codex session: its processes, its ports, its terminal, its repository."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import psutil
import pytest

from lab.codex import CodexHome
from lab.waiting import wait_until

pytestmark = pytest.mark.codex

SERVE = "python3 -m http.server 0 --bind 127.0.0.1"


def snapshot(home: CodexHome) -> dict[str, Any]:
    """One reading by an agent of its own."""
    argv = [sys.executable, "-m", "fleet_agent", "snapshot"]
    done = subprocess.run(argv, env=home.env, capture_output=True, text=True, timeout=60, check=True)
    reading: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return reading


def session_until(home: CodexHome, what: str, found: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    """The one session of this home, as soon as it is so."""

    def look() -> dict[str, Any] | None:
        ours = [s for s in snapshot(home).get("sessions", ()) if s.get("home") == str(home.home)]
        return next((s for s in ours if found(s)), None)

    return wait_until(look, what, timeout_s=30)


def listening(session: dict[str, Any]) -> list[dict[str, Any]]:
    """Servers; not one that was still its shell when its name was read, a moment before its ports."""
    listed = session.get("children", ())
    return [child for child in listed if child.get("ports") and child["name"].startswith("python3")]


def test_a_server_in_a_tool_call(codex_home: CodexHome) -> None:
    """Port, program, call; the tmux pane of the terminal; the repository with what was changed in it."""
    terminal = codex_home.tui()
    (codex_home.project / "new").write_text("")
    terminal.type(f"TOOL {SERVE}")
    all_told = "its server listens, and git has answered"
    session = session_until(codex_home, all_told, lambda s: listening(s) and "commit" in s)
    (server,) = listening(session)
    with socket.create_connection(("127.0.0.1", server["ports"][0]), timeout=10):
        pass
    rollout = codex_home.rollouts()[-1].read_text()
    assert f'"call_id":"{server["call_id"]}"' in rollout
    assert session["child_count"] == len(session["children"]) <= 3  # a shell, the server
    (pid,) = session["pids"]
    assert session["rss_bytes"] > server["rss_bytes"] + psutil.Process(pid).memory_info().rss // 2
    pane = terminal._tmux("display-message", "-p", "#{pane_id}").strip()
    assert session["pane"] == {"kind": "tmux", "id": pane, "socket": str(codex_home.root / "tmux1")}
    assert (session["repository"], session["branch"]) == (str(codex_home.project), "lab")
    assert (session["dirty_files"], len(session["commit"])) == (1, 8)
    terminal.press("Escape")


def test_a_server_that_a_session_leaves_behind(codex_home: CodexHome) -> None:
    """It was detached on purpose, as dev servers are; when the session is over its port is an orphan's."""
    started = codex_home.start_exec(f"TOOL setsid {SERVE} >/dev/null 2>&1 & sleep 120")
    session = session_until(codex_home, "its server listens", listening)
    (server,) = listening(session)
    started.send_signal(signal.SIGINT)
    for pid in session["pids"]:
        os.kill(pid, signal.SIGKILL)
    started.wait(20)

    def orphan() -> dict[str, Any] | None:
        ports = snapshot(codex_home).get("orphan_ports", ())
        return next((port for port in ports if port["session_id"] == session["id"]), None)

    found = wait_until(orphan, "the server is an orphan", timeout_s=30)
    assert (found["port"], found["pid"]) == (server["ports"][0], server["pid"])
    os.kill(server["pid"], signal.SIGKILL)
