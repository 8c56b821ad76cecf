"""The command line with a daemon: real processes, one host that is a script and one where nothing listens."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from serving import IDLE, WAITING, write_config, write_snapshot

FLEET = [sys.executable, "-m", "fleet"]


class Running:
    """A daemon in a home of its own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        config = path / ".config" / "fleet"
        config.mkdir(parents=True)
        self.config = write_config(config / "hosts.toml", WAITING, IDLE)
        self.run_dir = path / "run"
        self.env = {
            "HOME": str(path),
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "FLEET_RUNTIME_DIR": str(self.run_dir),
        }
        self.log = path / "log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("wb") as log:
            self.process = subprocess.Popen([*FLEET, "daemon"], env=self.env, stdout=log, stderr=log)
        self.wait_for("daemon", "status")
        until = time.monotonic() + 20
        while self.document()["hosts"][1]["link"] == "pending" or not self.document()["sessions"]:
            assert time.monotonic() < until
            time.sleep(0.05)

    def wait_for(self, *arguments: str) -> None:
        until = time.monotonic() + 20
        while self.run(*arguments).returncode != 0:
            assert time.monotonic() < until, self.log.read_text()
            time.sleep(0.05)

    def run(self, *arguments: str, **env: str) -> "subprocess.CompletedProcess[str]":
        environ = {**self.env, **env}
        return subprocess.run([*FLEET, *arguments], env=environ, capture_output=True, text=True, timeout=60)

    def document(self, *arguments: str) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.run("status", "--json", *arguments).stdout)
        return document

    def change(self, **facts: Any) -> None:
        """Let the waiting session be in another state from now on, and the daemon read it."""
        write_snapshot(self.config.parent / "agent", msgspec.structs.replace(WAITING, **facts), IDLE)
        assert self.run("status", "--fresh").returncode == 4

    def stop(self) -> None:
        if self.process:
            self.process.send_signal(signal.SIGTERM)
            assert self.process.wait(10) == 0
            self.process = None


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Running]:
    running = Running(tmp_path)
    running.start()
    try:
        yield running
    finally:
        running.stop()


def test_status_is_answered_by_the_daemon(daemon: Running) -> None:
    """The same document, table and exit code as without it; -v says where the answer came from."""
    answered = daemon.run("status", "--json", "-v")
    assert f"answered by the daemon at {daemon.run_dir}/fleet.sock" in answered.stderr
    assert answered.returncode == 4
    by_daemon, direct = json.loads(answered.stdout), daemon.document("--no-daemon")
    assert [s["key"] for s in by_daemon["sessions"]] == [s["key"] for s in direct["sessions"]]
    assert by_daemon.keys() == direct.keys()
    assert by_daemon["hosts"][0].keys() == direct["hosts"][0].keys()
    assert by_daemon["host_errors"][0]["next_retry_at"] is not None  # which only a daemon has
    for arguments in ((), ("--why",), ("--format", "csv"), ("--format", "ndjson")):
        table = daemon.run("status", *arguments)
        assert (table.returncode, table.stderr) == (4, "")
        assert WAITING.id in table.stdout
    assert daemon.run("status", "--host", "local").returncode == 0
    assert daemon.run("status", "--host", "dead").returncode == 5
    assert daemon.run("status", "--fail-on", "none").returncode == 0
    assert daemon.run("status", "--host", "nobody").returncode == 2


def test_an_answered_status_imports_little(daemon: Running) -> None:
    """It is on the way of every look at the fleet: no SSH, no event loop, no decoding of what is passed on."""
    code = (
        "import sys; from fleet.cli.app import app\n"
        "try: app(['status', '--json'], standalone_mode=True)\n"
        "except SystemExit: pass\n"
        "print([m for m in ('asyncssh', 'asyncio', 'msgspec', 'starlette', 'http.client') if m in sys.modules],"
        " file=sys.stderr)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], env=daemon.env, capture_output=True, text=True, timeout=60
    )
    assert json.loads(ran.stdout)["sessions"]
    assert ran.stderr == "[]\n"


def test_another_configuration_is_read_without_the_daemon(daemon: Running, tmp_path: Path) -> None:
    """Who names a hosts.toml gets that one; the daemon's own may be named too."""
    other = tmp_path / "other.toml"
    other.write_text('[hosts.dead]\naddress = "127.0.0.1"\nport = 1\nssh_config = "none"\n')
    ran = daemon.run("status", "-v", "--config", str(other), "-x", "local")
    assert "another configuration" in ran.stderr
    assert ran.returncode == 5
    assert "answered by" in daemon.run("status", "-v", "--config", str(daemon.config)).stderr


def test_fresh_asks_every_agent_anew(daemon: Running) -> None:
    """What the daemon knows may be an interval old; --fresh is not."""
    daemon.change(state="idle", detail="turn_done")
    assert {s["state"] for s in daemon.document()["sessions"]} == {"idle"}
    assert daemon.run("status", "--fresh", "--no-daemon").returncode == 2


