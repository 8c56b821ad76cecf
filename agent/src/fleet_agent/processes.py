"""The processes of this host, as far as coding-agent tools need them.

Asking psutil for everything at every tick is dear (2,000 processes: 0.4 s). So each tick lists the pids, looks
once at what each new one runs, and reads details only of those that look like a tool. What a pid runs can
change (fork comes before exec), so young processes are looked at again, and now and then all of them.
"""

import time
from collections.abc import Callable, Iterable, Mapping

import msgspec

from fleet_agent import native, procfs
from fleet_agent.arrivals import Arrivals
from fleet_agent.glances import Glances
from fleet_agent.kin import Child, Kin
from fleet_agent.openfiles import Files, OpenFiles, Telling, Wanted

# It finds what ran something else for long, became a tool and wrote nothing yet; 30 ms for 2,000 processes.
FULL_PASS_S = 120.0
YOUNG_S = 5.0
# How often CPU and memory of known processes are read: it costs five times what it takes to see that one lives.
# The second time comes soon, for the first rates.
FIGURES_S, FIRST_FIGURES_S = 15.0, 1.5
_MANAGER = "/systemd"  # that of a user adopts orphans in the place of pid 1: prctl(2)


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


class ProcessTable:
    """The processes of this host from tick to tick.

    `is_tool(image)` says whether a program (a path, or a short name) may be a tool; `variables` are the
    environment variables of interest, `marks` those of them that tools give to what they start; `clock` is
    monotonic, in seconds.
    """

    def __init__(
        self,
        is_tool: Callable[[str], bool],
        variables: Iterable[str] = (),
        clock: Callable[[], float] = time.monotonic,
        marks: Iterable[str] = (),
    ) -> None:
        self._is_tool = is_tool
        self._variables = frozenset(variables)
        self._clock = clock
        self._arrivals = Arrivals()
        self._young: dict[int, float] = {}  # pid -> when it was first seen
        self._tools: dict[int, Process] = {}
        self.figures = 0  # how often CPU and memory were read
        self._figures_s = clock()  # when they are read next
        self._stats: dict[int, procfs.Stat] = {}
        self._stats_before: dict[int, procfs.Stat] = {}  # what may stand for them
        self._glanced: dict[int, procfs.Glance] = {}  # of the tools, as of the last scan
        self._glances = Glances()
        self._open = OpenFiles(clock)
        self._kin = Kin(self._variables, frozenset(marks))
        self._managers: set[int] = set()  # of users' sessions, as of the last pass over all
        self._full_pass_s = clock()  # when the next is due

    def scan(self, full: bool = False) -> None:
        """See what runs now. `full` looks at every process again."""
        now_s = self._clock()
        self._open.keep(frozenset() if full else self._tools.keys())
        full = full or now_s >= self._full_pass_s
        if full:
            self._full_pass_s = now_s + FULL_PASS_S
            self._managers = set()
        new = self._arrivals.look(full)
        self._young.update(dict.fromkeys(new, now_s))
        self._young = {pid: s for pid, s in self._young.items() if now_s - s < YOUNG_S}
        young = self._young.keys()
        suspects = self._arrivals.known if full else young | self._tools.keys()
        measure = self._measure(now_s, full=full)
        self._stats_before = {} if measure else self._stats
        self._stats = {}
        looked_at = {pid: self._look(pid, fresh=full or pid in young) for pid in sorted(suspects)}
        self._tools = {pid: process for pid, process in looked_at.items() if process}
        self._glanced = {pid: self._glanced[pid] for pid in self._tools}
        self._glances.keep(self._tools.keys())
        self._kin.update(new, young, self._tools.keys(), full, measure, self._managers)

    @property
    def processes(self) -> tuple[Process, ...]:
        """Those that look like a tool, by pid, as of the last scan."""
        return tuple(self._tools.values())

    @property
    def kin(self) -> Mapping[int, Child]:
        """What tools started, at any depth, and what carries one of the marks: by pid, as of the last scan."""
        return self._kin.children

    @property
    def stats(self) -> Mapping[int, procfs.Stat]:
        """The figures of the tools' processes and of their kin, by pid, as of the last time they were read."""
        return self._stats | self._kin.stats

    def children(self, parents: frozenset[int]) -> tuple[Child, ...]:
        """The direct children of some processes of tools, as of the last scan."""
        return tuple(child for child in self._kin.children.values() if child.ppid in parents)

    def open_files(self, process: Process, wanted: Wanted, telling: Telling = list) -> Files:
        """Those that it holds open: see `OpenFiles.of`. Raises `OSError`."""
        return self._open.of(process.pid, self._glanced[process.pid], wanted, telling)

    @property
    def hidden(self) -> bool:
        """Whether the system hides processes from this user."""
        return procfs.AVAILABLE and procfs.hides_processes()

    def _measure(self, now_s: float, *, full: bool) -> bool:
        """Whether CPU and memory are to be read now."""
        if not full and now_s < self._figures_s:
            return False
        self.figures += 1
        self._figures_s = now_s + (FIGURES_S if self.figures > 1 else FIRST_FIGURES_S)
        return True

    def _look(self, pid: int, fresh: bool) -> Process | None:
        """The process, if it looks like a tool. `fresh` reads its details even if they were read before."""
        before = self._tools.get(pid)
        if before and not fresh and self._is_still(before):
            return before
        image = native.image(pid)
        if image.endswith(_MANAGER):
            self._managers.add(pid)
        if not image or not self._is_tool(image):
            return None
        glance, stat = self._glances.at(pid), native.stat(pid)
        if stat is None:
            return None
        self._glanced[pid], self._stats[pid] = glance, stat
        return _details(pid, image, stat, self._variables)

    def _is_still(self, process: Process) -> bool:
        """Whether it is there, and no other one that has its pid."""
        pid, glance = process.pid, self._glances.at(process.pid)
        known = self._stats_before.get(pid) if glance[0] and glance[0] == self._glanced[pid][0] else None
        stat = known or native.stat(pid)
        if stat is None or stat.born != process.born:
            return False
        self._glanced[pid], self._stats[pid] = glance, stat
        return True


def _details(pid: int, image: str, stat: procfs.Stat, variables: frozenset[str]) -> Process | None:
    uid = native.uid(pid)
    if uid is None:
        return None
    argv, cwd, environ = native.argv(pid), native.cwd(pid), native.variables(pid, variables)
    return Process(pid, stat.born, stat.created_at, image, argv, uid, stat.tty, cwd, environ)
