"""fleet_agent.tools.codex.find: what a session does, told from real processes and real files as they change."""

import os
import signal
import time
from pathlib import Path

import psutil
import pytest

from codex_host import Host, open_turn, write
from fake_codex import (
    FakeCodex,
    begun,
    event,
    item,
    lock_path,
    meta,
    rollout_path,
    sample,
    sample_at,
    thread_id,
    written,
)
from fake_daemon import FakeDaemon, well
from fleet_agent.wire import Session
from lab.waiting import wait_until


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path / "codex-home")


def test_a_session_from_its_first_to_its_last_breath(tmp_path: Path, host: Host) -> None:
    """New, thinking, running a tool, thinking again, done, closed: each reading says what is true then."""
    thread = thread_id()
    path, lock = rollout_path(host.home, thread), lock_path(host.home, thread)
    with FakeCodex(tmp_path, [lock, path], environ={"CODEX_HOME": str(host.home)}) as codex:
        assert host.state(thread) == ("idle", "new", "strong")
        write(path, meta(time.time(), thread, cwd=str(tmp_path), source="cli"))
        assert host.state(thread) == ("idle", "new", "strong")
        write(path, begun(time.time()))
        assert host.state(thread) == ("working", "thinking", "strong")
        write(path, item(time.time(), "function_call", call_id="call_1", name="exec_command", arguments="{}"))
        codex.start(f"CODEX_THREAD_ID={thread} CODEX_TOOL_CALL_ID=call_1 sleep 60")
        assert host.state(thread) == ("working", "tool", "strong")
        codex.run("kill %1; wait")
        write(path, item(time.time(), "function_call_output", call_id="call_1", output="x"))
        assert host.state(thread) == ("working", "thinking", "strong")
        write(path, event(time.time(), "task_complete", turn_id="t", last_agent_message="done"))
        assert host.state(thread) == ("idle", "turn_done", "fact")
        session = host.sessions()[thread]
        assert (session.pids, session.cwd, session.home) == ((codex.pid,), str(tmp_path), str(host.home))
    assert host.state(thread) == ("ended", "ok", "fact")
    assert host.sessions()[thread].pids == ()


def test_an_approval_is_told_from_a_tool_that_runs(tmp_path: Path, host: Host) -> None:
    """An open call with nothing running for it waits for a person; it is sure when it asked to."""
    asks, plain, never, young = (thread_id() for _ in range(4))
    paths = {thread: rollout_path(host.home, thread) for thread in (asks, plain, never, young)}
    with FakeCodex(tmp_path, paths.values()):
        time.sleep(0.05)
        write(paths[asks], open_turn(asks, 0, asks=True))
        write(paths[plain], open_turn(plain, 0))
        write(paths[never], open_turn(never, 0, policy="never"))
        table = host.table
        table.scan()
        late = {s.id: s for s in host.codex.find(table, time.time() + 10).sessions}
        assert (late[asks].state, late[asks].detail, late[asks].confidence) == ("waiting", "approval", "strong")
        assert (late[plain].state, late[plain].detail, late[plain].confidence) == (
            "waiting",
            "approval",
            "weak",
        )
        assert (late[never].state, late[never].detail, late[never].confidence) == ("working", "tool", "strong")
        write(paths[young], open_turn(young, 0))
        assert host.state(young) == ("working", "tool", "weak")


def test_a_background_process_of_an_earlier_call_hides_no_approval(tmp_path: Path, host: Host) -> None:
    """What still runs from before is not the process of the open call."""
    thread = thread_id()
    path = rollout_path(host.home, thread)
    with FakeCodex(tmp_path, [path]) as codex:
        codex.start(f"CODEX_THREAD_ID={thread} CODEX_TOOL_CALL_ID=call_0 sleep 60")
        write(path, open_turn(thread, 0, asks=True))
        host.table.scan()
        (session,) = [s for s in host.codex.find(host.table, time.time() + 10).sessions if s.id == thread]
        assert (session.state, session.detail) == ("waiting", "approval")


