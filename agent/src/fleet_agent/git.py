"""The work tree that a directory is in, and its branch now, from the files in .git. Starts no process."""

import os
import re

import msgspec

from fleet_agent.files import read_small

MAX_PARENTS = 64

_REF = re.compile(rb"ref: refs/heads/(.{1,400}?)\s*")
_COMMIT = re.compile(rb"[0-9a-f]{40}(?:[0-9a-f]{24})?\s*")
SHORT_COMMIT = 8


class WorkTree(msgspec.Struct, frozen=True):
    """A repository's files, and where git keeps what it knows of them: gitrepository-layout(5)."""

    root: str
    git_dir: str


def find_work_tree(directory: str) -> WorkTree | None:
    """The work tree that `directory` is in, or None. Follows the .git file of a worktree or a submodule.

    As for git, links in its path are followed first; and what lies in a bare repository, or below a .git file
    that leads nowhere, is in no work tree, whatever is above.
    """
    if not os.path.isabs(directory):
        return None
    directory = os.path.realpath(directory)
    for _ in range(MAX_PARENTS):
        directory = directory.rstrip("/")
        git_dir = _git_dir(f"{directory}/.git")
        if git_dir:
            return WorkTree(directory or "/", git_dir)
        if not directory or os.path.isfile(f"{directory}/.git") or _is_bare(directory):
            break
        directory = os.path.dirname(directory)
    return None


def _git_dir(dot_git: str) -> str | None:
    """The directory with the HEAD, for what is named .git."""
    try:
        git_dir = dot_git
        if not os.path.isdir(dot_git):
            key, _, path = os.fsdecode(read_small(dot_git)).partition(":")
            if key != "gitdir":
                return None
            git_dir = os.path.normpath(os.path.join(os.path.dirname(dot_git), path.strip()))
        return git_dir if os.path.isfile(f"{git_dir}/HEAD") else None
    except (OSError, ValueError):
        return None


def _is_bare(directory: str) -> bool:
    """Whether git keeps a repository right there: gitrepository-layout(5)."""
    return os.path.isfile(f"{directory}/HEAD") and all(
        os.path.isdir(f"{directory}/{name}") for name in ("objects", "refs")
    )


class Branch:
    """The branch of one work tree, read again when its HEAD changed."""

    def __init__(self, git_dir: str) -> None:
        self._head = f"{git_dir}/HEAD"
        self._seen: Stamp | None = None
        self._name: str | None = None

    def now(self) -> str | None:
        """The branch that is checked out, the short commit if it is detached; None when HEAD cannot be read."""
        seen = stamp(self._head)
        if seen != self._seen:
            self._seen = seen
            try:
                self._name = parse_head(read_small(self._head))
            except OSError:
                self._name = None
        return self._name


Stamp = tuple[int, int, int]


def stamp(path: str) -> Stamp | None:
    """What changes when a file is replaced or written to; None while there is no such file."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return (status.st_ino, status.st_mtime_ns, status.st_size)


def parse_head(raw: bytes) -> str | None:
    """What a HEAD file says (gitrepository-layout(5)): a branch, or the first digits of a detached commit.

    A repository with reftables keeps its HEAD elsewhere and says "refs/heads/.invalid" here.
    """
    ref = _REF.fullmatch(raw)
    if ref:
        return None if ref[1] == b".invalid" else ref[1].decode("utf-8", "replace")
    return raw[:SHORT_COMMIT].decode("ascii") if _COMMIT.fullmatch(raw) else None
