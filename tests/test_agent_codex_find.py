"""fleet_agent.tools.codex.find: sessions from real processes and real files."""

import os
import time
from pathlib import Path

import msgspec
import pytest

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
)
from fake_daemon import FakeDaemon, well
from fleet_agent.evidence import Evidence, Verdict
from fleet_agent.processes import ProcessTable
from fleet_agent.status import judge
from fleet_agent.tail import Line
from fleet_agent.tools import Found
from fleet_agent.tools.codex.find import Codex
from fleet_agent.tools.codex.rollout import Rollout
from fleet_agent.wire import Session


class Host:
    """One user's view of this machine: an agent's reader, and the processes it looks at."""

    def __init__(self, home: Path, privacy: str = "meta") -> None:
        self.home = home
        self.codex = Codex(privacy, {"CODEX_HOME": str(home)})
        self.table = ProcessTable(self.codex.is_tool, self.codex.variables)

    def look(self) -> Found:
        self.table.scan()
        return self.codex.find(self.table, time.time())

    def sessions(self) -> dict[str, Session]:
        """Those of this test's own homes: other tests run on this machine too."""
        near = str(self.home.parent)
        return {s.id: s for s in self.look().sessions if (s.home or "").startswith(near)}

    def state(self, thread: str) -> tuple[str, str | None, str]:
        session = self.sessions()[thread]
        return session.state, session.detail, session.confidence


@pytest.fixture
def home(tmp_path: Path) -> Path:
    path = tmp_path / "codex-home"
    path.mkdir()
    return path


@pytest.fixture
def host(home: Path) -> Host:
    return Host(home)


def open_turn(thread: str, age_s: float, *, asks: bool = False, policy: str = "on-request") -> bytes:
    """A rollout in the middle of a turn: a shell call `call_1` is open since `age_s`."""
    at = time.time() - age_s
    arguments = '{"cmd":"x","sandbox_permissions":"require_escalated"}' if asks else '{"cmd":"x"}'
    return (
        meta(at, thread, cwd="/tmp", source="cli", originator="codex-tui")
        + event(at, "task_started", turn_id="t")
        + event(at, "x").replace(b'"event_msg"', b'"turn_context"').replace(
            b'{"type":"x"}', f'{{"approval_policy":"{policy}","model":"m"}}'.encode()
        )
        + item(at, "function_call", call_id="call_1", name="exec_command", arguments=arguments)
    )  # fmt: skip


def test_a_session_from_its_first_to_its_last_breath(tmp_path: Path, home: Path, host: Host) -> None:
    """New, thinking, running a tool, thinking again, done, closed: each reading says what is true then."""
    thread = thread_id()
    path, lock = rollout_path(home, thread), lock_path(home, thread)
    with FakeCodex(tmp_path, [lock, path], environ={"CODEX_HOME": str(home)}) as codex:
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
        assert (session.pids, session.cwd, session.home) == ((codex.pid,), str(tmp_path), str(home))
    assert host.state(thread) == ("ended", "ok", "fact")
    assert host.sessions()[thread].pids == ()


def test_an_approval_is_told_from_a_tool_that_runs(tmp_path: Path, home: Path, host: Host) -> None:
    """An open call with nothing running for it waits for a person; it is sure when it asked to."""
    asks, plain, never, young = (thread_id() for _ in range(4))
    paths = {thread: rollout_path(home, thread) for thread in (asks, plain, never, young)}
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


def test_a_background_process_of_an_earlier_call_hides_no_approval(
    tmp_path: Path, home: Path, host: Host
) -> None:
    """What still runs from before is not the process of the open call."""
    thread = thread_id()
    path = rollout_path(home, thread)
    with FakeCodex(tmp_path, [path]) as codex:
        codex.start(f"CODEX_THREAD_ID={thread} CODEX_TOOL_CALL_ID=call_0 sleep 60")
        write(path, open_turn(thread, 0, asks=True))
        host.table.scan()
        (session,) = [s for s in host.codex.find(host.table, time.time() + 10).sessions if s.id == thread]
        assert (session.state, session.detail) == ("waiting", "approval")


