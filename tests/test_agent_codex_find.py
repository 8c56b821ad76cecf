"""fleet_agent.tools.codex.find: sessions from real processes and real files."""

import time
from pathlib import Path

import msgspec
import pytest

from codex_host import Host, open_turn, write
from fake_codex import (
    FakeCodex,
    event,
    meta,
    named,
    rollout_path,
    sample,
    sample_at,
    thread_id,
)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path / "codex-home")


def test_the_one_shot_and_the_stream_agree(tmp_path: Path, host: Host) -> None:
    """State is a function of one reading: a reader that saw all of it says what a fresh one says."""
    threads = {name: thread_id() for name in ("tui_waiting_approval", "exec_tool", "exec_sigterm_midturn")}
    paths = {name: rollout_path(host.home, thread) for name, thread in threads.items()}
    with FakeCodex(tmp_path, [paths["tui_waiting_approval"], paths["exec_tool"]], ["exec"]):
        for name, path in paths.items():
            lines = sample_at(name, time.time()).splitlines(keepends=True)
            for start in range(0, len(lines), 5):
                write(path, b"".join(lines[start : start + 5]))
                host.look()
        streamed = {t: msgspec.structs.replace(s, grown_bytes=None) for t, s in host.sessions().items()}
        fresh = Host(host.home).sessions()
        assert streamed.keys() == fresh.keys() == set(threads.values())
        assert streamed == fresh


def test_every_home_in_use_is_read(tmp_path: Path, host: Host) -> None:
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


def test_titles_obey_privacy(host: Host) -> None:
    """Without permission no word of a conversation leaves: the name, else the directory. A name comes first.

    But a first name may be Codex's own, made of the prompt.
    """
    plain, titled, renamed = thread_id(), thread_id(), thread_id()
    for thread in (plain, titled, renamed):
        rollout_path(host.home, thread).write_bytes(sample("exec_tool"))
    index = named(titled, "List all files") + named(renamed, "List all files") + named(renamed, "my name")
    (host.home / "session_index.jsonl").write_text(index)
    for privacy, *expected in (
        ("meta", ("ws", "directory"), ("ws", "directory")),
        ("title", ("TOOL ls -la ;; SAY listed", "prompt"), ("List all files", "name")),
    ):
        found = Host(host.home, privacy).sessions()
        titles = [(found[thread].title, found[thread].title_source) for thread in (plain, titled, renamed)]
        assert titles == [*expected, ("my name", "name")]


def test_subagents_carry_their_parent_and_root(tmp_path: Path, host: Host) -> None:
    """Parent and child are held by one process; each is a session of its own."""
    parent, child = "01a1fc02-ef99-71b2-8c73-28380fef795c", "01a1fc02-f183-73e2-b408-896f89688405"
    paths = [rollout_path(host.home, parent), rollout_path(host.home, child)]
    with FakeCodex(tmp_path, paths, ["exec"]):
        paths[0].write_bytes(sample("exec_spawn_v2"))
        paths[1].write_bytes(sample("exec_spawn_v2.child1"))
        found = host.sessions()
    assert (found[parent].root_id, found[parent].parent_id) == (parent, None)
    assert (found[child].root_id, found[child].parent_id) == (parent, parent)
    tokens = found[child].tokens
    assert tokens is not None
    assert tokens.total == 30974


def test_an_ephemeral_run_is_a_session(tmp_path: Path, host: Host) -> None:
    """It holds no file at all: its process is the session, and its tool's process tells what it does."""
    environ = {"CODEX_HOME": str(host.home)}
    with FakeCodex(tmp_path, arguments=["exec", "--ephemeral", "x"], environ=environ) as codex:
        (session,) = host.sessions().values()
        assert (session.state, session.detail, session.confidence) == ("working", "thinking", "weak")
        assert (session.pids, session.ephemeral, session.cwd) == ((codex.pid,), True, str(tmp_path))
        codex.start(f"CODEX_THREAD_ID={thread_id()} sleep 60")
        (working,) = host.sessions().values()
        assert (working.state, working.detail, working.id) == ("working", "tool", session.id)
    assert host.sessions() == {}


def test_a_session_that_is_archived_while_it_runs_goes_on(tmp_path: Path, host: Host) -> None:
    """Its file moves under the open descriptor; the session stays the same, at its new path."""
    thread = thread_id()
    path = rollout_path(host.home, thread)
    archived = host.home / "archived_sessions" / path.name
    archived.parent.mkdir()
    with FakeCodex(tmp_path, [path]):
        write(path, open_turn(thread, 0, policy="never"))
        before = host.sessions()[thread]
        path.rename(archived)
        after = host.sessions()[thread]
        assert (after.transcript, after.home) == (str(archived), str(host.home))
        assert (after.state, after.detail, after.pids) == (before.state, before.detail, before.pids)
    assert thread not in host.sessions()  # whoever archives it is done with it


def test_a_compressed_session_is_listed(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ended, and why no more is said is its reason, not a problem; the plain rollout wins where both are."""
    monkeypatch.setattr("fleet_agent.tools.codex.packed.zstd_module", lambda: None)
    thread = thread_id()
    plain = rollout_path(host.home, thread)
    packed = plain.with_name(f"{plain.name}.zst")
    packed.write_bytes(b"\x28\xb5\x2f\xfd and so on")
    found = host.look()
    (session,) = [s for s in found.sessions if s.id == thread]
    assert (session.state, session.detail, session.confidence) == ("ended", None, "weak")
    assert (session.transcript, session.home) == (str(packed), str(host.home))
    assert "compressed" in session.reason
    assert not [p for p in found.problems if (p.path or "").startswith(str(host.home))]
    plain.write_bytes(sample("exec_tool"))
    assert host.sessions()[thread].transcript == str(plain)
    assert host.sessions()[thread].detail == "ok"


def test_the_limits_of_an_account_outlive_its_sessions(host: Host) -> None:
    """The newest word of all sessions of a home, until the reset, though the session is gone from the list."""
    now = time.time()
    old, new = (rollout_path(host.home, thread_id()) for _ in range(2))

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


def test_words_of_a_plan_leave_only_with_permission(host: Host) -> None:
    """`privacy = text` alone shows the step that is in progress."""
    thread = thread_id()
    rollout_path(host.home, thread).write_bytes(sample("exec_plan"))
    steps = {privacy: Host(host.home, privacy).sessions()[thread].plan for privacy in ("meta", "title", "text")}
    assert {privacy: plan and plan.current for privacy, plan in steps.items()} == {
        "meta": None,
        "title": None,
        "text": "do",
    }
    assert {plan and (plan.completed, plan.total) for plan in steps.values()} == {(1, 3)}
