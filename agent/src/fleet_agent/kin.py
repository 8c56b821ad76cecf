"""The processes that tools started, at any depth, from tick to tick.

A tool's process is walked once, when it is first seen; from then on only new pids are looked at, whose parent
tells whether they belong. Whom a process belongs to stays so when its parents die: that is how a server that
outlived its session is known.
"""

import os
from collections.abc import Set

import msgspec

from fleet_agent import native
from fleet_agent.glances import Glances
from fleet_agent.procfs import Stat

MAX_KIN = 5000
MAX_DEPTH = 64


class Child(msgspec.Struct, frozen=True):
    """A process below a tool's, or one that carries a tool's mark in its environment.

    (`pid`, `born`) is its identity; `created_at` is epoch seconds. `ppid`: its parent, or the nearest of its
    parents that still lives. `environ` holds only the variables that were asked for; None where it may not be
    read. `image`: the path of its program.
    """

    pid: int
    ppid: int
    created_at: float
    environ: dict[str, str] | None
    born: float = 0.0
    image: str = ""

    @property
    def name(self) -> str:
        """Its program. Its arguments are nobody's business."""
        return os.path.basename(self.image)


class Kin:
    """All of them as of the last `update`: `children` by pid, and the figures of each in `stats`.

    `variables` are the environment variables of interest. A process that carries one of `marks` belongs here
    whoever its parent is now.
    """

    def __init__(self, variables: frozenset[str], marks: frozenset[str]) -> None:
        self.children: dict[int, Child] = {}
        self.stats: dict[int, Stat] = {}
        self._inodes: dict[int, int] = {}  # of those that were seen to be themselves
        self._variables = variables
        self._marks = tuple(f"{mark}=".encode() for mark in marks)
        self._tools: Set[int] = frozenset()  # those whose descendants are known
        self._first = True
        self._glances = Glances()
        self._blank: set[int] = set()  # whose environment was still empty: they were about to execute something

    def update(
        self,
        new: Set[int],
        young: Set[int],
        tools: Set[int],
        full: bool,
        measure: bool = True,
        adopters: Set[int] = frozenset(),
    ) -> None:
        """Some processes are `new`, some still `young`; `tools` are the processes of tools.

        `adopters` are those besides pid 1 that take in orphans.

        `measure` takes the figures of all; else only of the young.
        `full` walks all the tools again. The first time all are new; then those below no tool are only asked if
        they were adopted, as all are whose session is gone: to ask everybody would double the cost.
        """
        # A tool's fork looks like the tool until it executes what it is for: it is kin, and stays so.
        self._bury(self._gone(young, measure) | (self._tools - tools - self.children.keys()))
        for pid in sorted(tools if full else tools - self._tools):
            self._walk(pid)
        self._tools = frozenset(tools)
        self._blank &= young | self.children.keys()
        met = new & _adopted({1, *adopters}) if self._first else new
        for pid in sorted(met):
            self._meet(pid, ask_parent=not self._first)
        self._first = False
        for pid in (young - met) & (self.children.keys() | self._blank):
            self._look_again(pid)

    def _gone(self, young: Set[int], measure: bool) -> set[int]:
        """Who is gone; a pid that has become another process is not who was known."""
        gone, inodes = set(), {}
        for pid, child in self.children.items():
            inodes[pid] = self._glances.at(pid)[0]
            if inodes[pid] and inodes[pid] == self._inodes.get(pid) and not (measure or pid in young):
                continue
            stat = native.stat(pid)
            if stat and stat.born == child.born:
                self.stats[pid] = stat
            else:
                gone.add(pid)
        self._inodes = inodes
        self._glances.keep(self.children.keys() - gone)
        return gone

    def _bury(self, gone: set[int]) -> None:
        """Forget who is gone. Their children go to the nearest parent that lives, at last to pid 1."""
        heirs = {pid: self.children.pop(pid).ppid for pid in gone & self.children.keys()}
        for pid in heirs:
            self.stats.pop(pid, None)
        orphans = [child for child in self.children.values() if child.ppid in gone]
        for child in orphans:
            ppid = child.ppid
            while ppid in gone:
                ppid = heirs.get(ppid, 1)
            self.children[child.pid] = msgspec.structs.replace(child, ppid=ppid)

    def _walk(self, root: int) -> None:
        """Take in everything below one process."""
        level = [root]
        for _ in range(MAX_DEPTH):
            below = [(pid, parent) for parent in level for pid in native.children(parent)]
            for pid, parent in below:
                if pid not in self.children:
                    self._add(pid, parent)
            level = [pid for pid, _ in below]

    def _meet(self, pid: int, ask_parent: bool) -> None:
        """A new process: does it belong to a tool?"""
        if pid in self.children:
            return
        environ = native.environ(pid)
        if environ == b"":
            self._blank.add(pid)
        marked = environ is not None and any(mark in environ for mark in self._marks)
        stat = native.stat(pid) if marked or ask_parent else None
        if stat and (marked or stat.ppid in self._tools or stat.ppid in self.children):
            self._add(pid, stat.ppid)

    def _look_again(self, pid: int) -> None:
        """A young process: it may have executed its program only now."""
        known = self.children.get(pid)
        if known is None:
            self._blank.discard(pid)
            self._meet(pid, ask_parent=False)
        elif pid in self._blank or native.image(pid) != known.image:
            self._add(pid, known.ppid)

    def _add(self, pid: int, ppid: int) -> None:
        stat = native.stat(pid)
        if stat is None or (len(self.children) >= MAX_KIN and pid not in self.children):
            return
        environ = native.variables(pid, self._variables)
        (self._blank.discard if environ else self._blank.add)(pid)
        self.stats[pid] = stat
        self.children[pid] = Child(pid, ppid, stat.created_at, environ, stat.born, native.image(pid))


def _adopted(adopters: Set[int]) -> set[int]:
    return {child for adopter in adopters for child in native.children(adopter)}