def test_a_command_that_a_person_runs(tmp_path: Path, home: Path, host: Host) -> None:
    """`!sleep` begins a turn that says nothing: its process tells it from a compaction; older ones do not."""
    thread = thread_id()
    path, lock = rollout_path(home, thread), lock_path(home, thread)
    with FakeCodex(tmp_path, [lock, path], environ={"CODEX_HOME": str(home)}) as codex:
        codex.start(f"CODEX_THREAD_ID={thread} CODEX_TOOL_CALL_ID=call_1 sleep 60")  # left by an earlier turn
        time.sleep(0.5)  # fleet knows a process's start to 0.25 s
        write(path, event(time.time(), "task_started", turn_id="t"), meta(time.time(), thread))
        assert host.state(thread) == ("working", "thinking", "weak")
        codex.start(f"CODEX_THREAD_ID={thread} sleep 60")
        assert host.state(thread) == ("working", "tool", "strong")


def test_a_killed_session_is_crashed_and_the_next_to_open_it_is_not_working(
    tmp_path: Path, home: Path, host: Host
) -> None:
    """In progress on disk is only true while the process that began the turn lives."""
    thread = thread_id()
    path = rollout_path(home, thread)
    with FakeCodex(tmp_path, [path, lock_path(home, thread)]) as codex:
        time.sleep(0.05)
        write(path, begun(time.time()), meta(time.time(), thread))
        assert host.state(thread) == ("working", "thinking", "strong")
        codex.kill()
        assert host.state(thread) == ("ended", "crashed", "strong")
    time.sleep(0.05)
    with FakeCodex(tmp_path, [path, lock_path(home, thread)]):
        assert host.state(thread) == ("idle", "aborted", "strong")


def test_the_one_shot_and_the_stream_agree(tmp_path: Path, home: Path, host: Host) -> None:
    """State is a function of one reading: a reader that saw all of it says what a fresh one says."""
    threads = {name: thread_id() for name in ("tui_waiting_approval", "exec_tool", "exec_sigterm_midturn")}
    paths = {name: rollout_path(home, thread) for name, thread in threads.items()}
    with FakeCodex(tmp_path, [paths["tui_waiting_approval"], paths["exec_tool"]], ["exec"]):
        for name, path in paths.items():
            lines = sample_at(name, time.time()).splitlines(keepends=True)
            for start in range(0, len(lines), 5):
                write(path, b"".join(lines[start : start + 5]))
                host.look()
        streamed = {t: msgspec.structs.replace(s, grown_bytes=None) for t, s in host.sessions().items()}
        fresh = Host(home).sessions()
        assert streamed.keys() == fresh.keys() == set(threads.values())
        assert streamed == fresh


def test_every_home_in_use_is_read(tmp_path: Path, home: Path, host: Host) -> None:
    """CODEX_HOME is per process: sessions of another home are found while they live, and after they ended."""
    other = tmp_path / "other-home"
    live, ended = thread_id(), thread_id()
    rollout_path(other, ended).write_bytes(sample("exec_tool"))
    with FakeCodex(tmp_path, [rollout_path(other, live)], environ={"CODEX_HOME": str(other)}):
        rollout_path(other, live).write_bytes(sample("exec_tool"))
        found = host.sessions()
        assert (found[live].home, found[ended].home) == (str(other), str(other))
        assert (found[live].state, found[ended].state) == ("idle", "ended")
    assert host.sessions()[live].state == "ended"


def test_a_process_that_execs_codex_late_is_never_taken_for_crashed(
    tmp_path: Path, home: Path, host: Host
) -> None:
    """A shell that was looked at long ago becomes Codex: before its session is crashed, all are looked at."""
    thread = thread_id()
    path = rollout_path(home, thread)
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


def test_the_daemon_is_asked_of_the_threads_that_it_holds(tmp_path: Path, home: Path, host: Host) -> None:
    """Its word comes before the file's, for its own threads alone; when it is gone, the file's counts again."""
    its, other = thread_id(), thread_id()
    paths = {thread: rollout_path(home, thread) for thread in (its, other)}
    for thread, path in paths.items():
        path.write_bytes(open_turn(thread, -1))  # its process starts before it
    environ = {"CODEX_HOME": str(home)}
    with (
        FakeCodex(tmp_path, [paths[its], lock_path(home, its)], ["app-server", "--managed-daemon"], environ),
        FakeCodex(tmp_path, [paths[other]], ["app-server"], environ),
    ):
        with FakeDaemon(home, well).running():
            found = host.sessions()
            assert (found[its].state, found[its].detail, found[its].confidence) == (
                "waiting",
                "approval",
                "fact",
            )
            assert found[its].evidence == "app_server"
            assert found[other].evidence == "pending_call"
        assert host.sessions()[its].evidence == "pending_call"


