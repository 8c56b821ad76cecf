"""The repositories that sessions work in: each is read once for all of its sessions, now and then.

The branch is read from a file at each reading. The rest is git's, which is asked about one repository at a
time: soon after its HEAD or index changed, else every `REFRESH_S`, and at most for some thousandths of the
time.
"""

import time
from collections.abc import Callable, Iterable

import msgspec

from fleet_agent.git import Branch, Stamp, WorkTree, find_work_tree, stamp
from fleet_agent.gitstatus import Status, StatusRun, is_safe

FOUND_AGAIN_S = 30.0  # a repository may appear in, or vanish from, the parents of a directory
REFRESH_S = 30.0
_REST = 300  # how many times the CPU time that git took it is then left alone
_REST_AFTER_CHANGE = 20  # the same, for a repository that changed meanwhile
_REST_AFTER_FAILURE_S = 300.0


class _Repository:
    """One work tree. Times are monotonic."""

    def __init__(self, tree: WorkTree) -> None:
        self.tree = tree
        self.branch = Branch(tree.git_dir)
        self.status: Status | None = None
        self.asked_s: float | None = None
        self.asked_on: str | None = None  # the branch of `status`
        self.not_before_s = 0.0
        self.seen: tuple[Stamp | None, ...] = ()

    def now(self) -> "Repository":
        """What is known of it. What git said of another branch says nothing of this one."""
        branch = self.branch.now()
        return Repository(self.tree.root, branch, self.status if branch == self.asked_on else None)

    def stamps(self) -> tuple[Stamp | None, ...]:
        return (stamp(f"{self.tree.git_dir}/HEAD"), stamp(f"{self.tree.git_dir}/index"))


class Repository(msgspec.Struct, frozen=True):
    """What is known of one now. `status` is None until git told of this branch, or if it may not be asked."""

    root: str
    branch: str | None
    status: Status | None


class Repositories:
    """Those of the sessions' directories. `is_remote(path)`: on a network file system, where git is not run."""

    def __init__(self, is_remote: Callable[[str], bool], clock: Callable[[], float] = time.monotonic) -> None:
        self._is_remote = is_remote
        self._clock = clock
        self._roots: dict[str, tuple[float, WorkTree | None]] = {}  # directory -> until when, and its tree
        self._repositories: dict[str, _Repository] = {}
        self._run: StatusRun | None = None
        self._running: _Repository | None = None
        self._calm_until_s = 0.0

    def refresh(self, directories: Iterable[str], wait_s: float) -> dict[str, Repository]:
        """Directory -> its repository, if it is in one. Git gets at most `wait_s`, and goes on by itself."""
        trees = {directory: self._tree(directory) for directory in directories}
        self._keep({tree.root: tree for tree in trees.values() if tree})
        self._ask(self._clock() + wait_s)
        told = {root: known.now() for root, known in self._repositories.items()}
        found = {directory: told[tree.root] for directory, tree in trees.items() if tree}
        lost = {directory for directory, repository in found.items() if repository.branch is None}
        self._roots = {d: self._roots[d] for d in trees.keys() - lost}  # it may be no repository any more
        return found

    def close(self) -> None:
        """End what runs."""
        if self._run:
            self._run.end()
            self._run.wait(0.1)

    def _keep(self, trees: dict[str, WorkTree]) -> None:
        """Begin to follow those that are new, forget the others."""
        known = {r.tree for r in self._repositories.values()}
        fresh = {root: _Repository(tree) for root, tree in trees.items() if tree not in known}
        self._repositories = {root: fresh.get(root) or self._repositories[root] for root in trees}

    def _tree(self, directory: str) -> WorkTree | None:
        until_s, tree = self._roots.get(directory, (0.0, None))
        if directory not in self._roots or self._clock() >= until_s:
            tree = find_work_tree(directory)
            self._roots[directory] = (self._clock() + FOUND_AGAIN_S, tree)
        return tree

    def _ask(self, until_s: float) -> None:
        """Collect what git said, ask about the next repository; until nothing is due, or the time is over."""
        while True:
            if self._run and not self._collect(self._run, until_s - self._clock()):
                return
            due = self._next()
            if due is None:
                return
            self._start(due)

    def _collect(self, run: StatusRun, timeout_s: float) -> bool:
        if not run.wait(timeout_s):
            return False
        now_s = self._clock()
        if self._running:
            self._running.status = run.status
            rest_s = run.cpu_s * _REST_AFTER_CHANGE if run.status else _REST_AFTER_FAILURE_S
            self._running.not_before_s = now_s + rest_s
        self._calm_until_s = now_s + run.cpu_s * _REST
        self._run = self._running = None
        return True

    def _next(self) -> _Repository | None:
        """The one that is due and was asked longest ago."""
        due = [known for known in self._repositories.values() if self._is_due(known)]
        return min(due, key=lambda known: known.asked_s or 0.0, default=None)

    def _is_due(self, known: _Repository) -> bool:
        now_s = self._clock()
        if known.asked_s is None:
            return True
        if now_s < known.not_before_s:
            return False
        aged = now_s - known.asked_s >= REFRESH_S and now_s >= self._calm_until_s
        return aged or known.seen != known.stamps()

    def _start(self, known: _Repository) -> None:
        known.asked_s, known.seen = self._clock(), known.stamps()
        branch = known.branch.now()
        if branch != known.asked_on:
            known.asked_on, known.status = branch, None
        try:
            if self._is_remote(known.tree.root) or not is_safe(known.tree):
                raise PermissionError("git is not to be run there")
            self._run, self._running = StatusRun(known.tree), known
        except OSError:
            known.status, known.not_before_s = None, known.asked_s + _REST_AFTER_FAILURE_S
