"""The verbs of the command line over the connections of a running daemon, and following across broken ones."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import IO, Self

import pytest

from lab import inventory
from lab.controlled import Controlled
from lab.fleetd import Fleetd
from lab.mock_responses import MockResponses
from lab.waiting import wait_until

pytestmark = [pytest.mark.sshd, pytest.mark.codex]

NAMES = ("h0001", "h0002")
HEAVY = ("asyncssh", "uvicorn", "starlette")
PROGRAM = (
    "import sys\n"
    "from fleet.cli.app import main\n"
    "sys.argv[0] = 'fleet'\n"
    "try:\n    main()\n"
    f"finally:\n    print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)\n"
)


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory, mock_api: MockResponses) -> Iterator[Controlled]:
    """Two hosts with Codex, that may be controlled."""
    with Controlled(tmp_path_factory.mktemp("hosts"), mock_api, hosts=2, permitted=2) as hosts:
        yield hosts


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory, hosts: Controlled) -> Iterator[Fleetd]:
    """A daemon that is logged in to both, and that `hosts.run` finds."""
    tables = inventory.tables(hosts.fleet, control=True)
    tables["hosts"]["local"] = {"control": False}
    with Fleetd(tmp_path_factory.mktemp("daemon"), tables) as daemon:
        hosts.environ |= {"FLEET_RUNTIME_DIR": str(daemon.runtime), "FLEET_CONFIG": str(daemon.config)}
        daemon.until_link("up", *NAMES)
        yield daemon


def logins(hosts: Controlled) -> list[int]:
    """How often each host was logged in to."""
    return [hosts.fleet.logins(name) for name in NAMES]


def started(hosts: Controlled, prompt: str, *options: str) -> str:
    """The key of a session that runs this prompt on the first host."""
    return hosts.out("run", "h0001", "--cwd", str(hosts.project), *options, "--", prompt).strip()


def asked(api: MockResponses, name: str) -> None:
    """Wait until the model is asked for what it holds back."""
    wait_until(lambda: api.holds(name), f"the model holds {name}", timeout_s=20)


def test_the_daemon_is_used_by_itself(hosts: Controlled, daemon: Fleetd, mock_api: MockResponses) -> None:
    """Every verb takes the connection that is open: not one login more, nothing of SSH or HTTP imported."""
    before = logins(hosts)
    both = ("--host", ",".join(NAMES))
    fanned = hosts.out("run", *both, "--cwd", str(hosts.project), "--name", "twin", "--", "HOLD twin SAY x")
    assert [key.partition(":")[0] for key in fanned.split()] == [*NAMES]
    asked(mock_api, "twin")
    listed = [line.split() for line in hosts.out("ps", *both).splitlines()]
    numbers = {row[1]: row[0] for row in listed if row[2] == "twin"}
    assert numbers.keys() == {*NAMES}
    stopped = hosts.out("stop", numbers["h0002"])
    assert stopped.startswith(next(key for key in fanned.split() if key.startswith("h0002")))
    mock_api.release("twin")
    assert hosts.out("logs", "-f", "h0001:twin").splitlines()[-1].endswith("ended: exit 0")
    assert "codex resume" in hosts.out("resume", "h0001:twin")
    for refused in (("logs", "twin"), ("send", "h0002:twin", "more")):
        by_daemon = hosts.run(*refused)
        assert by_daemon.returncode in (2, 3), by_daemon
        assert logins(hosts) == before
        direct = hosts.run(*refused, "--no-daemon")
        told = [(ran.returncode, ran.stdout, ran.stderr) for ran in (by_daemon, direct)]
        assert told[0] == told[1]
        before = logins(hosts)
    for name in NAMES:
        hosts.out("delete", f"{name}:twin", "--stop")
    assert logins(hosts) == before


def test_nothing_heavy_is_imported(hosts: Controlled, daemon: Fleetd) -> None:
    """What the daemon has imported, the command line need not; with -v it says whose connections it takes."""
    command = [sys.executable, "-c", PROGRAM, "approvals", "-v", "--host", "h0002"]
    ran = subprocess.run(command, env=hosts.environ, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
    assert f"fleet: by the daemon at {daemon.socket}\n" in ran.stderr
    assert ran.stderr.endswith("[]\n")


def test_a_daemon_that_goes_by_another_file_is_left_alone(hosts: Controlled, daemon: Fleetd) -> None:
    """What hosts.toml says now counts: the daemon has not read it, so it is not asked."""
    before, text = logins(hosts), daemon.config.read_text()
    daemon.config.write_text(text.replace("[hosts.h0001]", '[hosts.h0001]\ntags = ["new"]'))
    try:
        ran = hosts.run("ps", "--host", "h0001", "-v")
    finally:
        daemon.config.write_text(text)
    assert ran.returncode == 0, ran.stderr
    assert "another hosts.toml, or has not read this one again; logging in without a daemon" in ran.stderr
    assert logins(hosts) == [before[0] + 1, before[1]]


@pytest.mark.parametrize("way", ["daemon", "direct"])
def test_a_broken_connection_is_passed_over(
    hosts: Controlled, daemon: Fleetd, mock_api: MockResponses, way: str
) -> None:
    """Its sshd is killed, its daemon ends: `logs -f` goes on behind the last event. None is lost or twice."""
    key, options = started(hosts, f"HOLD {way} SAY still here"), ("--no-daemon",) if way == "direct" else ()
    with Command(hosts, "logs", "-f", "--json", key, *options) as following:
        following.out.until(f"HOLD {way}")
        asked(mock_api, way)
        assert hosts.fleet.drop("h0001")
        following.err.until("connected again")
        if way == "daemon":
            daemon.stop()
            following.err.until("the daemon has ended; trying again")
            following.err.until("connected again")
            daemon.start().until_link("up", *NAMES)
        mock_api.release(way)
        assert following.process.wait(20) == 0, following.err.text()
    said = following.out.text()
    events = [json.loads(line) for line in said.splitlines()]
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert said == hosts.out("logs", key, "--json")
    hosts.out("delete", key)


def test_an_attachment_goes_on(hosts: Controlled, daemon: Fleetd, mock_api: MockResponses) -> None:
    """What was said while there was no connection is shown; what was typed then was refused, not queued."""
    key = started(hosts, "HOLD again SAY still there")
    with Command(hosts, "attach", key) as attached:
        attached.out.until("attached to")
        asked(mock_api, "again")
        hosts.fleet.freeze("h0001")
        try:
            assert hosts.fleet.drop("h0001")
            attached.err.until("trying again")
            attached.type("/interrupt")
            attached.out.until("not sent: there is no connection now")
            mock_api.release("again")
        finally:
            hosts.fleet.thaw("h0001")
        attached.err.until("connected again")
        attached.out.until("ended: exit 0")
        assert attached.process.wait(20) == 0
    text = attached.out.text()
    assert text.count("still there") == text.count("turn completed") == 1
    hosts.out("delete", key)


class Command:
    """A command of fleet that goes on, and is ended with the block. `out` and `err`: what it prints."""

    def __init__(self, hosts: Controlled, *arguments: str) -> None:
        self.process = hosts.begin(*arguments, given=subprocess.PIPE)
        self.out, self.err = Lines(self.process.stdout), Lines(self.process.stderr)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.process.kill()
        self.process.wait()
        for lines in (self.out, self.err):
            lines.close()
        assert self.process.stdin is not None
        self.process.stdin.close()

    def type(self, line: str) -> None:
        """Give it a line."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()


class Lines:
    """The lines of a pipe, read as they come."""

    def __init__(self, pipe: IO[str] | None) -> None:
        assert pipe is not None
        self._lines: list[str] = []
        self._pipe = pipe
        self._next = 0
        self._reading = threading.Thread(target=self._read)
        self._reading.start()

    def until(self, text: str) -> None:
        """Wait for the next line with this in it."""

        def after() -> int | None:
            return next((n + 1 for n in range(self._next, len(self._lines)) if text in self._lines[n]), None)

        self._next = wait_until(after, f"{text!r} is in {self._lines}", timeout_s=20)

    def text(self) -> str:
        """All of them, once the pipe has ended."""
        self._reading.join(10)
        return "".join(self._lines)

    def close(self) -> None:
        """Read to the end, and no more."""
        self._reading.join(10)
        self._pipe.close()

    def _read(self) -> None:
        self._lines.extend(iter(self._pipe.readline, ""))
