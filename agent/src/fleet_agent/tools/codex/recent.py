"""The rollouts of one CODEX_HOME that were written lately: sessions which ended a moment ago.

Rollouts lie in sessions/YYYY/MM/DD (the local date of their creation); one that was resumed later stays in its
old directory. So the newest days are looked at every time, all others now and then; where a day has very
many, those that had not been written lately take turns. Whoever archives a session (it moves to
archived_sessions/) is done with it: it is not looked for there. A compressed rollout counts unless the plain
one is there too, as Codex has it. What is dated into the future was not written lately.

A thread that was taken back to an earlier turn goes on in a file with a second id in its name (see `earlier`).
"""

import os
import re
import time
from collections.abc import Callable, Iterator, Set
from itertools import islice

import msgspec

from fleet_agent.tools.codex.lines import THREAD_ID

RECENT_S = 600.0
ALL_DAYS_EVERY_S = 60.0
NEWEST_DAYS = 2
MAX_FILES = 20_000  # looked at in one pass; 3 us each
MAX_LOOKS = 500  # a reading, at those of one day that had not been written lately
MAX_RECENT = 1000  # the newest; a home that was copied without its files' times has them all
_LISTING_S = 2.0  # a directory that changed so lately may change again and have the same time

ROLLOUT_NAME = re.compile(rf"rollout-[\dT-]+-({THREAD_ID})(?:_({THREAD_ID}))?\.jsonl(?:\.zst)?")


def revert_id(path: str) -> str:
    """With which going back a rollout began; empty for a thread's first. A UUIDv7: they sort by time."""
    named = ROLLOUT_NAME.fullmatch(path.rpartition("/")[2])
    return (named and named[2]) or ""


class _Day(msgspec.Struct):
    """The rollouts in a day's directory as of its last change, and at which of them to look next."""

    changed_ns: int
    names: list[str]
    turn: int = 0


class RecentRollouts:
    """The lately written rollouts of one home. `clock` is monotonic, in seconds.

    `unreadable` holds the directories that could not be listed, `cut` whether `MAX_FILES` was passed,
    `left_out` how many there were beside `MAX_RECENT`.
    """

    def __init__(self, home: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.unreadable: dict[str, str] = {}
        self.cut = False
        self.left_out = 0
        self._root = f"{home}/sessions"
        self._clock = clock
        self._all_days_due_s = clock()
        self._newest: dict[str, _Day] = {}
        self._watched: set[str] = set()  # looked at each time, in whichever directory they are

    def poll(self, now: float, held: Set[str] = frozenset()) -> dict[str, tuple[str, int]]:
        """Path -> (thread id, mtime in ns) of what was written in the last `RECENT_S` before `now`.

        What is `held` open by a process is left out, and looked at as soon as it is not.
        """
        all_days = self._clock() >= self._all_days_due_s
        if all_days:
            self._all_days_due_s = self._clock() + ALL_DAYS_EVERY_S
            self.unreadable, self.cut, self.left_out = {}, False, 0
        lately_ns = range(int((now - RECENT_S) * 1e9), int((now + RECENT_S) * 1e9))
        recent = self._walk(lately_ns, held) if all_days else self._look_at_newest(now, lately_ns, held)
        older = self._watched - recent.keys() - held
        recent |= {path: found for path in older if (found := _look(path, lately_ns))}
        self.left_out = max(self.left_out, len(recent) - MAX_RECENT)  # of all, as of the last look at all days
        if len(recent) > MAX_RECENT:
            recent = dict(sorted(recent.items(), key=lambda item: -item[1][1])[:MAX_RECENT])
        self._watched = {path for path in held if path.startswith(self._root)} | recent.keys()
        return recent

    def _look_at_newest(self, now: float, lately_ns: range, held: Set[str]) -> dict[str, tuple[str, int]]:
        days, before = list(islice(self._days(), NEWEST_DAYS)), self._newest
        self._newest = {day: before[day] for day in days if day in before}
        paths = [f"{day}/{name}" for day in days for name in self._next_names(day, now)]
        return {path: found for path in paths if path not in held and (found := _look(path, lately_ns))}

    def _next_names(self, day: str, now: float) -> list[str]:
        """The rollouts of a day to look at: those that are new there, and of the others as many as may be."""
        known = self._newest.get(day) or _Day(0, [])
        changed_ns, new = _changed_ns(day), []
        if known.changed_ns != changed_ns or changed_ns > (now - _LISTING_S) * 1e9:
            names = [name for name in self._names(day) if ROLLOUT_NAME.fullmatch(name)]
            new = list(set(names).difference(known.names))
            known = self._newest[day] = _Day(0 if day in self.unreadable else changed_ns, names, known.turn)
        start = known.turn if known.turn < len(known.names) else 0
        known.turn = start + MAX_LOOKS
        return new + known.names[start : known.turn]

    def _walk(self, lately_ns: range, held: Set[str]) -> dict[str, tuple[str, int]]:
        recent: dict[str, tuple[str, int]] = {}
        looked_at = 0
        for day in self._days():
            for name in self._names(day):
                path = f"{day}/{name}"
                if path in held or not ROLLOUT_NAME.fullmatch(name):
                    continue
                looked_at += 1
                if found := _look(path, lately_ns):
                    recent[path] = found
            if looked_at > MAX_FILES:
                self.cut = True
                break
        return recent

    def _days(self) -> Iterator[str]:
        """The day directories, newest first."""
        for year in self._numbered(self._root):
            for month in self._numbered(year):
                yield from self._numbered(month)

    def _numbered(self, directory: str) -> list[str]:
        return [f"{directory}/{n}" for n in sorted(self._names(directory), reverse=True) if n.isdigit()]

    def _names(self, directory: str) -> list[str]:
        try:
            return os.listdir(directory)
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as exc:
            self.unreadable[directory] = exc.strerror or "error"
            return []


def _changed_ns(directory: str) -> int:
    try:
        return os.stat(directory).st_mtime_ns
    except OSError:
        return 0


def _look(path: str, lately_ns: range) -> tuple[str, int] | None:
    """Thread id and mtime of a regular file that was written lately. Links are not followed."""
    try:
        status = os.lstat(path)
    except OSError:
        return None
    named = ROLLOUT_NAME.fullmatch(path.rpartition("/")[2])
    if named is None or status.st_mtime_ns not in lately_ns or status.st_mode & 0o170000 != 0o100000:
        return None
    if path.endswith(".zst") and os.path.lexists(path.removesuffix(".zst")):
        return None
    return named[1], status.st_mtime_ns
