"""fleet_agent.surroundings, through a whole reading: real processes that look like Codex."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from fake_codex import FakeCodex, event, lock_path, meta, rollout_path, thread_id
from fleet_agent import processes, procfs
from fleet_agent.scan import Reading, Scanner
from fleet_agent.tools.codex.find import Codex
from fleet_agent.wire import MAX_CHILDREN, Session
from repository import git, make_repository

pytestmark = pytest.mark.skipif(not procfs.AVAILABLE, reason="/proc is Linux's")
SERVER = (
    "import socket; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True); input()"
)


class Host:
    """A home of Codex, and readings of the host as far as it is in this home."""

    def __init__(self, root: Path) -> None:
        self.root, self.home = root, root / "home"
        tool = Codex(environ={"CODEX_HOME": str(self.home)})
        self._scanner = Scanner((tool,), git_wait_s=10.0)
        self.reading = Reading(0.0)

    def thread(self) -> tuple[str, list[Path]]:
        """A thread in the middle of a turn, and the files that its process holds open."""
        thread = thread_id()
        rollout = rollout_path(self.home, thread)
        now = time.time()
        begun = event(now, "task_started", turn_id="1")
        rollout.write_bytes(meta(now, thread, cwd=str(self.root / "repo")) + begun)
        return thread, [rollout, lock_path(self.home, thread)]

    def codex(self, *threads: tuple[str, list[Path]], **options: object) -> FakeCodex:
        """One process that holds them."""
        files = [path for _, paths in threads for path in paths]
        return FakeCodex(self.root, files, **options)  # type: ignore[arg-type]

    def read(self, thread: str) -> Session:
        self.reading = self._scanner.scan()
        return next(s for s in self.reading.sessions if s.id == thread)

    def until(self, thread: str, found: Callable[[Session], object]) -> Session:
        """Read until it is so."""
        deadline = time.monotonic() + 20
        while not found(session := self.read(thread)):
            assert time.monotonic() < deadline, session
            time.sleep(0.05)
        return session

    def orphans(self, session: str) -> list[tuple[int, int, str]]:
        ports = (self._scanner.scan()).orphan_ports
        return [(o.port, o.pid, o.name) for o in ports if o.session_id == session]

    def close(self) -> None:
        self._scanner.close()


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    host = Host(tmp_path)
    yield host
    host.close()


def serve(codex: FakeCodex, thread: str, directory: Path, *, detached: bool = False) -> int:
    """Have it start a server as a tool call of this thread. Its port."""
    (directory / "server.py").write_text(SERVER)
    os.mkfifo(directory / "stdin")
    marks = f"CODEX_THREAD_ID={thread} CODEX_TOOL_CALL_ID=call_1"
    begin = f"{'setsid ' if detached else ''}env {marks} {sys.executable}"
    codex.run(f"exec 50<>{directory}/stdin")
    codex.run(f"{begin} {directory}/server.py <&50 >{directory}/port &")
    deadline = time.monotonic() + 20
    while not (port := (directory / "port").read_text() if (directory / "port").exists() else ""):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return int(port)


def test_a_tool_calls_server_is_a_child_with_its_port_and_its_call(host: Host) -> None:
    """Program, port, call, memory and start of what a session started. Never its arguments."""
    thread = host.thread()
    with host.codex(thread) as codex:
        port = serve(codex, thread[0], host.root)
        session = host.until(thread[0], lambda s: any(c.ports for c in s.children))
        (child,) = session.children
        real = psutil.Process(child.pid)
        assert (child.name, child.ports, child.call_id) == (Path(real.exe()).name, (port,), "call_1")
        assert abs((child.started_at or 0) - real.create_time()) < 1.5
        assert abs((child.rss_bytes or 0) - real.memory_info().rss) < 4 << 20
        assert session.child_count == 1
        assert (session.rss_bytes or 0) > (child.rss_bytes or 0)
        assert "server.py" not in repr(session)


def test_cpu_is_of_the_whole_tree_and_needs_two_readings(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """In percent of one core. A one-shot reading has nothing to compare with."""
    monkeypatch.setattr(processes, "FIGURES_S", 0.0)
    monkeypatch.setattr(processes, "FIRST_FIGURES_S", 0.0)
    thread = host.thread()
    with host.codex(thread) as codex:
        assert host.read(thread[0]).cpu_percent is None
        codex.start("bash -c 'while :; do :; done'")
        host.until(thread[0], lambda s: s.child_count)
        time.sleep(0.3)
        busy = host.read(thread[0]).cpu_percent
        assert busy is not None
        assert 5 < busy < 150
        codex.run("kill %1; wait 2>/dev/null")
        host.read(thread[0])
        time.sleep(0.2)
        assert (host.read(thread[0]).cpu_percent or 0) < 50


def test_figures_of_idle_processes_are_read_now_and_then(host: Host) -> None:
    """In between the last ones stand, and a process that is gone is gone at once."""
    thread = host.thread()
    with host.codex(thread):
        first = host.read(thread[0])
        assert first.rss_bytes
        assert host.read(thread[0]).rss_bytes == first.rss_bytes
    assert host.read(thread[0]).pids == ()


def test_what_a_tool_runs_for_itself_is_no_child_but_counts(host: Host) -> None:
    """A sandbox is three processes around each command; a person looks for the command."""
    thread = host.thread()
    with host.codex(thread) as codex, FakeCodex(host.root / "b", program="bwrap"):
        alone = host.read(thread[0]).rss_bytes or 0
        codex.start(f"{host.root}/b/bwrap -c 'sleep 60; true'")
        session = host.until(thread[0], lambda s: s.child_count)
        assert [child.name for child in session.children] == ["sleep"]
        assert (session.rss_bytes or 0) > alone + (session.children[0].rss_bytes or 0)


def test_threads_of_one_process_have_their_own_children_and_no_share_of_the_rest(host: Host) -> None:
    """A daemon: what names a thread is that thread's; the daemon's own memory and CPU are nobody's."""
    first, second = host.thread(), host.thread()
    with host.codex(first, second, arguments=["app-server", "--managed-daemon"]) as codex:
        codex.start(f"env CODEX_THREAD_ID={first[0]} sleep 60")
        codex.start("sleep 61")
        session = host.until(first[0], lambda s: s.child_count)
        (child,) = session.children
        assert session.rss_bytes == child.rss_bytes
        other = host.read(second[0])
        assert (other.children, other.child_count, other.rss_bytes, other.cpu_percent) == ((), 0, None, None)


