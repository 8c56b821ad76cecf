"""fleet_agent.tools.codex.holders: which processes hold which threads."""

from pathlib import Path

import pytest

from fake_codex import FakeCodex, lock_path, rollout_path, thread_id
from fleet_agent.evidence import Call
from fleet_agent.kin import Child
from fleet_agent.processes import ProcessTable
from fleet_agent.tools.codex.argv import is_codex
from fleet_agent.tools.codex.holders import Holdings, held_files, holdings, home_of, with_process

A, B = thread_id(), thread_id()
STARTED_AT = 1000.0


def held_by(*processes: FakeCodex) -> Holdings:
    table = ProcessTable(is_codex, ("CODEX_HOME", "HOME"))
    table.scan()
    pids = {process.pid for process in processes}
    return holdings(held_files((p for p in table.processes if p.pid in pids), table.open_files))


def test_one_process_holds_many_threads(tmp_path: Path) -> None:
    """All rollouts and locks of a process count, not only the first: subagents and the daemon's threads."""
    home = tmp_path / "home"
    rollouts = [rollout_path(home, A), rollout_path(home, B)]
    new = thread_id()
    opened = [*rollouts, lock_path(home, A), lock_path(home, B), lock_path(home, new)]
    with FakeCodex(tmp_path, opened, environ={"CODEX_HOME": str(home)}) as codex:
        held = held_by(codex)
    assert {t: h.path for t, h in held.threads.items()} == {A: str(rollouts[0]), B: str(rollouts[1]), new: None}
    assert all((h.pids, h.home) == ((codex.pid,), str(home)) for h in held.threads.values())
    assert held.homes == {str(home)}


def test_the_home_comes_from_the_process_and_its_files(tmp_path: Path) -> None:
    """CODEX_HOME is each process's own: its environment and the files it holds, never only ~/.codex."""
    other = tmp_path / "other"
    environ = {"HOME": str(tmp_path / "me")}
    with FakeCodex(tmp_path, [rollout_path(other, A)], environ=environ) as codex:
        assert held_by(codex).homes == {str(other), str(tmp_path / "me" / ".codex")}
    assert home_of({"CODEX_HOME": "/x", "HOME": "/y"}) == "/x"
    assert home_of({}) is None


def test_an_old_rollout_can_have_two_writers(tmp_path: Path) -> None:
    """Before 0.150 nothing keeps a second process from the same thread."""
    path = rollout_path(tmp_path, A)
    with FakeCodex(tmp_path, [path]) as one, FakeCodex(tmp_path, [path]) as two:
        assert set(held_by(one, two).threads[A].pids) == {one.pid, two.pid}


def test_what_is_open_only_for_reading_is_not_held(tmp_path: Path) -> None:
    """Codex reads the heads of rollouts to list them; that does not make them live."""
    path = rollout_path(tmp_path, A)
    path.touch()
    with FakeCodex(tmp_path, readable=[path]) as codex:
        assert held_by(codex).threads == {}


def test_a_rollout_that_was_deleted_while_it_is_open_is_still_held(tmp_path: Path) -> None:
    """The session lives on; that its file is gone must not make it look new."""
    path = rollout_path(tmp_path, A)
    with FakeCodex(tmp_path, [path, lock_path(tmp_path, A)]) as codex:
        path.unlink()
        assert held_by(codex).threads[A].path == f"{path} (deleted)"


def test_an_archived_rollout_belongs_to_its_home(tmp_path: Path) -> None:
    """Archiving moves the file while it is open."""
    path = tmp_path / "archived_sessions" / rollout_path(tmp_path, A).name
    path.parent.mkdir()
    with FakeCodex(tmp_path, [path]) as codex:
        held = held_by(codex)
    assert (held.threads[A].home, held.threads[A].path) == (str(tmp_path), str(path))


