"""The agent at rest: what `fleet-agent stream` costs at an interval of 2 s, and one `fleet-agent snapshot`.

Usage: python bench/steady_state.py [N ...] [--seconds S] [--repeat R]     (default: 300 2000, 64 s, 10 times)

N processes run on the host, real ones (`sleep`), as many as are missing. Of 50 live sessions (processes that
hold a lock, a rollout and 30 more files open, like a Codex) 10 are in a tool call with a process of its own,
and 5 write a line each second; they work in 5 git repositories. CPU of the stream is what the scheduler gave
to its threads (/proc/PID/task/*/schedstat), tick by tick, after ten seconds in which everything is new; the
mean holds the passes over all processes, and the ports, that come now and then. The git processes that it
started are accounted separately. Beside it, in the same run: one pass of psutil.process_iter with ten
attributes, and one `ps`. The one-shot is beside `python -c pass`, in turn with it.

The agent reads every session of the host. Where others have some, measure in a PID namespace, as root:
unshare --pid --fork --mount-proc sh -c 'PYTHONPATH=tests python bench/steady_state.py; true'
"""

import argparse
import compileall
import itertools
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

import fleet_agent
import measure
from fake_codex import FakeCodex, event, item, lock_path, meta, rollout_path, thread_id

CPU = 0
SESSIONS, WITH_TOOL, WRITING, REPOSITORIES, MORE_FILES = 50, 10, 5, 5, 30
INTERVAL_S = 2.0
WARM_S = 10.0
ATTRIBUTES = ["pid", "ppid", "name", "exe", "cmdline", "username", "create_time", "cwd", "status", "cpu_times"]
PS = ["ps", "-eo", "pid,ppid,uid,stat,etimes,cputimes,rss,comm,args"]


@dataclass(frozen=True)
class Usage:
    """What a stream used so far: CPU of its own, of its children; bytes it read and wrote."""

    cpu_s: float
    children_s: float
    read_bytes: int
    sent_bytes: int


@contextmanager
def processes(count: int) -> Iterator[None]:
    """So many processes on this host, at least."""
    missing = max(0, count - len(psutil.pids()))
    pids = [os.posix_spawn("/bin/sleep", ["sleep", "3600"], {}) for _ in range(missing)]
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, 9)
        for pid in pids:
            os.waitpid(pid, 0)


@contextmanager
def sessions(root: Path) -> Iterator[Path]:
    """50 live sessions. Their CODEX_HOME."""
    home = root / "home"
    with ExitStack() as started:
        rollouts = [started.enter_context(_session(root, home, number)) for number in range(SESSIONS)]
        writing = threading.Event()
        writer = threading.Thread(target=_write, args=(rollouts[-WRITING:], writing))
        writer.start()
        started.callback(writer.join)
        started.callback(writing.set)
        yield home


@contextmanager
def _session(root: Path, home: Path, number: int) -> Iterator[Path]:
    thread, now = thread_id(), time.time()
    rollout = rollout_path(home, thread, time.strftime("%Y/%m/%d"))
    project = root / f"project{number % REPOSITORIES}"
    if not project.exists():
        _make_repository(project)
    lines = [
        meta(now - 60, thread, source="cli", cwd=str(project)),
        event(now - 59, "task_started", turn_id="1"),
    ]
    if number < WITH_TOOL:
        lines.append(item(now - 58, "function_call", name="exec_command", call_id="c", arguments="{}"))
    elif number < SESSIONS - WRITING:
        lines.append(event(now - 58, "task_complete", turn_id="1"))
    rollout.write_bytes(b"".join(lines))
    files = [Path(os.devnull)] * MORE_FILES
    environ = {"CODEX_HOME": str(home), "HOME": str(root)}
    with FakeCodex(project, [rollout, lock_path(home, thread)], [], environ, files) as codex:
        if number < WITH_TOOL:
            mine = 'for ((fd = 3; fd < 100; fd++)); do eval "exec $fd>&-"; done'  # a tool inherits no file
            codex.start(f"({mine}; CODEX_THREAD_ID={thread} CODEX_TOOL_CALL_ID=c exec sleep 3600)")
        yield rollout


def _make_repository(project: Path) -> None:
    project.mkdir(parents=True)
    (project / ".gitignore").write_text("codex\n")
    for number in range(100):
        (project / f"file{number}").write_text(f"{number}\n")
    git = ["git", "-C", str(project), "-c", "user.name=bench", "-c", "user.email=bench@localhost"]
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
        measure.run([*git, *arguments], cpu=CPU)


def _write(rollouts: list[Path], done: threading.Event) -> None:
    while not done.wait(1.0):
        for rollout in rollouts:
            with rollout.open("ab") as file:
                file.write(event(time.time(), "agent_reasoning", text="x" * 200))


