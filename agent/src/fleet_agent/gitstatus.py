"""`git status`, run so that it changes nothing, starts nothing, asks nobody, and ends in time.

A repository belongs to whoever wrote it, and its own configuration can name programs that git runs. Those of
`git status` are: core.fsmonitor and the hooks (switched off here), and the filters of gitattributes(5), which
can only be switched off one by one: where a repository's own configuration has a filter, includes another
file or names another work tree (a submodule's names its own), git is not run. On Linux git may start no process
anyway (RLIMIT_NPROC; root is exempt). No network: no protocol is allowed, and submodules are not entered.
Repositories of other users are refused by git itself (safe.directory).
"""

import fcntl
import os
import re
import resource
import select
import signal
import sys
import time
from collections.abc import Mapping
from contextlib import suppress

import msgspec

from fleet_agent.files import read_small
from fleet_agent.git import SHORT_COMMIT, WorkTree

TIMEOUT_S = 2.0
MAX_OUTPUT_BYTES = 1 << 20  # some 10,000 changed files
MAX_CONFIG_BYTES = 256 << 10
_READ_BYTES = 64 << 10
_NICENESS = 19
_CPU_S = 5

_OPTIONS = (
    "core.fsmonitor=false",
    "core.hooksPath=/dev/null",
    "core.preloadIndex=false",  # no threads: see RLIMIT_NPROC
    "index.threads=1",
)
_STATUS = (
    *("status", "--porcelain=v2", "--branch", "-z", "--untracked-files=normal", "--no-renames"),
    "--ignore-submodules=dirty",
)
_ENVIRON = {
    "LC_ALL": "C",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ALLOW_PROTOCOL": "none",
    "GIT_NO_LAZY_FETCH": "1",
}
# On macOS /usr/bin/git may only be what asks the person to install git.
_APPLE = ("/opt/homebrew/bin/git", "/usr/local/bin/git", "/Library/Developer/CommandLineTools/usr/bin/git")
_FOREIGN = re.compile(rb"(?i)\[\s*(?:filter|include)")
_WORK_TREE = re.compile(rb"(?i)worktree\s*=(.*)")
_SYNTAX = re.compile(rb'["\\#;]')  # what git-config(1) reads otherwise than it stands there


class Status(msgspec.Struct, frozen=True):
    """A work tree as git sees it. `dirty_files` counts untracked files and directories too.

    `commit` is None before the first commit; `ahead` and `behind` without an upstream branch.
    """

    dirty_files: int
    commit: str | None = None
    ahead: int | None = None
    behind: int | None = None


def parse_status(raw: bytes) -> Status:
    """The output of `git status --porcelain=v2 --branch -z`: git-status(1), "Porcelain Format Version 2"."""
    commit = ahead = behind = None
    dirty_files = 0
    for record in raw.split(b"\0"):
        kind, _, rest = record.partition(b" ")
        if kind in (b"1", b"2", b"u", b"?"):
            dirty_files += 1
        elif kind == b"#" and rest.startswith(b"branch.oid ") and rest != b"branch.oid (initial)":
            commit = rest[11 : 11 + SHORT_COMMIT].decode("ascii", "replace")
        elif kind == b"#" and (counts := re.fullmatch(rb"branch\.ab \+(\d{1,18}) -(\d{1,18})", rest)):
            ahead, behind = int(counts[1]), int(counts[2])
    return Status(dirty_files, commit, ahead, behind)


def is_safe(tree: WorkTree) -> bool:
    """Whether the repository's own configuration leaves git nothing to run or to follow."""
    try:
        common = os.fsdecode(read_small(f"{tree.git_dir}/commondir")).strip()
    except OSError:
        common = "."
    shared = os.path.join(tree.git_dir, common, "config")
    own = f"{tree.git_dir}/config.worktree"
    return _is_plain(shared, tree.root, needed=True) and _is_plain(own, tree.root, needed=False)


def _is_plain(path: str, root: str, needed: bool) -> bool:
    try:
        raw = read_small(path, MAX_CONFIG_BYTES)
    except FileNotFoundError:
        return not needed
    except OSError:
        return False
    if len(raw) >= MAX_CONFIG_BYTES or _FOREIGN.search(raw):
        return False
    return all(_is_root(named, os.path.dirname(path), root) for named in _WORK_TREE.findall(raw))