def test_a_command_that_a_person_runs(tmp_path: Path, host: Host) -> None:
    """`!sleep` begins a turn that says nothing: its process tells it from a compaction; older ones do not."""
    thread = thread_id()
    path, lock = rollout_path(host.home, thread), lock_path(host.home, thread)
    with FakeCodex(tmp_path, [lock, path], environ={"CODEX_HOME": str(host.home)}) as codex:
        codex.start(f"CODEX_THREAD_ID={thread} CODEX_TOOL_CALL_ID=call_1 sleep 60")  # left by an earlier turn
        time.sleep(0.5)  # fleet knows a process's start to 0.25 s
        write(path, event(time.time(), "task_started", turn_id="t"), meta(time.time(), thread))
        assert host.state(thread) == ("working", "thinking", "weak")
        codex.start(f"CODEX_THREAD_ID={thread} sleep 60")
        assert host.state(thread) == ("working", "tool", "strong")


def test_a_killed_session_is_crashed_and_the_next_to_open_it_is_not_working(tmp_path: Path, host: Host) -> None:
    """In progress on disk is only true while the process that began the turn lives."""
    thread = thread_id()
    path = rollout_path(host.home, thread)
    with FakeCodex(tmp_path, [path, lock_path(host.home, thread)]) as codex:
        time.sleep(0.05)
        write(path, begun(time.time()), meta(time.time(), thread))
        assert host.state(thread) == ("working", "thinking", "strong")
        codex.kill()
        assert host.state(thread) == ("ended", "crashed", "strong")
    time.sleep(0.05)
    with FakeCodex(tmp_path, [path, lock_path(host.home, thread)]):
        assert host.state(thread) == ("idle", "aborted", "strong")


def test_a_session_whose_process_is_stopped_is_not_at_work(tmp_path: Path, host: Host) -> None:
    """Ctrl-Z in mid-turn: nothing goes on until somebody lets it."""
    thread = thread_id()
    path = rollout_path(host.home, thread)
    with FakeCodex(tmp_path, [path]) as codex:
        write(path, meta(time.time(), thread, source="cli") + begun(time.time()))
        assert host.state(thread) == ("working", "thinking", "strong")
        process = psutil.Process(codex.pid)
        os.kill(codex.pid, signal.SIGSTOP)
        wait_until(lambda: process.status() == psutil.STATUS_STOPPED, "it has stopped", timeout_s=20)
        assert host.state(thread) == ("working", "stuck", "strong")
        os.kill(codex.pid, signal.SIGCONT)
        wait_until(lambda: process.status() != psutil.STATUS_STOPPED, "it goes on", timeout_s=20)
        assert host.state(thread) == ("working", "thinking", "strong")


def test_a_clock_that_was_put_forward_ends_no_turn(tmp_path: Path, host: Host) -> None:
    """After a virtual machine slept, processes seem younger than their turns; the file each made is not."""
    asleep, killed = thread_id(), thread_id()
    paths = {thread: rollout_path(host.home, thread) for thread in (asleep, killed)}
    began_at = time.time() - 3600
    own_lock = written(host.home / "tmp/arg0-linux/codex-arg0abc/.lock", began_at - 1)
    with FakeCodex(tmp_path / "a", [paths[asleep], own_lock]), FakeCodex(tmp_path / "b", [paths[killed]]):
        for thread, path in paths.items():
            write(path, meta(began_at, thread, source="cli") + begun(began_at))
        assert host.state(asleep) == ("working", "thinking", "strong")
        assert host.state(killed) == ("idle", "aborted", "strong")


def test_a_process_that_execs_codex_late_is_never_taken_for_crashed(tmp_path: Path, host: Host) -> None:
    """A shell that was looked at long ago becomes Codex: before its session is crashed, all are looked at."""
    thread = thread_id()
    path = rollout_path(host.home, thread)
    with FakeCodex(tmp_path, program="codex"):
        pass  # makes the binary
    with FakeCodex(tmp_path, [path], program="launcher") as launcher:
        host.look()
        host.table._young.clear()  # as if it had been seen long ago
        assert launcher.process.stdin
        launcher.process.stdin.write(f"exec {tmp_path}/codex -c 'read x' exec\n".encode())
        launcher.process.stdin.flush()
        time.sleep(0.2)
        write(path, begun(time.time()), meta(time.time(), thread, source="exec"))
        assert host.state(thread) == ("working", "thinking", "strong")


