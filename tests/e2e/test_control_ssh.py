"""Sessions of the real Codex, started, followed, answered and stopped over real sshd (PROMISES 28)."""

import json
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from lab import inventory
from lab.codex import CodexHome
from lab.controlled import Controlled
from lab.fleetd import Fleetd
from lab.mock_responses import MockResponses
from lab.tmux import Tmux
from lab.waiting import wait_until

pytestmark = [pytest.mark.sshd, pytest.mark.codex]


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory, mock_api: MockResponses) -> Iterator[Controlled]:
    """Two hosts with Codex; only the first may be controlled."""
    with Controlled(tmp_path_factory.mktemp("control"), mock_api, hosts=2) as hosts:
        yield hosts


@pytest.fixture(scope="module")
def asking(tmp_path_factory: pytest.TempPathFactory, mock_api: MockResponses) -> Iterator[Controlled]:
    """A host whose Codex asks before it leaves its sandbox."""
    root = tmp_path_factory.mktemp("asking")
    with Controlled(root, mock_api, approval="on-request", sandbox="read-only") as hosts:
        yield hosts


def started(hosts: Controlled, prompt: str, *options: str) -> str:
    """The key of a session that runs this prompt on the first host."""
    return hosts.out("run", "h0001", "--cwd", str(hosts.project), *options, "--", prompt).strip()


def run_entry(hosts: Controlled, key: str) -> dict[str, object]:
    """What `fleet ps` says of it."""
    runs = json.loads(hosts.out("ps", "--json"))["runs"]
    return next(run for run in runs if key in (run["key"], f"{run['host']}:{run['name']}"))


def state(hosts: Controlled, key: str) -> object:
    return run_entry(hosts, key)["state"]


def asked(api: MockResponses, name: str) -> None:
    """Wait until the model is asked for what it holds back."""
    wait_until(lambda: api.holds(name), f"the model holds {name}", timeout_s=20)


def test_a_session_from_its_start_to_its_deletion(hosts: Controlled, mock_api: MockResponses) -> None:
    """run prints the key, logs -f follows to the end, ps lists, delete forgets; by key, number and name."""
    key = started(hosts, "HOLD life SAY all is well", "--name", "calm-otter")
    assert key.startswith("h0001:")
    following = hosts.begin("logs", "-f", key)
    asked(mock_api, "life")
    table = hosts.out("ps")
    assert "calm-otter" in table
    assert "running" in table
    refused = hosts.run("delete", "calm-otter")
    assert refused.returncode == 3, refused.stderr
    mock_api.release("life")
    said, _ = following.communicate(timeout=30)
    assert following.returncode == 0
    assert "all is well" in said
    assert "turn completed" in said
    assert said.splitlines()[-1].endswith("ended: exit 0")
    assert hosts.out("logs", "1") == said
    events = [json.loads(line) for line in hosts.out("logs", "h0001:calm", "--json").splitlines()]
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert hosts.out("delete", "1").startswith(key)
    gone = hosts.run("logs", "calm-otter")
    assert gone.returncode == 2
    assert "no session 'calm-otter'" in gone.stderr


def test_a_prompt_is_in_no_command_line(hosts: Controlled, mock_api: MockResponses) -> None:
    """It travels on standard input, here and there: nobody lists it with ps (PROMISES 13, 28)."""
    secret = "HOLD argv SAY sesame-4711"
    key = hosts.out("run", "h0001", "--cwd", str(hosts.project), "--", "-", given=secret).strip()
    asked(mock_api, "argv")
    lines = [process.describe() for process in hosts.fleet.processes("h0001")]
    assert any("codex" in line for line in lines)
    assert not any("sesame" in line for line in lines)
    assert hosts.out("stop", key).startswith(key)
    wait_until(lambda: state(hosts, key) == "exited", "it has ended", timeout_s=10)
    assert run_entry(hosts, key)["signal"] == signal.SIGTERM
    hosts.out("delete", key)


