"""fleet_agent.tools.codex.bare: sessions that are a process and no thread."""

from pathlib import Path
from typing import Any

import pytest

from fleet_agent.kin import Child
from fleet_agent.processes import Process
from fleet_agent.tools.codex import bare
from fleet_agent.tools.codex.holders import Holder
from fleet_agent.tools.codex.lines import Meta
from fleet_agent.tools.codex.rollout import Rollout
from fleet_agent.tools.codex.session import Thread
from fleet_agent.wire import Session

NOW = 1_800_000_000.0
THREAD = "01a1fbf3-d4da-78f3-8f80-8b9a0611d5f6"


def process(
    arguments: str,
    *,
    pid: int = 7,
    age_s: float = 60,
    tty: str | None = "pts/1",
    home: str = "/h",
    thread: str | None = None,
) -> Process:
    environ = {"CODEX_HOME": home} | ({"CODEX_THREAD_ID": thread} if thread else {})
    argv = ("codex", *(word.replace("@", " ") for word in arguments.split()))
    return Process(pid, 4242.0, NOW - age_s, "/bin/codex", argv, 1000, tty, "/src/app", environ)


def found(
    *processes: Process, children: tuple[Child, ...] = (), threads: tuple[Thread, ...] = ()
) -> list[Session]:
    wanted = [p for p in processes if "--managed-daemon" not in p.argv]
    return bare.sessions(wanted, processes, children, threads, NOW)


def states(*processes: Process, **more: Any) -> list[tuple[str, str | None, str]]:
    return [(s.state, s.detail, s.confidence) for s in found(*processes, **more)]


DAEMON = process("app-server --listen unix:// --managed-daemon", pid=3, tty=None)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("exec --ephemeral x", [("working", "thinking", "weak")]),
        ("exec x", [("unknown", None, "weak")]),  # it reads its standard input, say
        ("", [("idle", "new", "weak")]),
        ("resume", [("idle", "new", "weak")]),
        ("--no-daemon", [("idle", "new", "weak")]),
        ("fix@the@parser", [("idle", "new", "weak")]),
        ("agents", []),
        ("--remote ws://127.0.0.1:4500", []),
        ("--remote=unix:///run/codex.sock resume", []),
        ("app-server", []),
        ("mcp-server", []),
    ],
)
def test_a_process_without_a_thread(arguments: str, expected: list[tuple[str, str | None, str]]) -> None:
    """Runs that write nothing down, and terminal UIs before their first prompt, are sessions; servers not."""
    assert states(process(arguments)) == expected


def test_what_is_young_may_still_open_its_thread() -> None:
    """No row appears only to be replaced a moment later; a run that writes nothing down comes at once."""
    assert states(process("", age_s=1), process("exec x", pid=8, age_s=1)) == []
    assert states(process("exec --ephemeral x", age_s=0.1)) == [("working", "thinking", "weak")]


def test_windows_on_the_daemons_threads_are_no_sessions() -> None:
    """The daemon of their own home holds their threads; those that run their own server stay."""
    assert states(process(""), process("resume", pid=8), DAEMON) == []
    assert states(process("--no-daemon"), DAEMON) == [("idle", "new", "weak")]
    assert states(process("", home="/elsewhere"), DAEMON) == [("idle", "new", "weak")]


def test_a_window_on_a_dead_daemon_is_unknown(tmp_path: Path) -> None:
    """It may also be an old release that was asked nothing; nothing tells the two apart."""
    (tmp_path / "app-server-daemon").mkdir()
    (tmp_path / "app-server-daemon/daemon.pid").touch()
    assert states(process("", home=str(tmp_path))) == [("unknown", None, "weak")]


def test_two_terminals_in_one_directory_are_two_sessions() -> None:
    """The id is the process's own, and stays the same from reading to reading."""
    one, two = found(process("", pid=7), process("", pid=8))
    assert (one.id, two.id) == ("pid-7-4242", "pid-8-4242")
    assert (one.cwd, one.title, one.title_source, one.tty, one.pids) == (
        "/src/app",
        "app",
        "directory",
        "pts/1",
        (7,),
    )
    assert (one.root_id, one.started_at, one.since_at, one.home) == (one.id, NOW - 60, NOW - 60, "/h")
    assert not one.ephemeral
    assert found(process("exec --ephemeral x"))[0].ephemeral


def test_an_ephemeral_runs_tool_is_its_own() -> None:
    """A process with a thread id that the run did not inherit is a tool's; its other children are none."""
    run = process("exec --ephemeral x", thread="outer")
    tool = Child(20, 7, NOW - 5, {"CODEX_THREAD_ID": "its-own"})
    others = (
        Child(21, 7, NOW - 4, {"CODEX_THREAD_ID": "outer"}),
        Child(22, 7, NOW - 3, {}),
        Child(23, 7, 1.0, None),
    )
    assert states(run, children=others) == [("working", "thinking", "weak")]
    assert states(run, children=(tool, *others)) == [("working", "tool", "weak")]
    assert found(run, children=(tool,))[0].since_at == NOW - 5


def test_a_fork_that_has_not_executed_yet_is_no_session() -> None:
    """Between fork and exec a tool's process looks like its codex; a codex run by a codex does not."""
    run, fork = process("exec --ephemeral x"), process("exec --ephemeral x", pid=8)
    inner = process("exec --ephemeral y", pid=9)
    children = (Child(8, 7, NOW, {}), Child(9, 7, NOW, {}))
    assert [s.pids for s in found(run, fork, inner, children=children)] == [(7,), (9,)]


def ended(source: str, *, last_at: float, home: str = "/h", holder: Holder | None = None) -> Thread:
    facts = Rollout(Meta(id=THREAD, source=source))
    facts.last_at = last_at
    return Thread(THREAD, home, f"{home}/r.jsonl", holder, facts)


def test_a_process_on_its_way_out_is_no_new_session() -> None:
    """A run lets go of its thread a moment before it ends."""
    run = process("exec x")
    assert states(run, threads=(ended("exec", last_at=NOW - 1),)) == []
    for other in (
        ended("exec", last_at=NOW - 61),  # over before this run began
        ended("cli", last_at=NOW - 1),
        ended("exec", last_at=NOW - 1, home="/elsewhere"),
        ended("exec", last_at=NOW - 1, holder=Holder([process("exec y", pid=9)], "/h")),
    ):
        assert states(run, threads=(other,)) == [("unknown", None, "weak")]
    assert states(process("exec --ephemeral x"), threads=(ended("exec", last_at=NOW - 1),)) != []