def test_a_daemon_that_does_not_answer_is_a_problem(tmp_path: Path, home: Path, host: Host) -> None:
    """The sessions are there as their files tell them, and the problem says what is missing."""
    thread = thread_id()
    environ = {"CODEX_HOME": str(home)}
    arguments = ["app-server", "--managed-daemon"]
    with (
        FakeDaemon(home, lambda *_: None).running(),
        FakeCodex(tmp_path, [lock_path(home, thread)], arguments, environ),
    ):
        found = host.look()
    assert [(s.state, s.evidence) for s in found.sessions if s.id == thread] == [("idle", "process")]
    (problem,) = [p for p in found.problems if (p.path or "").startswith(str(home))]
    assert problem.kind == "unreadable"
    assert "does not answer" in problem.message


def test_old_releases_are_read_with_less_confidence(tmp_path: Path, home: Path, host: Host) -> None:
    """Before 0.101 no line says where a turn ends: live and ended, always weak."""
    live, ended = thread_id(), thread_id()
    rollout_path(home, ended).write_bytes(sample("old_0.77.0_tools"))
    with FakeCodex(tmp_path, [rollout_path(home, live)], ["exec"]):
        time.sleep(0.05)
        write(rollout_path(home, live), sample_at("old_0.77.0_tools", time.time()))
        assert host.state(live) == ("idle", "turn_done", "weak")
        assert host.state(ended) == ("ended", "ok", "weak")


def test_titles_obey_privacy(home: Path) -> None:
    """Without permission no word of a conversation leaves: the name, else the directory. A name comes first."""
    plain, named = thread_id(), thread_id()
    for thread in (plain, named):
        rollout_path(home, thread).write_bytes(sample("exec_tool"))
    (home / "session_index.jsonl").write_text(f'{{"id":"{named}","thread_name":"my name"}}\n')
    for privacy, expected in (
        ("meta", ("ws", "directory")),
        ("title", ("TOOL ls -la ;; SAY listed", "prompt")),
    ):
        found = Host(home, privacy).sessions()
        assert (found[plain].title, found[plain].title_source) == expected
        assert (found[named].title, found[named].title_source) == ("my name", "name")


def test_subagents_carry_their_parent_and_root(tmp_path: Path, home: Path, host: Host) -> None:
    """Parent and child are held by one process; each is a session of its own."""
    parent, child = "01a1fc02-ef99-71b2-8c73-28380fef795c", "01a1fc02-f183-73e2-b408-896f89688405"
    paths = [rollout_path(home, parent), rollout_path(home, child)]
    with FakeCodex(tmp_path, paths, ["exec"]):
        paths[0].write_bytes(sample("exec_spawn_v2"))
        paths[1].write_bytes(sample("exec_spawn_v2.child1"))
        found = host.sessions()
    assert (found[parent].root_id, found[parent].parent_id) == (parent, None)
    assert (found[child].root_id, found[child].parent_id) == (parent, parent)
    tokens = found[child].tokens
    assert tokens is not None
    assert tokens.total == 30974


def test_one_absurd_file_is_a_problem_and_the_others_are_read(tmp_path: Path, home: Path, host: Host) -> None:
    """Garbage, a trap, a vanished file: each named, none of them hides or breaks a sibling."""
    good, garbage, trap, deleted = (thread_id() for _ in range(4))
    rollout_path(home, good).write_bytes(sample("exec_tool"))
    rollout_path(home, garbage).write_bytes(b"\xff\xfe\x00 no rollout\n" * 100)
    os.mkfifo(rollout_path(home, trap))
    with FakeCodex(tmp_path, [rollout_path(home, deleted)]):
        rollout_path(home, deleted).unlink()
        found = host.look()
    sessions = {s.id: s for s in found.sessions}
    assert (sessions[good].state, sessions[garbage].state, sessions[deleted].state) == (
        "ended",
        "unknown",
        "unknown",
    )
    assert trap not in sessions
    problems = {p.path: p for p in found.problems}
    assert problems[str(rollout_path(home, garbage))].kind == "unreadable"
    assert "session_meta" in problems[str(rollout_path(home, garbage))].message
    assert problems[f"{rollout_path(home, deleted)} (deleted)"].kind == "unreadable"


