"""How much CPU a tree of processes used between two readings. Pure."""

from collections.abc import Mapping

import msgspec


class Use(msgspec.Struct, frozen=True, gc=False):
    """What one process used until a reading: CPU seconds, with its children that it waited for.

    (pid, `born`) is its identity; `created_at` is epoch seconds, `ppid` the parent that may wait for it.
    """

    born: float
    created_at: float
    ppid: int
    cpu_s: float


def used_s(before: Mapping[int, Use], now: Mapping[int, Use], since_at: float) -> float:
    """CPU seconds between two readings of a tree, the first at `since_at`.

    What a process used until it ended is found in the parent that waited for it: so a build that starts a
    thousand short compilers is seen. Who joins the tree with a past (it started before `since_at`) counts from
    now on.
    """
    total_s = 0.0
    for pid, use in now.items():
        known = before.get(pid)
        if known and known.born == use.born:
            total_s += use.cpu_s - known.cpu_s
        elif use.created_at >= since_at:
            total_s += use.cpu_s
    for pid, use in before.items():
        later = now.get(pid)
        if (later is None or later.born != use.born) and _heir(use, before, now):
            total_s -= use.cpu_s  # it is in the heir's figure now, and this part of it is old
    return max(0.0, total_s)


def _heir(use: Use, before: Mapping[int, Use], now: Mapping[int, Use]) -> bool:
    """Whether a process that ended has a living parent in the tree, at any distance."""
    for _ in range(len(before)):
        if use.ppid in now:
            return True
        if use.ppid not in before:
            return False
        use = before[use.ppid]
    return False
