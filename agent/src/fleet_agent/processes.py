"""The processes of this host, as far as coding-agent tools need them.

Asking psutil for everything at every tick is dear (2,000 processes: 0.4 s). So each tick lists the pids, looks
once at what each new one runs, and reads details only of those that look like a tool. What a pid runs can
change (fork comes before exec), so young processes are looked at again, and now and then all of them.
"""

import time
from collections.abc import Callable, Iterable

import msgspec
import psutil

from fleet_agent import procfs

FULL_PASS_S = 30.0
YOUNG_S = 5.0


class Process(msgspec.Struct, frozen=True):
    """One process of a tool. (`pid`, `born`) is its identity; `created_at` is epoch seconds.

    `environ` holds only the variables that were asked for; None where it, or `cwd`, may not be read.
    """

    pid: int
    born: float
    created_at: float
    image: str
    argv: tuple[str, ...]
    uid: int
    tty: str | None = None
    cwd: str | None = None
    environ: dict[str, str] | None = None


class Child(msgspec.Struct, frozen=True):
    """A direct child of a tool's process. `environ` as in `Process`."""

    pid: int
    ppid: int
    created_at: float
    environ: dict[str, str] | None


class ProcessTable:
    """The processes of this host from tick to tick.

    `is_tool(image)` says whether a program (a path, or a short name) may be a tool; `variables` are the
    environment variables of interest; `clock` is monotonic, in seconds.
    """

    def __init__(
        self,
        is_tool: Callable[[str], bool],
        variables: Iterable[str] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._is_tool = is_tool
        self._variables = frozenset(variables)
        self._clock = clock
        self._pids: set[int] = set()
        self._young: dict[int, float] = {}  # pid -> when it was first seen
        self._tools: dict[int, Process] = {}
        self._parents: dict[int, int] = {}
        self._full_pass_s: float | None = None

    def scan(self, full: bool = False) -> None:
        """See what runs now. `full` looks at every process again."""
        now_s = self._clock()
        if full or self._full_pass_s is None or now_s - self._full_pass_s >= FULL_PASS_S:
            self._full_pass_s, full = now_s, True
            self._parents.clear()
        before, self._pids = self._pids, set(psutil.pids())
        self._young.update(dict.fromkeys(self._pids - before, now_s))
        young = {pid: s for pid, s in self._young.items() if pid in self._pids and now_s - s < YOUNG_S}
        suspects = self._pids if full else young.keys() | (self._tools.keys() & self._pids)
        looked_at = {pid: self._look(pid, fresh=full or pid in young) for pid in sorted(suspects)}
        self._tools = {pid: process for pid, process in looked_at.items() if process}
        self._young = young

    @property
    def processes(self) -> tuple[Process, ...]:
        """Those that look like a tool, by pid, as of the last scan."""
        return tuple(self._tools.values())

    def children(self, parents: frozenset[int]) -> tuple[Child, ...]:
        """The direct children of some processes, as of the last scan."""
        known = self._parents
        self._parents = {pid: known[pid] if pid in known else _parent(pid) for pid in self._pids}
        children = [(pid, ppid, _stat(pid)) for pid, ppid in self._parents.items() if ppid in parents]
        return tuple(
            Child(pid, ppid, stat.created_at, _environ(pid, self._variables))
            for pid, ppid, stat in children
            if stat
        )

    @property
    def hidden(self) -> bool:
        """Whether the system hides processes from this user."""
        return procfs.AVAILABLE and procfs.hides_processes()

    def _look(self, pid: int, fresh: bool) -> Process | None:
        """The process, if it looks like a tool. `fresh` reads its details even if they were read before."""
        image = _image(pid)
        stat = _stat(pid) if image and self._is_tool(image) else None
        if stat is None:
            return None
        before = self._tools.get(pid)
        if before and not fresh and (before.born, before.image) == (stat.born, image):
            return before
        return _details(pid, image, stat, self._variables)


def open_files(process: Process, wanted: Callable[[str], object]) -> list[tuple[str, bool]]:
    """Path and "open for writing" of the `wanted` files that a process holds open. Raises `OSError`."""
    if procfs.AVAILABLE:
        return procfs.open_files(process.pid, wanted)
    try:
        return [(f.path, True) for f in psutil.Process(process.pid).open_files() if wanted(f.path)]
    except psutil.AccessDenied as exc:
        raise PermissionError(str(exc)) from exc
    except psutil.Error as exc:
        raise ProcessLookupError(str(exc)) from exc


def _details(pid: int, image: str, stat: procfs.Stat, variables: frozenset[str]) -> Process | None:
    argv: list[str] = []
    uid, cwd = -1, None
    try:
        process = psutil.Process(pid)
        uid = process.uids().effective
        argv = process.cmdline()
        cwd = process.cwd() or None
    except psutil.NoSuchProcess:
        return None
    except (psutil.Error, OSError):
        pass  # what is readable is kept: another user's directory is not
    environ = _environ(pid, variables)
    return Process(pid, stat.born, stat.created_at, image, tuple(argv), uid, stat.tty, cwd, environ)


def _environ(pid: int, variables: frozenset[str]) -> dict[str, str] | None:
    try:
        environ = psutil.Process(pid).environ()
    except (psutil.Error, OSError):
        return None
    return {name: environ[name] for name in variables if name in environ}


def _image(pid: int) -> str:
    if procfs.AVAILABLE:
        return procfs.image(pid)
    try:
        process = psutil.Process(pid)
        try:
            return str(process.exe() or process.name())
        except psutil.AccessDenied:
            return str(process.name())
    except psutil.Error:
        return ""


def _stat(pid: int) -> procfs.Stat | None:
    if procfs.AVAILABLE:
        return procfs.stat(pid)
    try:
        process = psutil.Process(pid)
        tty = process.terminal()
        created_at = process.create_time()
        return procfs.Stat(process.ppid(), created_at, created_at, tty and tty.removeprefix("/dev/"))
    except psutil.Error:
        return None


def _parent(pid: int) -> int:
    stat = _stat(pid)
    return stat.ppid if stat else -1