def test_a_bug_in_reading_one_session_does_not_lose_the_others(
    home: Path, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An exception nobody thought of is a problem of kind `internal` for that session alone."""
    good, bad = thread_id(), thread_id()
    rollout_path(home, good).write_bytes(sample("exec_tool"))
    rollout_path(home, bad).write_bytes(sample("exec_mcp"))
    feed = Rollout.feed

    def broken(self: Rollout, line: Line) -> None:
        if b"mcp__mini" in line.data:
            raise ZeroDivisionError("planted")
        feed(self, line)

    monkeypatch.setattr(Rollout, "feed", broken)
    found = host.look()
    states = {s.id: s.state for s in found.sessions}
    assert (states[good], states[bad]) == ("ended", "unknown")
    (problem,) = [p for p in found.problems if p.path == str(rollout_path(home, bad))]
    assert (problem.kind, problem.message) == ("internal", "a bug of the agent: ZeroDivisionError: planted")


def test_a_bug_in_judging_one_session_does_not_lose_the_others(
    home: Path, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same after its file was read."""
    good, bad = thread_id(), thread_id()
    rollout_path(home, good).write_bytes(sample("exec_tool"))
    rollout_path(home, bad).write_bytes(sample("exec_fail400"))

    def broken(evidence: Evidence) -> Verdict:
        return judge(evidence) if evidence.turn and evidence.turn.status == "complete" else 1 / 0  # type: ignore[return-value]

    monkeypatch.setattr("fleet_agent.tools.codex.find.judge", broken)
    found = host.sessions() | {s.id: s for s in host.look().sessions if s.id == bad}
    assert (found[good].state, found[bad].state) == ("ended", "unknown")


def test_a_line_too_long_is_said(home: Path, host: Host) -> None:
    """A line of megabytes is read in part, and that is a problem of kind `oversize`."""
    thread = thread_id()
    long = item(time.time(), "message", role="user", content="x" * (5 << 20))
    rollout_path(home, thread).write_bytes(
        sample("exec_tool") + event(time.time(), "task_started", turn_id="t") + long
    )
    found = host.look()
    (problem,) = [p for p in found.problems if p.path == str(rollout_path(home, thread))]
    assert problem.kind == "oversize"
    assert "1 line(s) of more than 4 MiB" in problem.message


def test_on_a_network_file_system_another_host_may_be_at_work(
    home: Path, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shared home shows the sessions of every host: one without a writer here is not called crashed."""
    thread = thread_id()
    rollout_path(home, thread).write_bytes(sample("exec_sigterm_midturn"))
    assert host.state(thread) == ("ended", "crashed", "strong")
    monkeypatch.setattr(host.codex._mounts, "on_network", lambda _: True)
    assert host.state(thread) == ("unknown", None, "weak")


def write(path: Path, data: bytes, first: bytes = b"") -> None:
    with path.open("ab") as file:
        file.write(first + data)


def test_an_ephemeral_run_is_a_session(tmp_path: Path, home: Path, host: Host) -> None:
    """It holds no file at all: its process is the session, and its tool's process tells what it does."""
    environ = {"CODEX_HOME": str(home)}
    with FakeCodex(tmp_path, arguments=["exec", "--ephemeral", "x"], environ=environ) as codex:
        (session,) = host.sessions().values()
        assert (session.state, session.detail, session.confidence) == ("working", "thinking", "weak")
        assert (session.pids, session.ephemeral, session.cwd) == ((codex.pid,), True, str(tmp_path))
        codex.start(f"CODEX_THREAD_ID={thread_id()} sleep 60")
        (working,) = host.sessions().values()
        assert (working.state, working.detail, working.id) == ("working", "tool", session.id)
    assert host.sessions() == {}


def test_a_session_that_is_archived_while_it_runs_goes_on(tmp_path: Path, home: Path, host: Host) -> None:
    """Its file moves under the open descriptor; the session stays the same, at its new path."""
    thread = thread_id()
    path = rollout_path(home, thread)
    archived = home / "archived_sessions" / path.name
    archived.parent.mkdir()
    with FakeCodex(tmp_path, [path]):
        write(path, open_turn(thread, 0, policy="never"))
        before = host.sessions()[thread]
        path.rename(archived)
        after = host.sessions()[thread]
        assert (after.transcript, after.home) == (str(archived), str(home))
        assert (after.state, after.detail, after.pids) == (before.state, before.detail, before.pids)
    assert thread not in host.sessions()  # whoever archives it is done with it


def test_a_compressed_session_is_listed(home: Path, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ended, and why no more is said is its reason, not a problem; the plain rollout wins where both are."""
    monkeypatch.setattr("fleet_agent.tools.codex.packed.zstd_module", lambda: None)
    thread = thread_id()
    plain = rollout_path(home, thread)
    packed = plain.with_name(f"{plain.name}.zst")
    packed.write_bytes(b"\x28\xb5\x2f\xfd and so on")
    found = host.look()
    (session,) = [s for s in found.sessions if s.id == thread]
    assert (session.state, session.detail, session.confidence) == ("ended", None, "weak")
    assert (session.transcript, session.home) == (str(packed), str(home))
    assert "compressed" in session.reason
    assert not [p for p in found.problems if (p.path or "").startswith(str(home))]
    plain.write_bytes(sample("exec_tool"))
    assert host.sessions()[thread].transcript == str(plain)
    assert host.sessions()[thread].detail == "ok"


def test_the_limits_of_an_account_outlive_its_sessions(home: Path, host: Host) -> None:
    """The newest word of all sessions of a home, until the reset, though the session is gone from the list."""
    now = time.time()
    old, new = (rollout_path(home, thread_id()) for _ in range(2))

    def told(at: float, used: float) -> bytes:
        window = {"used_percent": used, "window_minutes": 300, "resets_at": now + 1000}
        return event(at, "token_count", rate_limits={"limit_id": "codex", "primary": window})

    old.write_bytes(meta(now - 60, thread_id()) + told(now - 60, 10))
    new.write_bytes(meta(now - 30, thread_id()) + told(now - 30, 20))
    (limit,) = [limit for limit in host.look().rate_limits if limit.resets_at == pytest.approx(now + 1000)]
    assert (limit.used_percent, limit.window_minutes, limit.reached) == (20.0, 300, False)
    assert limit.observed_at == pytest.approx(now - 30, abs=0.01)
    old.unlink()
    new.unlink()
    assert limit in host.look().rate_limits
    host.table.scan()
    assert limit not in host.codex.find(host.table, now + 1001).rate_limits


def test_words_of_a_plan_leave_only_with_permission(home: Path) -> None:
    """`privacy = text` alone shows the step that is in progress."""
    thread = thread_id()
    rollout_path(home, thread).write_bytes(sample("exec_plan"))
    steps = {privacy: Host(home, privacy).sessions()[thread].plan for privacy in ("meta", "title", "text")}
    assert {privacy: plan and plan.current for privacy, plan in steps.items()} == {
        "meta": None,
        "title": None,
        "text": "do",
    }
    assert {plan and (plan.completed, plan.total) for plan in steps.values()} == {(1, 3)}


def test_what_did_not_change_is_not_made_again_but_judged(tmp_path: Path, home: Path) -> None:
    """The same rows while a session is in a turn; when nothing has moved for long, it is stuck all the same."""
    host, thread = Host(home), thread_id()
    path = rollout_path(home, thread)
    with FakeCodex(tmp_path, [path, lock_path(home, thread)]):
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


def test_a_rollout_that_is_cut_replaced_or_gone(tmp_path: Path, home: Path, host: Host) -> None:
    """Each reading tells what the file says then; a torn last line is waited for; nothing is made up."""
    thread = thread_id()
    path = rollout_path(home, thread)
    with FakeCodex(tmp_path, [lock_path(home, thread)]):
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