def test_a_host_that_may_not_be_controlled_is_left_alone(hosts: Controlled) -> None:
    """Without `control = true` every verb is refused, before anything is sent (PROMISES 28)."""
    logins = hosts.fleet.logins("h0002")
    refused = hosts.run("run", "h0002", "--", "SAY x")
    assert refused.returncode == 5
    assert "control = true" in refused.stderr
    for verb in (("send", "h0002:x", "y"), ("stop", "h0002:x"), ("logs", "h0002:x"), ("approve", "h0002:x")):
        refused = hosts.run(*verb)
        assert refused.returncode == 3, verb
        assert "`control = true` under [hosts.h0002]" in refused.stderr
    assert hosts.fleet.logins("h0002") == logins


def test_a_fan_out_reports_each_host(hosts: Controlled) -> None:
    """`fleet run --host all`: the key of each host where it began, the trouble of each other."""
    ran = hosts.run("run", "--host", "h0001,h0002", "--cwd", str(hosts.project), "--json", "--", "SAY x")
    told = json.loads(ran.stdout)
    assert ran.returncode == 4
    assert [run["host"] for run in told["started"]] == ["h0001"]
    assert [(e["host"], e["kind"]) for e in told["errors"]] == [("h0002", "not_permitted")]


def test_a_restricted_key_cannot_act(hosts: Controlled, tmp_path: Path) -> None:
    """A key that may only observe is refused by the host itself, whatever hosts.toml says (PROMISES 9, 28)."""
    key = tmp_path / "observer"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    agent = hosts.fleet.home("h0001") / ".local/bin/fleet-agent"
    line = f'command="{agent} serve",restrict {key.with_suffix(".pub").read_text()}'
    authorized = hosts.fleet.root / "authorized_keys"
    authorized.write_text(authorized.read_text() + line)
    hosts.write_config(h0001={"identity": str(key)})
    try:
        refused = hosts.run("run", "h0001", "--", "SAY x")
        assert hosts.run("status", "--host", "h0001").returncode == 0
    finally:
        hosts.write_config()
    assert refused.returncode == 5
    assert "may only observe there" in refused.stderr


def test_a_host_that_is_gone_fails_at_once(hosts: Controlled) -> None:
    """Nothing is queued for a host that cannot be reached: it is an error, at once (PROMISES 28)."""
    key = started(hosts, "SAY x")
    hosts.fleet.kill("h0001")
    try:
        began = time.monotonic()
        refused = hosts.run("send", key, "are you there?")
        took_s = time.monotonic() - began
    finally:
        hosts.fleet.revive("h0001")
    assert refused.returncode == 5
    assert "unreachable" in refused.stderr
    assert took_s < 5
    assert "are you there" not in hosts.out("logs", key)
    hosts.out("delete", key)


def test_a_decision_is_made_once(asking: Controlled) -> None:
    """An approval is seen with command and directory, and decided by its number; who comes second is told."""
    key = asks(asking, "made", "ESC touch made ;; SAY made it")
    listed, number = wait_until(lambda: _listed(asking, "made"), "it asks", timeout_s=30)
    assert "$ /bin/bash -lc 'touch made'" in listed
    assert f"in {asking.project}" in listed
    assert not (asking.project / "made").exists()
    first = asking.out("approve", number)
    assert "touch made" in first
    second = asking.run("deny", number)
    assert second.returncode == 3, second.stdout
    assert "any more" in second.stderr
    wait_until(lambda: "made it" in asking.out("logs", key), "its turn goes on", timeout_s=20)
    assert (asking.project / "made").exists()
    assert _listed(asking, "made") is None
    asking.out("stop", key)
    asking.out("delete", key)


def test_a_terminal_that_waits_there_is_answered_here(asking: Controlled, mock_api: MockResponses) -> None:
    """A TUI that fleet did not start asks on that host; it is approved over SSH, and goes on by itself."""
    with CodexHome(mock_api.url, approval="on-request", sandbox="read-only") as home:
        tui = home.tui(daemon=True)
        tui.type("ESC touch by-hand ;; SAY went on")
        asked = wait_until(lambda: _of_project(asking, home.project), "it is seen to ask", timeout_s=40)
        assert asked["command"] == "/bin/bash -lc 'touch by-hand'"
        approved = asking.run("approve", asked["key"], "--request", asked["request_id"])
        assert approved.returncode == 0, approved.stderr
        tui.wait_for("• went on")
        assert (home.project / "by-hand").exists()


