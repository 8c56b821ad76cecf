"""The branch of a directory now, read from .git/HEAD. Starts no process, takes no lock."""

import os
import re
import time
from collections.abc import Callable

import msgspec

from fleet_agent.files import read_small

TTL_S = 30.0  # a repository may appear in, or vanish from, the parents of a directory
MAX_PARENTS = 64
MAX_CACHED = 2000

_REF = re.compile(rb"ref: refs/heads/(.{1,400}?)\s*")
_COMMIT = re.compile(rb"[0-9a-f]{40}(?:[0-9a-f]{24})?\s*")
_SHORT_COMMIT = 8


class _Found(msgspec.Struct):
    until_s: float
    head: str | None = None  # path of the HEAD file
    seen: tuple[int, int] | None = None  # its inode and mtime
    branch: str | None = None


class Branches:
    """Branch names by directory, cached. `clock` is monotonic, in seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._cache: dict[str, _Found] = {}

    def of(self, directory: str) -> str | None:
        """The branch checked out in `directory`, its short commit if detached, None outside a repository."""
        found = self._cache.get(directory)
        if found is None or self._clock() >= found.until_s:
            if len(self._cache) >= MAX_CACHED:
                self._cache.clear()
            found = self._cache[directory] = _Found(self._clock() + TTL_S, find_head(directory))
        if found.head:
            _refresh(found, found.head)
        return found.branch


def _refresh(found: _Found, head: str) -> None:
    try:
        status = os.stat(head)
        seen = (status.st_ino, status.st_mtime_ns)
        if seen != found.seen:
            found.seen, found.branch = seen, parse_head(read_small(head))
    except OSError:
        found.head = found.branch = None


def find_head(directory: str) -> str | None:
    """The HEAD file of the work tree that `directory` is in, or None. Follows the .git file of a worktree."""
    if not os.path.isabs(directory):
        return None
    for _ in range(MAX_PARENTS):
        head = _head_in(f"{directory.rstrip('/')}/.git")
        if head:
            return head
        parent = os.path.dirname(directory)
        if parent == directory:
            break
        directory = parent
    return None


def _head_in(dot_git: str) -> str | None:
    try:
        if os.path.isdir(dot_git):
            git_dir = dot_git
        else:
            key, _, path = os.fsdecode(read_small(dot_git)).partition(":")
            if key != "gitdir":
                return None
            git_dir = os.path.join(os.path.dirname(dot_git), path.strip())
        head = os.path.join(git_dir, "HEAD")
        return head if os.path.isfile(head) else None
    except (OSError, ValueError):
        return None


def parse_head(raw: bytes) -> str | None:
    """What a HEAD file says (gitrepository-layout(5)): a branch, or the first digits of a detached commit.

    A repository with reftables keeps its HEAD elsewhere and says "refs/heads/.invalid" here.
    """
    ref = _REF.fullmatch(raw)
    if ref:
        return None if ref[1] == b".invalid" else ref[1].decode("utf-8", "replace")
    return raw[:_SHORT_COMMIT].decode("ascii") if _COMMIT.fullmatch(raw) else None