def _is_root(named: bytes, git_dir: str, root: str) -> bool:
    """Whether a core.worktree (git-config(1)), which may be relative to `git_dir`, is `root`."""
    if _SYNTAX.search(named):
        return False
    return os.path.realpath(os.path.join(git_dir, os.fsdecode(named.strip()))) == os.path.realpath(root)


class StatusRun:
    """One `git status` that runs. Raises `OSError` when it cannot be started, as where there is no git.

    `cpu_s`: what it used until it ended. Nobody may look for long, so when that was is not known.
    """

    def __init__(self, tree: WorkTree, environ: Mapping[str, str] = os.environ) -> None:
        self.status: Status | None = None
        self.done = False
        self.cpu_s = 0.0
        self._by_s = time.monotonic() + TIMEOUT_S
        self._output = b""
        self._fd, write_fd = os.pipe()
        os.set_blocking(self._fd, False)
        _widen(write_fd)
        try:
            self._pid = _spawn(tree, environ, write_fd)
        except OSError:
            os.close(self._fd)
            raise
        finally:
            os.close(write_fd)
        _restrain(self._pid)

    def wait(self, timeout_s: float) -> bool:
        """Whether it has ended, within `timeout_s`. Past its own deadline or its bound it is ended.

        But first what it said is taken: it may have ended in time, and nobody asked until now.
        """
        until_s = time.monotonic() + timeout_s
        while not self.done:
            now_s = time.monotonic()
            if self._fd >= 0:
                self._read(min(until_s, self._by_s) - now_s)
            self._reap()
            if self.done or now_s >= until_s:
                break
            if now_s >= self._by_s or len(self._output) > MAX_OUTPUT_BYTES:
                self.end()
            if self._fd < 0:
                time.sleep(0.001)  # it has closed its output, and is about to exit
        return self.done

    def end(self) -> None:
        """Kill it. `wait` still has to see it gone: on a file system that hangs this may take a while."""
        if not self.done:
            self._close()
            self._output = b""
            os.kill(self._pid, signal.SIGKILL)

    def _read(self, timeout_s: float) -> None:
        """Take all that it has said, once there is something."""
        select.select([self._fd], [], [], max(0.0, timeout_s))
        with suppress(BlockingIOError):
            while len(self._output) <= MAX_OUTPUT_BYTES:
                data = os.read(self._fd, _READ_BYTES)
                if not data:
                    self._close()
                    break
                self._output += data

    def _reap(self) -> None:
        if self._fd >= 0:
            return
        pid, status, used = os.wait4(self._pid, os.WNOHANG)
        if pid:
            self.done = True
            self.cpu_s = used.ru_utime + used.ru_stime
            self.status = parse_status(self._output) if status == 0 and self._output else None

    def _close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _spawn(tree: WorkTree, environ: Mapping[str, str], output_fd: int) -> int:
    inherited = {name: environ[name] for name in ("PATH", "HOME", "XDG_CONFIG_HOME") if name in environ}
    bounds = {"GIT_CEILING_DIRECTORIES": os.path.dirname(tree.root)}  # no repository further up
    options = [word for option in _OPTIONS for word in ("-c", option)]
    argv = ["git", "--no-optional-locks", "--no-pager", *options, "-C", tree.root, *_STATUS]
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_DUP2, output_fd, 1),
        (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
    ]
    return os.posix_spawnp(_program(), argv, inherited | _ENVIRON | bounds, file_actions=actions)


def _widen(pipe_fd: int) -> None:
    """Have the pipe hold all that may be said, so that git need not wait until somebody reads: pipe(7)."""
    if sys.platform == "linux":
        with suppress(OSError):  # this user has many pipes
            fcntl.fcntl(pipe_fd, fcntl.F_SETPIPE_SZ, MAX_OUTPUT_BYTES)


def _program() -> str:
    if sys.platform != "darwin":
        return "git"
    return next((path for path in _APPLE if os.path.exists(path)), _APPLE[0])


def _restrain(pid: int) -> None:
    """Give way to everybody else, start nothing, and end soon even if the agent is killed meanwhile."""
    try:
        os.setpriority(os.PRIO_PROCESS, pid, _NICENESS)
        if sys.platform == "linux":
            resource.prlimit(pid, resource.RLIMIT_NPROC, (0, 0))
            resource.prlimit(pid, resource.RLIMIT_CPU, (_CPU_S, _CPU_S))
    except OSError:
        pass  # it has ended