def test_more_children_than_may_be_sent_are_counted(host: Host) -> None:
    """Those that listen are among the listed."""
    thread = host.thread()
    with host.codex(thread) as codex:
        codex.run(f"for i in {{1..{MAX_CHILDREN + 5}}}; do sleep 60 & done")
        port = serve(codex, thread[0], host.root)
        session = host.until(
            thread[0], lambda s: s.child_count == MAX_CHILDREN + 6 and any(c.ports for c in s.children)
        )
        assert len(session.children) == MAX_CHILDREN
        assert session.children[0].ports == (port,)


@pytest.mark.parametrize("again", [False, True], ids=["one-shot", "stream"])
def test_a_server_that_outlives_its_session_is_an_orphan(host: Host, again: bool) -> None:
    """By its environment, also for an agent that never saw the session; and it ends being one when it ends."""
    thread = host.thread()
    codex = host.codex(thread)
    with codex:
        port = serve(codex, thread[0], host.root, detached=True)
        if again:
            host.until(thread[0], lambda s: any(c.ports for c in s.children))
            assert host.orphans(thread[0]) == []
        os.killpg(codex.pid, 9)
        codex.process.wait()
    deadline = time.monotonic() + 20
    while not (found := host.orphans(thread[0])):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    ((orphan_port, pid, name),) = found
    try:
        assert (orphan_port, name) == (port, Path(psutil.Process(pid).exe()).name)
    finally:
        os.kill(pid, 9)
    while host.orphans(thread[0]):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_repository_facts_come_with_every_session_in_it(host: Host) -> None:
    """Root, branch, commit, changes; of the directory that the session works in."""
    root = make_repository(host.root / "repo")
    (root / "new").write_text("")
    thread = host.thread()
    with host.codex(thread):
        session = host.read(thread[0])
    assert (session.repository, session.branch, session.dirty_files) == (str(root), "main", 1)
    assert session.commit == git(root, "rev-parse", "HEAD")[:8]
    assert (session.ahead, session.behind) == (None, None)


def test_a_pane_is_not_believed_without_a_terminal(host: Host) -> None:
    """A daemon has the environment of the first terminal that it was started from, long ago."""
    thread = host.thread()
    environ = {"TMUX": f"/tmp/s,{os.getpid()},0", "TMUX_PANE": "%3", "CODEX_HOME": str(host.home)}
    with host.codex(thread, environ=environ):
        assert host.read(thread[0]).pane is None


def test_the_machine_and_the_cost_come_with_each_reading(host: Host) -> None:
    """How the host does, and what it took to say so."""
    thread = host.thread()
    with host.codex(thread):
        host.read(thread[0])
    assert host.reading.vitals
    assert host.reading.cost
    assert (host.reading.cost.cpu_ms or 0) > 0