def test_the_daemon_is_asked_of_the_threads_that_it_holds(tmp_path: Path, host: Host) -> None:
    """Its word comes before the file's, for its own threads alone; when it is gone, the file's counts again."""
    its, other = thread_id(), thread_id()
    paths = {thread: rollout_path(host.home, thread) for thread in (its, other)}
    for thread, path in paths.items():
        path.write_bytes(open_turn(thread, -1))  # its process starts before it
    environ = {"CODEX_HOME": str(host.home)}
    with (
        FakeCodex(
            tmp_path, [paths[its], lock_path(host.home, its)], ["app-server", "--managed-daemon"], environ
        ),
        FakeCodex(tmp_path, [paths[other]], ["app-server"], environ),
    ):
        with FakeDaemon(host.home, well).running():
            found = host.sessions()
            assert (found[its].state, found[its].detail, found[its].confidence) == (
                "waiting",
                "approval",
                "fact",
            )
            assert found[its].evidence == "app_server"
            assert found[other].evidence == "pending_call"
        assert host.sessions()[its].evidence == "pending_call"


def test_old_releases_are_read_with_less_confidence(tmp_path: Path, host: Host) -> None:
    """Before 0.101 no line says where a turn ends: live and ended, always weak."""
    live, ended = thread_id(), thread_id()
    rollout_path(host.home, ended).write_bytes(sample("old_0.77.0_tools"))
    with FakeCodex(tmp_path, [rollout_path(host.home, live)], ["exec"]):
        time.sleep(0.05)
        write(rollout_path(host.home, live), sample_at("old_0.77.0_tools", time.time()))
        assert host.state(live) == ("idle", "turn_done", "weak")
        assert host.state(ended) == ("ended", "ok", "weak")


def test_on_a_network_file_system_another_host_may_be_at_work(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shared home shows the sessions of every host: one without a writer here is not called crashed."""
    thread = thread_id()
    rollout_path(host.home, thread).write_bytes(sample("exec_sigterm_midturn"))
    assert host.state(thread) == ("ended", "crashed", "strong")
    monkeypatch.setattr(host.codex._mounts, "on_network", lambda _: True)
    assert host.state(thread) == ("unknown", None, "weak")


def test_what_did_not_change_is_not_made_again_but_judged(tmp_path: Path, host: Host) -> None:
    """The same rows while a session is in a turn; when nothing has moved for long, it is stuck all the same."""
    thread = thread_id()
    path = rollout_path(host.home, thread)
    with FakeCodex(tmp_path, [path, lock_path(host.home, thread)]):
        path.write_bytes(meta(time.time(), thread) + event(time.time(), "task_started", turn_id="t"))

        def session(later_s: float = 0.0) -> Session:
            host.table.scan()
            found = host.codex.find(host.table, time.time() + later_s).sessions
            return next(session for session in found if session.id == thread)

        session()
        first = session()
        assert (first.state, first.detail) == ("working", "thinking")
        assert session() is first
        assert (stuck := session(later_s=3600)).detail == "stuck"
        assert stuck.reason != first.reason
        with path.open("ab") as file:
            file.write(event(time.time(), "task_complete", turn_id="t"))
        assert session().state == "idle"


def test_a_rollout_that_is_cut_replaced_or_gone(tmp_path: Path, host: Host) -> None:
    """Each reading tells what the file says then; a torn last line is waited for; nothing is made up."""
    thread = thread_id()
    path = rollout_path(host.home, thread)
    with FakeCodex(tmp_path, [lock_path(host.home, thread)]):
        time.sleep(0.05)
        whole = open_turn(thread, 0, policy="never")
        path.write_bytes(whole[:-20])
        assert host.state(thread)[:2] == ("working", "thinking")
        path.write_bytes(whole)
        assert host.state(thread)[:2] == ("working", "tool")
        path.write_bytes(meta(time.time(), thread))
        assert host.state(thread)[:2] == ("idle", "new")
        path.unlink()
        assert host.state(thread)[:2] == ("idle", "new")
        path.write_bytes(whole + b"\xff\xfe{]\n" + event(time.time(), "task_complete", turn_id="t"))
        assert host.state(thread)[:2] == ("idle", "turn_done")
