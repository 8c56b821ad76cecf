"""`fleet status` as a process: streams, exit codes, pipes, terminals.

The hosts are real processes: `local` runs a small script that speaks the wire; a dead host is a port of this
machine where nothing listens.
"""

import json
import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

FLEET = [sys.executable, "-m", "fleet"]
AGENT = r"""
import json, select, sys, time
verb, count = sys.argv[2], int(sys.argv[1])
def say(frame):
    print(json.dumps(frame), flush=True)
if count < 0:
    open(__file__ + ".started", "w").close()
    time.sleep(60)
say({"type": "hello", "schema": 1, "agent_version": "0.1.0", "hostname": "here", "now": time.time()})
sessions = [
    {"tool": "codex", "id": f"{i:08}-0000-7000-8000-000000000000", "state": "idle", "detail": "turn_done",
     "title": "日本" if i == 0 else f"title {i}", "since_at": time.time() - 60, "confidence": "fact"}
    for i in range(count)
]
say({"type": "snapshot", "seq": 1, "now": time.time(), "sessions": sessions})
seq = 1
while verb == "stream":
    ready, _, _ = select.select([sys.stdin], [], [], float(sys.argv[4]))
    if ready and not sys.stdin.readline():
        break
    seq += 1
    say({"type": "heartbeat", "seq": seq, "now": time.time()})
"""


class Home:
    """A home directory with a hosts.toml of its own, and the environment to run fleet in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.agent = path / "agent.py"
        self.agent.write_text(AGENT)
        self.env = {"HOME": str(path), "PATH": os.environ["PATH"], "LANG": "C.UTF-8"}
        self.sessions(1)

    def sessions(self, count: int, more: str = "") -> None:
        """Let `local` have `count` sessions (-1: its agent hangs); `more` of hosts.toml."""
        config = self.path / ".config" / "fleet"
        config.mkdir(parents=True, exist_ok=True)
        command = f"{sys.executable} {self.agent} {count}"
        (config / "hosts.toml").write_text(f'[hosts.local]\nagent_command = "{command}"\n{more}')

    def run(self, *arguments: str, **env: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [*FLEET, *arguments],
            env={**self.env, **env},
            capture_output=True,
            text=True,
            timeout=60,
            encoding="utf-8",
        )

    def start(self, *arguments: str, **more: Any) -> "subprocess.Popen[str]":
        return subprocess.Popen([*FLEET, *arguments], env=self.env, text=True, encoding="utf-8", **more)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


@pytest.fixture
def dead_host() -> Iterator[str]:
    """The table of a host that refuses connections: a port that is bound and not listened on."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f'[hosts.dead]\naddress = "127.0.0.1"\nport = {bound.getsockname()[1]}\nssh_config = "none"\n'


def _imported(env: dict[str, str], *arguments: str) -> set[str]:
    """The modules that a command has imported when it ends, well."""
    code = "import atexit, sys\natexit.register(lambda: print(*sys.modules, file=sys.stderr))\n"
    code += "from fleet.cli.app import main\nmain()"
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return set(done.stderr.split())


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["status", "--help"], ["schema"]])
def test_light_commands_import_nothing_heavy(home: Home, arguments: list[str]) -> None:
    """`fleet --help`, `--version` and `schema` import no SSH, no event loop, no terminal or web toolkit."""
    imported = _imported(home.env, *arguments)
    assert "typer" in imported
    heavy = {
        "asyncssh",
        "uvloop",
        "asyncio",
        "rich",
        "textual",
        "starlette",
        "wcwidth",
        "psutil",
        "cryptography",
    }
    assert imported & heavy == set()
    if arguments != ["schema"]:
        assert "msgspec" not in imported


def test_reading_this_machine_imports_no_ssh(home: Home) -> None:
    """Without an SSH host among those selected asyncssh is not imported."""
    imported = _imported(home.env, "status")
    assert "asyncio" in imported
    assert imported & {"asyncssh", "cryptography", "rich", "textual", "starlette"} == set()


def test_version(home: Home) -> None:
    """`fleet --version` says which."""
    assert re.fullmatch(r"fleet \d+\.\d+\.\d+\n", home.run("--version").stdout)


def test_schema_is_the_published_one(home: Home) -> None:
    """`fleet schema` prints docs/schema.json."""
    published = Path(__file__).parents[1] / "docs" / "schema.json"
    assert home.run("schema").stdout == published.read_text("utf-8")


def test_status_in_a_pipe(home: Home) -> None:
    """A table without escape sequences; nothing on stderr; exit code 0."""
    done = home.run("status")
    assert (done.returncode, done.stderr) == (0, "")
    header, row, blank, summary = done.stdout.splitlines()
    facts = ["DOING", "BRANCH", "CWD", "TOKENS", "CTX"]
    assert header.split() == ["HOST", "ID", "TOOL", "STATE", "AGE", "TITLE", *facts]
    assert "日本" in row
    assert (blank, summary) == ("", "1 host up; 1 session: 1 idle")