def _of_project(hosts: Controlled, project: Path) -> dict[str, str] | None:
    """The open request of a session in this directory."""
    found = json.loads(hosts.out("approvals", "--json"))["approvals"]
    return next((asked for asked in found if asked["cwd"] == str(project)), None)


def test_somebody_takes_part(asking: Controlled, tmp_path: Path) -> None:
    """Events come in above the line that is typed; text is said, /deny denies; Ctrl-D leaves it running."""
    key = asks(asking, "never", "ESC touch never ;; SAY left it")
    wait_until(lambda: _listed(asking, "never"), "it asks", timeout_s=30)
    with terminal_of(asking, tmp_path, "attach", key) as screen:
        screen.wait_for("touch never")
        screen.type("/deny")
        screen.wait_for("decline by")
        screen.wait_for("turn ")
        screen.type("SAY heard you")
        screen.wait_for("heard you\n")
        assert max(map(len, screen.screen().splitlines())) <= 80
        screen.press("C-d")
        screen.wait_for("left with 0")
    assert state(asking, key) == "running"
    assert not (asking.project / "never").exists()
    asking.out("stop", key)
    asking.out("delete", key)


def test_a_terminal_is_attached_to(hosts: Controlled, tmp_path: Path) -> None:
    """A session in tmux there is on this very terminal, again if the connection breaks; its keys detach."""
    here = ("--cwd", str(hosts.project), "--mode", "tmux", "--argument", "--no-daemon")  # quicker to start
    key = hosts.out("run", "h0001", *here).strip()
    with terminal_of(hosts, tmp_path, "attach", key) as screen:
        screen.wait_for("Ask Codex", timeout_s=40)
        screen.type("SAY a word")
        screen.wait_for("• a word")
        assert hosts.fleet.drop("h0001")
        screen.wait_for("the connection was lost; trying again")
        screen.wait_for("• a word")
        screen.press("C-b", "d")
        screen.wait_for("left with 0")
    assert state(hosts, key) == "running"
    hosts.out("stop", key)
    hosts.out("delete", key)


def asks(hosts: Controlled, name: str, prompt: str) -> str:
    """The key of a session of this name whose prompt has it ask for approval."""
    where = ("--cwd", str(hosts.project), "--mode", "app-server", "--name", name)
    return hosts.out("run", "h0001", *where, "--", prompt).strip()


def _listed(hosts: Controlled, name: str) -> tuple[str, str] | None:
    """What `fleet approvals` shows, and the number of this session's line; None while it is not there.

    Sessions of other tests are on the same machine, and so on every lab host.
    """
    listed = hosts.out("approvals")
    line = next((line for line in listed.splitlines() if f"({name})" in line), None)
    return (listed, line.split()[0]) if line else None


@contextmanager
def terminal_of(
    hosts: Controlled, tmp_path: Path, *arguments: str, program: str | None = None
) -> Iterator[Tmux]:
    """A command of fleet, or a program, in a terminal of 80 columns; its exit status is shown at its end."""
    fleet = shlex.join([sys.executable, *(["-c", program] if program else ["-m", "fleet", *arguments])])
    command = f"stty cols 80; unset COLUMNS; {fleet}; echo left with $?; sleep 9"
    with tempfile.TemporaryDirectory(prefix="fleet-tmux-") as place:
        tmux = Tmux(Path(place) / "s", ["sh", "-c", command], cwd=tmp_path, env=hosts.environ)
        try:
            yield tmux
        finally:
            tmux.close()


