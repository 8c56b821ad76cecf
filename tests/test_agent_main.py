"""fleet_agent.__main__: the command line, and the promise that it only reads."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from fake_codex import FakeCodex, event, lock_path, rollout_path, sample, thread_id
from fake_daemon import FakeDaemon, well
from fleet_agent import __version__
from fleet_agent.__main__ import main
from fleet_agent.tools.codex.daemon_protocol import METHODS
from fleet_agent.tools.codex.hooks import record, setup
from repository import git, make_repository


def agent(
    arguments: Sequence[str], home: Path, code: str | None = None, **options: Any
) -> "subprocess.CompletedProcess[str]":
    """Run the agent (or `code`) to its end in its own process, with its own CODEX_HOME."""
    command = (
        [sys.executable, "-c", code, *arguments] if code else [sys.executable, "-m", "fleet_agent", *arguments]
    )
    environ = {**os.environ, "HOME": str(home.parent), "CODEX_HOME": str(home)}
    return subprocess.run(
        command, env=environ, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL, **options
    )


def streamed(home: Path, code: str, count: int) -> list[dict[str, Any]]:
    """The first frames of a stream by `code`, which ends with its stdin and has nothing to complain of."""
    environ = {**os.environ, "HOME": str(home.parent), "CODEX_HOME": str(home)}
    argv = [sys.executable, "-c", code, "stream", "--interval", "0.1"]
    pipe = subprocess.PIPE
    with subprocess.Popen(argv, env=environ, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout
        lines = [process.stdout.readline() for _ in range(count)]
        assert (process.communicate(timeout=60)[1], process.returncode) == ("", 0)
    return [json.loads(line) for line in lines]


def frames(done: "subprocess.CompletedProcess[str]") -> list[dict[str, Any]]:
    assert done.stderr == ""
    assert done.returncode == 0
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_snapshot_is_hello_and_one_snapshot(tmp_path: Path) -> None:
    """`fleet-agent snapshot` prints two frames and exits 0."""
    thread = thread_id()
    rollout_path(tmp_path / "home", thread).write_bytes(sample("exec_tool"))
    hello, snapshot = frames(agent(["snapshot"], tmp_path / "home"))
    assert (hello["type"], hello["agent_version"]) == ("hello", __version__)
    (session,) = [s for s in snapshot["sessions"] if s["id"] == thread]
    assert (session["state"], session["detail"], session["title"]) == ("ended", "ok", "ws")
    assert "more" not in snapshot


def test_privacy_is_off_by_default(tmp_path: Path) -> None:
    """No word of a conversation is in the output unless it is asked for; then only where it may be."""
    rollout_path(tmp_path / "home", thread_id()).write_bytes(sample("exec_tool"))
    assert "SAY listed" not in agent(["snapshot"], tmp_path / "home").stdout
    assert "SAY listed" in agent(["snapshot", "--privacy", "title"], tmp_path / "home").stdout


def test_undecodable_paths_can_be_sent(tmp_path: Path) -> None:
    """Directories need not be valid UTF-8; the agent's output always is."""
    home = Path(os.fsdecode(bytes(tmp_path) + b"/h\xff\xfe"))
    home.mkdir()
    thread = thread_id()
    with FakeCodex(tmp_path, [rollout_path(home, thread), lock_path(home, thread)]):
        rollout_path(home, thread).write_bytes(event(1.0, "task_started", turn_id="t"))
        done = subprocess.run(
            [sys.executable, "-m", "fleet_agent", "snapshot"], capture_output=True, timeout=60
        )
    snapshot = json.loads(done.stdout.decode("utf-8").splitlines()[1])
    (session,) = [s for s in snapshot["sessions"] if s["id"] == thread]
    assert session["home"] == f"{tmp_path}/h\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}"


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    """`--version` names the program and its version."""
    with pytest.raises(SystemExit) as exit_:
        main(["--version"])
    assert exit_.value.code == 0
    assert capsys.readouterr().out == f"fleet-agent {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "the following arguments are required: verb"),
        (["erase"], "invalid choice: 'erase'"),
        (["snapshot", "--privacy", "all"], "invalid choice: 'all'"),
        (["stream", "--interval", "0"], "0 is not from 0.1 to 3600 seconds"),
        (["stream", "--interval", "nan"], "nan is not from 0.1 to 3600 seconds"),
        (["stream", "--interval", "soon"], "'soon'"),
    ],
)
def test_a_wrong_command_line_is_refused(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit status 2, and what is wrong."""
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 2
    assert said in capsys.readouterr().err


def test_a_closed_stdout_is_no_error(tmp_path: Path) -> None:
    """`fleet-agent snapshot | head -0` leaves no trace."""
    read_fd, write_fd = os.pipe()
    os.close(read_fd)
    done = subprocess.run(
        [sys.executable, "-m", "fleet_agent", "snapshot"],
        stdout=write_fd, stderr=subprocess.PIPE, timeout=60, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(write_fd)
    assert (done.returncode, done.stderr) == (0, b"")


# Watches everything Python does through its audit events; a forbidden one is written down and refused. The only
# sockets that may be connected to are those of Codex daemons: this machine's, and a test's own.
WATCHED = """
import os, socket, sys
{preparation}
import fleet_agent.__main__ as program
DAEMONS = (f"/tmp/codex-daemon-{{os.getuid()}}/", os.environ["HOME"] + "/daemon/")
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
FORBIDDEN = (
    "subprocess.", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "pty.", "socket.",
    "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod",
    "os.chown", "os.utime", "os.setxattr", "os.removexattr", "os.kill", "os.putenv", "os.unsetenv", "os.chdir",
    "fcntl.flock", "fcntl.lockf", "shutil.", "tempfile.", "sqlite3.", "ctypes.dlopen",
)
def of_another_test(path):  # what runs at the same time has such daemons too
    return "/pytest-of-" in path and path.endswith("/s")
def watch(event, arguments):
    writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITES
    git = event == "os.posix_spawn" and arguments[1][:2] == ["git", "--no-optional-locks"] and (
        "status" in arguments[1] and arguments[2]["GIT_OPTIONAL_LOCKS"] == "0")
    if event == "os.kill":  # a git that takes too long
        git = open(f"/proc/{{arguments[0]}}/stat").read().split(") ")[1].split()[1] == str(os.getpid())
    daemons = event == "socket.__new__" and arguments[1] == socket.AF_UNIX or (
        event == "socket.connect" and (arguments[1].startswith(DAEMONS) or of_another_test(arguments[1])))
    if writes or event.startswith(FORBIDDEN) and not (daemons or git):
        print("FORBIDDEN", event, arguments, file=sys.stderr)
        raise PermissionError(event)
sys.addaudithook(watch)
{planted}
sys.exit(program.main(sys.argv[1:]))
"""


def watched(planted: str = "", preparation: str = "") -> str:
    return WATCHED.format(planted=planted, preparation=preparation)


def test_the_agent_only_reads(tmp_path: Path) -> None:
    """PROMISES 10: no file opened for writing, no lock, on a host with live sessions.

    No process but `git status`; and no socket but the Codex daemon's, which is sent nothing but what is on the
    list of methods that read.
    """
    home = tmp_path / "home"
    live, ended = thread_id(), thread_id()
    work = make_repository(tmp_path / "work")
    (work / "tracked").write_text("as it is in the index\n")
    git(work, "add", "tracked")
    os.utime(work / "tracked", (1, 1))  # a `git status` that may write the index would do so now
    rollout_path(home, ended).write_bytes(sample("exec_tool").replace(b"/home/dev/labs/ws", bytes(work)))
    (tmp_path / "daemon").mkdir()
    daemon = FakeDaemon(home, well, tmp_path / "daemon/s")
    (home / "session_index.jsonl").write_text(f'{{"id":"{ended}","thread_name":"n"}}\n')
    setup.install(str(home), str(tmp_path / "events"))
    record.record(str(tmp_path / "events"), {"session_id": live, "hook_event_name": "PermissionRequest"}, 1.0)
    packed = rollout_path(home, thread_id())
    packed.with_name(f"{packed.name}.zst").write_bytes(b"no zstd")
    os.mkfifo(rollout_path(home, thread_id()))
    opened = [rollout_path(home, live), lock_path(home, live)]
    arguments = ["app-server", "--managed-daemon"]
    with daemon.running(), FakeCodex(tmp_path, opened, arguments, {"CODEX_HOME": str(home)}) as codex:
        codex.start(f"CODEX_THREAD_ID={live} CODEX_TOOL_CALL_ID=c sleep 60")
        rollout_path(home, live).write_bytes(sample("tui_waiting_approval"))
        before = sorted((p, p.stat().st_mtime_ns, p.stat().st_size) for p in tmp_path.rglob("*"))
        one_shot = frames(agent(["snapshot", "--privacy", "text"], home, watched()))
        for told in (one_shot, streamed(home, watched(), 8)):
            snapshot = [frame for frame in told if frame["type"] == "snapshot"][-1]
            evidence = {s["id"]: s["evidence"] for s in snapshot["sessions"]}
            assert (evidence[live], evidence[ended]) == ("app_server", "lifecycle")
            assert [s["dirty_files"] for s in snapshot["sessions"] if s["id"] == ended] == [1]  # git was run
        assert sorted((p, p.stat().st_mtime_ns, p.stat().st_size) for p in tmp_path.rglob("*")) == before
    assert len(daemon.connections) >= 2  # an agent of another test may have found it too
    assert set(daemon.methods) == {"initialize", "initialized", "thread/read"} == METHODS


@pytest.mark.parametrize(
    "planted",
    [
        "open(os.environ['HOME'] + '/planted', 'w')",
        "os.open(os.environ['HOME'], os.O_RDWR)",
        "import subprocess; subprocess.run(['true'])",
        "os.system('true')",
        "os.kill(os.getppid(), 0)",
        "os.posix_spawn('/bin/true', ['true'], {})",
        "os.posix_spawn('/usr/bin/git', ['git', '--no-optional-locks', 'gc'], {})",
        "socket.socket()",
        "socket.socket(socket.AF_UNIX).connect('/run/other.sock')",
        "socket.getaddrinfo('localhost', 80)",
        "import fcntl; fcntl.flock(0, fcntl.LOCK_SH)",
    ],
)
def test_the_watch_over_reading_catches_what_is_planted(tmp_path: Path, planted: str) -> None:
    """The test above can fail: each kind of forbidden deed is caught by its watch."""
    done = agent(["snapshot"], tmp_path / "home", watched(planted, "import subprocess, fcntl"))
    assert "FORBIDDEN" in done.stderr
    assert done.returncode != 0
    assert not (tmp_path / "planted").exists()


@pytest.mark.skipif(os.geteuid() != 0 or sys.platform != "linux", reason="only root can become somebody else")
def test_a_scan_without_permission_says_so(tmp_path: Path) -> None:
    """Processes and directories of other users: the snapshot is not complete, and names whose they are."""
    home = tmp_path / "home"
    (home / "sessions").mkdir(parents=True)
    thread = thread_id()
    before = (
        "import shutil, gettext, locale, fleet_agent.tools.codex.find"  # what it could not import afterwards
    )
    become = "os.setgroups([]); os.setgid(65534); os.setuid(65534)"
    with FakeCodex(tmp_path, [rollout_path(home, thread)], ["exec"]):
        _, snapshot = frames(agent(["snapshot"], home, watched(become, preparation=before)))
    assert snapshot["complete"] is False
    assert thread not in [s["id"] for s in snapshot.get("sessions", ())]
    messages = {problem["kind"]: problem["message"] for problem in snapshot["problems"]}
    assert "of root); run the agent as that user or as root" in messages["permission"]
    assert "cannot be listed: Permission denied" in messages["unreadable"]