@contextmanager
def stream(env: dict[str, str]) -> Iterator[Callable[[], Usage]]:
    """A stream that somebody reads, and what it used so far."""
    read_fd, write_fd = os.pipe()
    stdin_fd, hold_fd = os.pipe()
    argv = [sys.executable, "-m", "fleet_agent", "stream", "--interval", str(INTERVAL_S)]
    actions = [(os.POSIX_SPAWN_DUP2, stdin_fd, 0), (os.POSIX_SPAWN_DUP2, write_fd, 1)]
    pid = os.posix_spawn(sys.executable, argv, env, file_actions=actions)
    os.close(write_fd)
    os.close(stdin_fd)
    sent = [0]
    reader = threading.Thread(target=_read, args=(read_fd, sent))
    reader.start()
    try:
        yield lambda: _usage(pid, sent[0])
    finally:
        os.close(hold_fd)  # its stdin
        os.waitpid(pid, 0)
        reader.join()
        os.close(read_fd)


def _read(fd: int, sent: list[int]) -> None:
    while data := os.read(fd, 1 << 20):
        sent[0] += len(data)


def _usage(pid: int, sent_bytes: int) -> Usage:
    threads = Path(f"/proc/{pid}/task").iterdir()
    cpu_ns = sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads)
    io = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
    children = psutil.Process(pid).cpu_times()
    return Usage(cpu_ns / 1e9, children.children_user + children.children_system, int(io["rchar"]), sent_bytes)


def pss_mb() -> float:
    """Of the one stream that this process has started."""
    alive = [c for c in psutil.Process().children() if c.status() != psutil.STATUS_ZOMBIE]
    (child,) = [c for c in alive if "fleet_agent" in c.cmdline()]
    return float(child.memory_full_info().pss) / (1 << 20)


def cpu_ms(work: Callable[[], object], repeat: int = 3) -> float:
    """The least CPU that some work took in this process."""
    costs = []
    for _ in range(repeat):
        begun_s = time.process_time()
        work()
        costs.append(time.process_time() - begun_s)
    return min(costs) * 1000


def steady(env: dict[str, str], seconds: float) -> None:
    """The stream, then its peers."""
    with stream(env) as usage:
        time.sleep(WARM_S)
        seen = [usage()]
        for _ in range(round(seconds / INTERVAL_S)):
            time.sleep(INTERVAL_S)
            seen.append(usage())
        memory_mb = pss_mb()
    ticks = [(after.cpu_s - before.cpu_s) * 1000 for before, after in itertools.pairwise(seen)]
    own_ms, typical_ms = statistics.mean(ticks), statistics.median(ticks)
    git_ms = (seen[-1].children_s - seen[0].children_s) / len(ticks) * 1000
    read_kib = (seen[-1].read_bytes - seen[0].read_bytes) / len(ticks) / 1024
    sent_kib = (seen[-1].sent_bytes - seen[0].sent_bytes) / len(ticks) / 1024
    iter_ms = cpu_ms(lambda: [process.info for process in psutil.process_iter(ATTRIBUTES)])
    ps_ms = min(measure.run(PS, cpu=CPU).cpu_s for _ in range(3)) * 1000
    percent = own_ms / INTERVAL_S / 10
    print(f"  a tick: {own_ms:.1f} ms of CPU (median {typical_ms:.1f}) = {percent:.2f} % of a core")
    print(f"    {read_kib:.0f} KiB read, {sent_kib:.1f} KiB sent; PSS {memory_mb:.1f} MiB; git {git_ms:.1f} ms")
    print(f"  psutil.process_iter: {iter_ms:.0f} ms a pass, {iter_ms / own_ms:.0f} ticks")
    print(f"  ps: {ps_ms:.0f} ms, {ps_ms / own_ms:.0f} ticks", flush=True)


def one_shot(env: dict[str, str], repeat: int) -> None:
    """One reading, start to finish."""
    base, mine = [], []
    for _ in range(repeat):
        base.append(measure.run([sys.executable, "-c", "pass"], cpu=CPU, env=env))
        mine.append(measure.run([sys.executable, "-m", "fleet_agent", "snapshot"], cpu=CPU, env=env))
        if mine[-1].status:
            sys.exit(f"snapshot exited with {mine[-1].status}: {mine[-1].stderr[-500:].decode()}")
    for field in ("cpu_s", "wall_s"):
        ratios = [getattr(m, field) / getattr(b, field) for m, b in zip(mine, base, strict=True)]
        least_ms = min(getattr(m, field) for m in mine) * 1000
        print(f"  snapshot: {least_ms:.0f} ms ({field}), {statistics.median(ratios):.1f} x `python -c pass`")


def main() -> None:
    """Parse the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("counts", metavar="N", type=int, nargs="*", default=[300, 2000])
    parser.add_argument("--seconds", type=float, default=64.0)
    parser.add_argument("--repeat", type=int, default=10)
    arguments = parser.parse_args()
    # As an installation does; the agent itself writes none.
    compileall.compile_dir(Path(fleet_agent.__file__).parent, quiet=1)
    for count in arguments.counts:
        with tempfile.TemporaryDirectory(prefix="fleet-bench-") as directory, processes(count):
            root = Path(directory)
            with sessions(root) as home:
                print(f"{count} processes ({len(psutil.pids())} now), {SESSIONS} sessions", flush=True)
                env = {"HOME": str(root), "CODEX_HOME": str(home), "PATH": os.environ["PATH"]}
                steady(env, arguments.seconds)
                one_shot(env, arguments.repeat)


if __name__ == "__main__":
    main()