def test_the_daemon_acts_over_its_open_connection(asking: Controlled, tmp_path: Path) -> None:
    """No login more than the one it has; who comes second is told; a host that is gone fails at once."""
    tables = inventory.tables(asking.fleet, control=True)
    with Fleetd(tmp_path / "daemon", tables) as daemon:
        daemon.until_link("up", "h0001")
        logins = asking.fleet.logins("h0001")
        transport = httpx2.HTTPTransport(uds=str(daemon.socket))
        with httpx2.Client(transport=transport, base_url="http://localhost", timeout=60) as client:
            prompt = {"prompt": "ESC touch api ;; SAY by api", "cwd": str(asking.project)}
            begun = client.post(
                "/v1/sessions/start", json={"host": ["h0001"], "mode": "app-server", **prompt}
            ).json()
            (run,) = begun["runs"]

            def listed() -> dict[str, str] | None:
                found = client.get("/v1/approvals?host=h0001").json()["approvals"]
                return next((asked for asked in found if asked["name"] == run["name"]), None)

            pending = wait_until(listed, "it asks", timeout_s=30)
            path = f"/v1/sessions/h0001:{run['name']}"
            decision = {"decision": "accept", "request_id": pending["request_id"]}
            assert client.post(f"{path}/decide", json=decision).status_code == 200
            assert client.post(f"{path}/decide", json=decision).status_code == 409
            wait_until(lambda: "by api" in client.get(f"{path}/logs").text, "it goes on", timeout_s=20)
            assert client.post(f"{path}/stop", json={}).status_code == 200
            assert client.delete(f"/v1/runs/h0001:{run['name']}").status_code == 200
            assert asking.fleet.logins("h0001") == logins
            asking.fleet.kill("h0001")
            try:
                daemon.until_link("stale", "h0001")
                began = time.monotonic()
                refused = client.post(f"/v1/sessions/{run['key']}/send", json={"text": "x"})
                assert refused.status_code == 503
                assert time.monotonic() - began < 2
            finally:
                asking.fleet.revive("h0001")


def test_a_terminal_is_all_that_is_asked_for(hosts: Controlled, tmp_path: Path) -> None:
    """A pty, where one is wanted, and nothing with it: no agent, no environment (PROMISES 8)."""
    program = (
        "import asyncio, sys\n"
        "from fleet.config import load\nfrom fleet.transport import Transport\n"
        "from fleet.transport.deadlines import Deadlines\n"
        "async def main():\n"
        "    spec = load().hosts['h0001']\n"
        "    command, deadlines = 'env > $HOME/env; tty; exit 7', Deadlines(spec.timeouts)\n"
        "    async with Transport() as transport:\n"
        "        return await transport.terminal(spec, command, deadlines)\n"
        "sys.exit(asyncio.run(main()))\n"
    )
    with terminal_of(hosts, tmp_path, program=program) as screen:
        assert "/dev/pts/" in screen.wait_for("left with 7")
    names = {line.partition("=")[0] for line in (hosts.fleet.home("h0001") / "env").read_text().splitlines()}
    assert {"SSH_TTY", "TERM"} <= names
    assert not {"SSH_AUTH_SOCK", "DISPLAY", "FLEET_CONFIG", "XDG_STATE_HOME", "LC_ALL", "LANG"} & names


def test_what_has_ended_is_pruned(hosts: Controlled) -> None:
    """`fleet prune` forgets what ended long enough ago, and nothing else."""
    key = started(hosts, "SAY x")
    wait_until(lambda: state(hosts, key) == "exited", "it ends", timeout_s=20)
    assert key not in hosts.out("prune", "--older", "1h")
    assert key in hosts.out("prune")
    assert key not in hosts.out("ps", "--json")


def test_a_supervisor_outlives_who_started_it(hosts: Controlled, mock_api: MockResponses) -> None:
    """Not one process of the collector's connection is left, and the run goes on by itself."""
    key = started(hosts, "HOLD alone SAY alone")
    asked(mock_api, "alone")
    wait_until(lambda: not hosts.fleet.sessions(), "no connection is open", timeout_s=10)
    assert state(hosts, key) == "running"
    mock_api.release("alone")
    wait_until(lambda: state(hosts, key) == "exited", "it ends", timeout_s=20)
    hosts.out("delete", key)