def test_formats(home: Home) -> None:
    """--json and --format print the formats; --json is --format json, whatever FLEET_FORMAT says."""
    document = json.loads(home.run("status", "--json", FLEET_FORMAT="csv").stdout)
    assert [s["title"] for s in document["sessions"]] == ["日本"]
    assert home.run("status", FLEET_FORMAT="csv").stdout.startswith("host,link,")
    lines = home.run("status", "--format", "ndjson").stdout.splitlines()
    assert [json.loads(line)["type"] for line in lines] == ["host", "session"]


def test_why(home: Home) -> None:
    """--why adds the column WHY."""
    assert home.run("status", "--why").stdout.splitlines()[0].endswith("WHY")


def test_failed_hosts_make_the_exit_code(home: Home, dead_host: str) -> None:
    """4 when some hosts failed, 5 when all did, by --fail-on; each is named below the table."""
    home.sessions(1, dead_host)
    some = home.run("status", "--host", "all")
    assert some.returncode == 4
    assert "dead: unreachable (connect)" in some.stdout
    assert "1 host up, 1 down; 1 session: 1 idle" in some.stdout
    assert home.run("status", "--fail-on", "all").returncode == 0
    assert home.run("status", "-x", "dead").returncode == 0
    assert home.run("status", "-H", "dead").returncode == 5
    assert home.run("status", FLEET_HOST="dead", FLEET_FAIL_ON="none").returncode == 0


def test_a_flag_goes_before_the_environment(home: Home, dead_host: str) -> None:
    """--host and --config win over FLEET_HOST and FLEET_CONFIG."""
    home.sessions(1, dead_host)
    assert home.run("status", "--host", "local", FLEET_HOST="dead").returncode == 0
    other = home.path / "other.toml"
    other.write_text((home.path / ".config/fleet/hosts.toml").read_text().replace(dead_host, ""))
    assert "1 host up;" in home.run("status", FLEET_CONFIG=str(other)).stdout
    assert (
        "1 down"
        in home.run(
            "status", "--config", str(home.path / ".config/fleet/hosts.toml"), FLEET_CONFIG="gone"
        ).stdout
    )


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["status", "--host", "locla"], "no host 'locla'; did you mean 'local'?"),
        (["status", "--config", "/nowhere/hosts.toml"], "/nowhere/hosts.toml: there is no such file; make it"),
        (["status", "--config", "/"], "/: cannot be read: Is a directory; mend that, or name another by"),
        (["hosts", "import", "--from", "~no-such-user/x"], "~no-such-user/x: there is no such home"),
    ],
)
def test_what_the_user_can_mend_is_one_line(home: Home, arguments: list[str], says: str) -> None:
    """A mistake of the user's is one line on stderr, without a traceback, and exit code 2."""
    done = home.run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("fleet: ")
    assert says in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [["status", "--no-such"], ["no-such"], ["status", "--format", "xml"], ["status", "--watch", "0"],
     ["status", "--watch", "1", "--format", "csv"], ["status", "--timeout", "soon"], ["status", "stray"]],
)  # fmt: skip
def test_bad_usage(home: Home, arguments: list[str]) -> None:
    """A wrong command line exits 2 and prints nothing on stdout."""
    done = home.run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr


