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


class _Known(msgspec.Struct):
    """What is remembered of a pid. `process` is set when it looks like a tool."""

    seen_s: float
    process: Process | None = None
    ppid: int | None = None


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
        self._known: dict[int, _Known] = {}
        self._full_pass_s: float | None = None

    def scan(self, full: bool = False) -> None:
        """See what runs now. `full` looks at every process again."""
        now_s = self._clock()
        if full or self._full_pass_s is None or now_s - self._full_pass_s >= FULL_PASS_S:
            self._full_pass_s, full = now_s, True
        before, self._known = self._known, {}
        for pid in psutil.pids():
            known = before.get(pid) or _Known(now_s)
            if full or known.process or now_s - known.seen_s < YOUNG_S:
                self._look(pid, known, now_s, full)
            self._known[pid] = known

    @property
    def processes(self) -> tuple[Process, ...]:
        """Those that look like a tool, as of the last scan."""
        return tuple(known.process for known in self._known.values() if known.process)

    def children(self, parents: frozenset[int]) -> tuple[Child, ...]:
        """The direct children of some processes, as of the last scan."""
        found = []
        for pid, known in self._known.items():
            if known.ppid is None:
                known.ppid = _parent(pid)
            if known.ppid in parents:
                stat = _stat(pid)
                if stat:
                    found.append(Child(pid, known.ppid, stat.created_at, _environ(pid, self._variables)))
        return tuple(found)

    @property
    def hidden(self) -> bool:
        """Whether the system hides processes from this user."""
        return procfs.AVAILABLE and procfs.hides_processes()

    def _look(self, pid: int, known: _Known, now_s: float, full: bool) -> None:
        image = _image(pid)
        if full:
            known.ppid = None
        if not image or not self._is_tool(image):
            known.process = None
            return
        stat, before = _stat(pid), known.process
        if stat is None:
            known.process = None
            return
        same = before is not None and before.born == stat.born and before.image == image
        if not same or full or now_s - known.seen_s < YOUNG_S:
            known.process = _details(pid, image, stat, self._variables)


def open_files(process: Process) -> list[tuple[str, bool]]:
    """Path and "open for writing" of the files that a process holds open. Raises `OSError`."""
    if procfs.AVAILABLE:
        return procfs.open_files(process.pid)
    try:
        return [(f.path, True) for f in psutil.Process(process.pid).open_files()]
    except psutil.AccessDenied as exc:
        raise PermissionError(str(exc)) from exc
    except psutil.Error as exc:
        raise ProcessLookupError(str(exc)) from exc


def _details(pid: int, image: str, stat: procfs.Stat, variables: frozenset[str]) -> Process | None:
    try:
        process = psutil.Process(pid)
        argv, uid = tuple(process.cmdline()), process.uids().effective
    except psutil.AccessDenied:
        argv, uid = (), -1
    except psutil.Error:
        return None
    return Process(
        pid=pid,
        born=stat.born,
        created_at=stat.created_at,
        image=image,
        argv=argv,
        uid=uid,
        tty=stat.tty,
        cwd=_cwd(process),
        environ=_environ(pid, variables),
    )


def _cwd(process: psutil.Process) -> str | None:
    try:
        return process.cwd() or None
    except (psutil.Error, OSError):
        return None


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