def test_watch_tells_each_change_once_and_resumes(daemon: Running) -> None:
    """Numbered without holes; behind a given id the same events come again, as many as there were."""
    watching = subprocess.Popen(
        [*FLEET, "watch", "--ndjson"], env=daemon.env, stdout=subprocess.PIPE, text=True
    )
    assert watching.stdout is not None
    hello = json.loads(watching.stdout.readline())
    assert hello["type"] == "hello"
    daemon.change(state="working", detail="tool")
    daemon.change(state="idle", detail="turn_done")
    told = [json.loads(watching.stdout.readline()) for _ in range(2)]
    watching.terminate()
    watching.wait(10)
    watching.stdout.close()
    assert [(t["type"], t["entry"]["state"], t["is_new"]) for t in told] == [
        ("session", "working", False),
        ("session", "idle", False),
    ]
    assert [t["seq"] for t in told] == [hello["seq"] + 1, hello["seq"] + 2]
    again = subprocess.Popen(
        [*FLEET, "watch", "--ndjson", "--after", told[0]["id"]],
        env=daemon.env,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert again.stdout is not None
    again.stdout.readline()
    assert json.loads(again.stdout.readline())["id"] == told[1]["id"]
    again.terminate()
    again.wait(10)
    again.stdout.close()


def test_wait_ends_when_the_session_gets_there(daemon: Running) -> None:
    """At once if it is so already; else with the change; 124 when the time is up; 2 for what is not clear."""
    waits = daemon.run("wait", WAITING.id[:13], "--for", "waiting")
    assert (waits.returncode, waits.stdout) == (0, f"local:{WAITING.id}  waiting approval\n")
    waiting = subprocess.Popen(
        [*FLEET, "wait", f"local:{WAITING.id}", "--for", "idle"],
        env=daemon.env,
        stdout=subprocess.PIPE,
        text=True,
    )
    time.sleep(0.5)
    assert waiting.poll() is None
    daemon.change(state="idle", detail="turn_done")
    out, _ = waiting.communicate(timeout=20)
    assert (waiting.returncode, out) == (0, f"local:{WAITING.id}  idle turn_done\n")
    assert daemon.run("wait", IDLE.id, "--for", "waiting", "--timeout", "0.3").returncode == 124
    ambiguous = daemon.run("wait", "01a1fbf3")
    assert ambiguous.returncode == 2
    assert "2 sessions begin with" in ambiguous.stderr
    assert daemon.run("wait", "nobody").returncode == 2


def test_hosts_shows_each_link(daemon: Running) -> None:
    """One line a host, with the error of the one that is down; the same as JSON, and without the daemon."""
    ran = daemon.run("hosts")
    lines = ran.stdout.splitlines()
    assert ran.returncode == 4
    assert [line.split()[:2] for line in lines[1:]] == [["local", "up"], ["dead", "down"]]
    assert "unreachable (connect)" in lines[2]
    for arguments in (("--json",), ("--json", "--no-daemon")):
        told = json.loads(daemon.run("hosts", *arguments).stdout)
        assert {h["name"]: h["link"] for h in told["hosts"]} == {"local": "up", "dead": "down"}
        assert told["host_errors"][0]["hint"]


def test_a_daemon_is_asked_reloaded_and_stopped(daemon: Running) -> None:
    """Each by a command, for scripts and people; a second daemon is refused with exit code 6."""
    assert str(daemon.process.pid if daemon.process else 0) in daemon.run("daemon", "status").stdout
    second = daemon.run("daemon")
    assert second.returncode == 6
    assert f"pid {daemon.process.pid if daemon.process else 0}" in second.stderr
    daemon.config.write_text(daemon.config.read_text() + '[hosts.new]\naddress = "127.0.0.1"\nport = 1\n')
    assert daemon.run("daemon", "reload").stdout == "following 3 hosts\n"
    daemon.config.write_text("nonsense")
    refused = daemon.run("daemon", "reload")
    assert refused.returncode == 2
    assert "hosts.toml" in refused.stderr
    assert len(daemon.document()["hosts"]) == 3
    assert "has ended" in daemon.run("daemon", "stop").stdout
    assert daemon.process is not None
    assert daemon.process.wait(10) == 0
    daemon.process = None
    for arguments in (("daemon", "status"), ("daemon", "stop"), ("watch",), ("wait", "x")):
        assert daemon.run(*arguments).returncode == 6, arguments
    assert (
        daemon.run("status", "-x", "dead").returncode == 2
    )  # of the file, which is read again without a daemon


def test_a_wrong_listen_address(tmp_path: Path) -> None:
    """What is wrong and what would be right."""
    env = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "FLEET_RUNTIME_DIR": str(tmp_path / "run")}
    for value in ("7433", "localhost:7433", "127.0.0.1:0", "127.0.0.1:x", "[::1]:99999"):
        ran = subprocess.run(
            [*FLEET, "daemon", "--listen", value], env=env, capture_output=True, text=True, timeout=60
        )
        assert ran.returncode == 2
        assert value in ran.stderr