def test_a_bug_is_a_traceback_and_exit_code_1(home: Home) -> None:
    """What nobody foresaw is not hidden."""
    code = "import fleet.config\nfleet.config.load = lambda path: 1 / 0\nfrom fleet.cli.app import main\nmain()"
    done = subprocess.run(
        [sys.executable, "-c", code, "status"], env=home.env, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "ZeroDivisionError" in done.stderr


@pytest.mark.parametrize(
    "arguments", ["status", "status --json", "status --format csv", "status --watch 0.2 --format ndjson"]
)
def test_a_closed_pipe_is_no_error(home: Home, arguments: str) -> None:
    """`fleet ... | head -1` prints one line and nothing on stderr, and fleet exits 0."""
    home.sessions(500)
    command = f'{sys.executable} -m fleet {arguments} | head -1 >/dev/null; echo "${{PIPESTATUS[0]}}"'
    done = subprocess.run(["bash", "-c", command], env=home.env, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("0\n", "")


def test_closed_standard_files(home: Home) -> None:
    """Standard input, output and error may be closed: the host is read, and the exit code tells."""
    command = f"{sys.executable} -m fleet status <&- >&- 2>&-"
    assert subprocess.run(["bash", "-c", command], env=home.env, timeout=60).returncode == 0


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_configuration_that_may_not_be_read(home: Home) -> None:
    """It is said with the fix, whether it was found, or named by FLEET_CONFIG."""
    file = home.path / ".config/fleet/hosts.toml"
    file.chmod(0)
    for env in ({}, {"FLEET_CONFIG": str(file)}):
        done = home.run("status", **env)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert done.stderr.startswith(f"fleet: {file}: cannot be read: Permission denied; mend that")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
@pytest.mark.parametrize("arguments", ["status", "--help", "hosts check --help", "--version"])
def test_a_full_disk_is_said(home: Home, arguments: str) -> None:
    """Output that cannot be written is one line on stderr and exit code 1."""
    with open("/dev/full", "w") as full:
        process = home.start(*arguments.split(), stdout=full, stderr=subprocess.PIPE)
        _, stderr = process.communicate(timeout=60)
    assert (process.returncode, stderr) == (1, "fleet: cannot write the output: No space left on device\n")


def test_an_output_without_unicode(home: Home) -> None:
    """What the output's encoding lacks becomes a question mark; JSON is UTF-8 whatever the locale."""
    done = home.run("status", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    assert " ?? " in done.stdout
    assert '"日本"' in home.run("status", "--json", PYTHONIOENCODING="ascii").stdout


def test_watch_json(home: Home) -> None:
    """--watch --json is one document a line, again and again, with ages that grow, until nobody reads it."""
    with home.start(
        "status", "--watch", "0.3", "--json", stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout
        assert process.stderr
        documents = [json.loads(process.stdout.readline()) for _ in range(3)]
        process.stdout.close()
        assert (process.wait(timeout=30), process.stderr.read()) == (0, "")
    ages = [document["sessions"][0]["age_s"] for document in documents]
    assert ages == sorted(set(ages))
    assert [document["hosts"][0]["link"] for document in documents] == ["up"] * 3


def test_watch_tables_in_a_pipe(home: Home) -> None:
    """Tables one after the other, with a blank line after each."""
    with home.start("status", "--watch", "0.3", stdout=subprocess.PIPE) as process:
        assert process.stdout
        lines = [process.stdout.readline() for _ in range(10)]
        process.stdout.close()
    assert [line.split(" ")[0] for line in lines] == ["HOST", "local", "\n", "1", "\n"] * 2


def test_ctrl_c_ends_a_hanging_read(home: Home) -> None:
    """Ctrl-C while hosts are read exits 130 at once, without a traceback."""
    home.sessions(-1)
    process = home.start("status", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while not Path(f"{home.agent}.started").exists():
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=10)
    assert (process.returncode, stdout) == (130, "")
    assert "Traceback" not in stderr


class Screen:
    """fleet on a terminal of 80x24; what it draws is read from `read_until`."""

    def __init__(self, home: Home, *arguments: str, **env: str) -> None:
        self.master, slave = pty.openpty()
        termios.tcsetwinsize(slave, (24, 80))
        command, env = [*FLEET, *arguments], {**home.env, "TERM": "xterm", **env}
        self.process = subprocess.Popen(command, env=env, stdin=slave, stdout=slave, stderr=slave)
        os.close(slave)
        self.drawn = b""

    def read_until(self, pattern: bytes, timeout_s: float = 30) -> None:
        until = time.monotonic() + timeout_s
        while not re.search(pattern, self.drawn, re.DOTALL):
            assert select.select([self.master], [], [], max(0, until - time.monotonic()))[0], self.drawn
            self.drawn += os.read(self.master, 65536)

    def end(self) -> int:
        try:
            while data := os.read(self.master, 65536):
                self.drawn += data
        except OSError:  # Linux says EIO when the other side is closed
            pass
        return self.process.wait(timeout=30)


Screens = Callable[..., Screen]


@pytest.fixture
def screens(home: Home) -> Iterator[Screens]:
    """Starts fleet on terminals; leaves none behind."""
    started: list[Screen] = []

    def start(*arguments: str, **env: str) -> Screen:
        started.append(Screen(home, *arguments, **env))
        return started[-1]

    yield start
    for screen in started:
        screen.process.kill()
        screen.process.wait()
        os.close(screen.master)


def test_watch_on_a_terminal(screens: Screens) -> None:
    """It draws over itself from the top of the screen; Ctrl-C ends it with 130, below what was drawn."""
    screen = screens("status", "--watch", "0.3", NO_COLOR="1")
    screen.read_until(rb"(\x1b\[HHOST.*){3}\x1b\[J")
    screen.process.send_signal(signal.SIGINT)
    assert screen.end() == 130
    assert b"\x1b[?25l" not in screen.drawn  # the cursor was never hidden
    assert b"Traceback" not in screen.drawn


@pytest.mark.parametrize(("env", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_colour_on_a_terminal(screens: Screens, env: dict[str, str], coloured: bool) -> None:
    """On a terminal the table is as wide as that, and coloured unless NO_COLOR is set."""
    screen = screens("status", **env)
    assert screen.end() == 0
    assert (b"\x1b[1mHOST" in screen.drawn) is coloured
    assert (b"\x1b" in screen.drawn) is coloured


def test_errors_are_not_markup(home: Home) -> None:
    """What is printed is text: square brackets of host names stay as they are."""
    done = home.run("status", "--host", "gpu[01-04]")
    assert done.returncode == 2
    assert "gpu01" in done.stderr
