"""All processes of a run, and how to end them without ever hitting a stranger.

A process is its pid and when it started. Before each signal the two are compared again, on Linux through a
pidfd, which holds on to the process: pidfd_open(2). Between that look and the signal no pid can be reused.
"""

import os
import signal
import time
from collections.abc import Callable, Collection, Iterable, Mapping

import msgspec

from fleet_agent import native, procfs

POLL_S = 0.02
KILL_S = 5.0  # how long killed processes may take to be gone
_TICKS_PER_S = 1 if procfs.AVAILABLE else 1_000_000  # psutil tells seconds, in fractions


class Started(msgspec.Struct, frozen=True):
    """One process for ever: `ticks` is when it started, as its system counts."""

    pid: int
    ticks: int

    def lives(self) -> bool:
        """Whether it still runs. One that ended and was not waited for does not."""
        return start_ticks(self.pid) == self.ticks and native.image(self.pid) != ""


def started(pid: int) -> Started | None:
    """The process that has this pid now."""
    ticks = start_ticks(pid)
    return None if ticks is None else Started(pid, ticks)


def start_ticks(pid: int) -> int | None:
    """When the process started that has this pid now; None if there is none."""
    stat = native.stat(pid)
    return None if stat is None else round(stat.born * _TICKS_PER_S)


def send(process: Started, number: int) -> bool:
    """Signal this very process; False if it is gone."""
    try:
        fd = os.pidfd_open(process.pid) if hasattr(os, "pidfd_open") else None
    except OSError as exc:
        if isinstance(exc, ProcessLookupError):
            return False
        fd = None  # a kernel before 5.3, or a sandbox that forbids it
    try:
        return process.lives() and _signal(process.pid, fd, number)
    finally:
        if fd is not None:
            os.close(fd)


def _signal(pid: int, fd: int | None, number: int) -> bool:
    try:
        if fd is None:
            os.kill(pid, number)
        else:
            signal.pidfd_send_signal(fd, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def members(leader: Started | None, marks: Mapping[str, str]) -> list[Started]:
    """What runs now and belongs to a run: `leader`, its group, its session, all below it, all that is marked.

    `marks`: variables that its environment has, and nobody else's. Who left the group keeps its environment. If
    the leader is gone its pid says nothing any more: then only the marks count. The caller is never a member.
    """
    stats = _stats()
    found = {pid for pid in stats if marks and _carries(pid, marks)}
    if leader is not None and leader.lives():
        found |= {leader.pid} | {pid for pid in stats if leader.pid in _groups(pid)}
    return _living(found, stats)


def trees(roots: Collection[Started]) -> list[Started]:
    """What runs now of these processes and all below them."""
    return _living({root.pid for root in roots if root.lives()}, _stats())


def end(find: Callable[[], Collection[Started]], grace_s: float) -> list[Started]:
    """End what `find` finds, again and again until it finds nothing: TERM first, KILL after `grace_s` seconds.

    What still lives `KILL_S` after that is returned: it may not be signalled, or hangs in the kernel.
    """
    kill_at_s = time.monotonic() + grace_s
    give_up_at_s = kill_at_s + KILL_S
    asked: set[Started] = set()
    # What was found once is remembered: when its parent and its group's leader are gone, nothing else tells.
    while left := [process for process in {*asked, *find()} if process.lives()]:
        now_s = time.monotonic()
        if now_s >= give_up_at_s:
            return left
        late = now_s >= kill_at_s
        for process in left:
            if late or process not in asked:
                send(process, signal.SIGKILL if late else signal.SIGTERM)
        asked.update(left)
        _wait_gone(left, give_up_at_s if late else kill_at_s)
    return []


def _wait_gone(processes: Iterable[Started], until_s: float) -> None:
    while time.monotonic() < until_s and any(process.lives() for process in processes):
        time.sleep(POLL_S)


def _stats() -> dict[int, procfs.Stat]:
    return {pid: stat for pid in native.pids() if (stat := native.stat(pid))}


def _living(pids: set[int], stats: Mapping[int, procfs.Stat]) -> list[Started]:
    """These and all below them, but for this very process, and for what a whole home shares."""
    parents = {pid: stat.ppid for pid, stat in stats.items()}
    found = _with_descendants(pids, parents) - {os.getpid()}
    found -= _with_descendants({pid for pid in found if _is_shared(native.argv(pid))}, parents)
    processes = (Started(pid, round(stats[pid].born * _TICKS_PER_S)) for pid in sorted(found & stats.keys()))
    return [process for process in processes if process.lives()]


def _groups(pid: int) -> tuple[int, ...]:
    try:
        return os.getpgid(pid), os.getsid(pid)
    except OSError:
        return ()


def _carries(pid: int, marks: Mapping[str, str]) -> bool:
    return native.variables(pid, marks) == dict(marks)


def _is_shared(argv: tuple[str, ...]) -> bool:
    """Codex's daemon, or its updater: a child of the terminal UI that needed it first, and everybody's.

    >>> _is_shared(("codex", "app-server", "--listen", "unix://", "--managed-daemon"))
    True
    """
    return "--managed-daemon" in argv or argv[1:3] == ("app-server", "daemon")


def _with_descendants(pids: Iterable[int], parents: Mapping[int, int]) -> set[int]:
    """These processes and all below them; `parents`: pid -> parent's pid. Pure.

    >>> sorted(_with_descendants({2}, {2: 1, 3: 2, 4: 3, 5: 1}))
    [2, 3, 4]
    """
    children: dict[int, list[int]] = {}
    for pid, parent in parents.items():
        children.setdefault(parent, []).append(pid)
    todo, found = list(pids), set[int]()
    while todo:
        pid = todo.pop()
        if pid not in found:
            found.add(pid)
            todo += children.get(pid, [])
    return found