def test_a_thread_that_another_takes_the_place_of_is_seen_at_once(tmp_path: Path) -> None:
    """As many files open as before: of the old one neither the lock nor the rollout is there any more."""
    rollout, lock = rollout_path(tmp_path, A), lock_path(tmp_path, A)
    with FakeCodex(tmp_path, [lock, rollout]) as codex:
        table = ProcessTable(is_codex, ("CODEX_HOME", "HOME"))

        def threads() -> set[str]:
            table.scan()
            own = (p for p in table.processes if p.pid == codex.pid)
            return set(holdings(held_files(own, table.open_files)).threads)

        fds = Path(f"/proc/{codex.pid}/fd")
        fd = {str(link.readlink()): link.name for link in fds.iterdir() if link.is_symlink()}
        assert threads() == {A}
        codex.run(f"exec {fd[str(lock)]}>>{lock_path(tmp_path, B)}; exec {fd[str(rollout)]}>&-; exec 70>&1")
        assert threads() == {B}
        codex.run(f"exec {fd[str(lock)]}>>{lock}")  # not a rollout yet: only its lock tells
        assert threads() == {A}


@pytest.mark.parametrize("arguments", [["app-server", "daemon", "pid-update-loop"], ["login"]])
def test_processes_that_hold_no_sessions_are_passed_over(tmp_path: Path, arguments: list[str]) -> None:
    """Updaters and the like are not sessions, whatever they have open."""
    with FakeCodex(tmp_path, [rollout_path(tmp_path, A)], arguments) as codex:
        assert held_by(codex).threads == {}


def child(created_at: float = STARTED_AT + 1, **environ: str) -> Child:
    return Child(1, 2, created_at, environ)


def marked(created_at: float = STARTED_AT + 1, thread: str = A, call_id: str | None = None) -> Child:
    environ = {"CODEX_THREAD_ID": thread} | ({"CODEX_TOOL_CALL_ID": call_id} if call_id else {})
    return Child(1, 2, created_at, environ)


SHELL = Call("call_1", "exec_command", "shell", STARTED_AT)
SCRIPT = Call("call_1", "exec", "script", STARTED_AT)
HIDDEN = Child(1, 2, STARTED_AT + 1, None)


@pytest.mark.parametrize(
    ("call", "children", "version", "expected"),
    [
        (SHELL, [], "0.169.0", "no"),
        (SHELL, [marked(call_id="call_1")], "0.169.0", "yes"),
        (SHELL, [marked(call_id="call_0")], "0.169.0", "no"),  # a background process of an earlier call
        (SHELL, [marked(thread=B, call_id="call_1")], "0.169.0", "no"),
        (SHELL, [marked()], "0.150.0", "yes"),  # before 0.163 without the call's id
        (SHELL, [marked(STARTED_AT - 5)], "0.150.0", "no"),
        (SCRIPT, [marked(call_id="exec-some-uuid")], "0.169.0", "yes"),
        (SCRIPT, [marked(STARTED_AT - 5, call_id="exec-some-uuid")], "0.169.0", "no"),
        (SHELL, [child()], "0.169.0", "no"),  # an MCP server
        (SHELL, [child()], "0.90.0", "maybe"),  # before 0.116 without marks
        (SHELL, [child(STARTED_AT - 5)], "0.90.0", "no"),
        (SHELL, [child()], None, "no"),
        (SHELL, [HIDDEN], "0.169.0", "maybe"),
        (SHELL, [HIDDEN, marked(call_id="call_1")], "0.169.0", "yes"),
        (Call("call_1", "shell", "shell", None), [marked()], "0.150.0", "yes"),
    ],
)
def test_whether_the_process_of_a_call_runs(
    call: Call, children: list[Child], version: str | None, expected: str
) -> None:
    """By the marks that Codex gives its tools' processes, by time where those are missing; else not known."""
    assert with_process(call, A, version, children).process == expected


def test_who_could_hold_a_thread_and_holds_none(tmp_path: Path) -> None:
    """A process without a thread is told; but not one that is just starting the daemon, nor a helper."""
    daemon_lock = tmp_path / "home/app-server-daemon/daemon.lock"
    daemon_lock.parent.mkdir(parents=True)
    other = tmp_path / "notes.txt"
    with (
        FakeCodex(tmp_path, [other]) as idle,
        FakeCodex(tmp_path, [daemon_lock]) as starting,
        FakeCodex(tmp_path, [lock_path(tmp_path, A)]) as holding,
        FakeCodex(tmp_path, arguments=["login"]) as login,
    ):
        assert [process.pid for process in held_by(idle, starting, holding, login).bare] == [idle.pid]
