"""The rollouts of one CODEX_HOME that were written lately: sessions which ended a moment ago.

Rollouts lie in sessions/YYYY/MM/DD (the local date of their creation); one that was resumed later stays in its
old directory. So the newest days are looked at every time, all others now and then. Whoever archives a session
(it moves to archived_sessions/) is done with it: it is not looked for there. A compressed rollout counts unless
the plain one is there too, as Codex has it. What is dated into the future was not written lately.
"""

import os
import re
import time
from collections.abc import Callable, Iterator, Set

from fleet_agent.tools.codex.lines import THREAD_ID

RECENT_S = 600.0
ALL_DAYS_EVERY_S = 60.0
NEWEST_DAYS = 2
MAX_FILES = 20_000  # looked at in one pass; 3 us each

ROLLOUT_NAME = re.compile(rf"rollout-[\dT-]+-({THREAD_ID})\.jsonl(?:\.zst)?")


class RecentRollouts:
    """The lately written rollouts of one home. `clock` is monotonic, in seconds.

    `unreadable` holds the directories that could not be listed, `cut` whether `MAX_FILES` was passed.
    """

    def __init__(self, home: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.unreadable: dict[str, str] = {}
        self.cut = False
        self._root = f"{home}/sessions"
        self._clock = clock
        self._all_days_due_s = clock()
        self._watched: set[str] = set()  # looked at each time, in whichever directory they are

    def poll(self, now: float, held: Set[str] = frozenset()) -> dict[str, tuple[str, int]]:
        """Path -> (thread id, mtime in ns) of what was written in the last `RECENT_S` before `now`.

        What is `held` open by a process is left out, and looked at as soon as it is not.
        """
        all_days = self._clock() >= self._all_days_due_s
        if all_days:
            self._all_days_due_s = self._clock() + ALL_DAYS_EVERY_S
            self.unreadable, self.cut = {}, False
        lately_ns = range(int((now - RECENT_S) * 1e9), int((now + RECENT_S) * 1e9))
        recent = self._walk(lately_ns, held, None if all_days else NEWEST_DAYS)
        older = self._watched - recent.keys() - held
        recent |= {path: found for path in older if (found := _look(path, lately_ns))}
        self._watched = {path for path in held if path.startswith(self._root)} | recent.keys()
        return recent

    def _walk(self, lately_ns: range, held: Set[str], max_days: int | None) -> dict[str, tuple[str, int]]:
        recent: dict[str, tuple[str, int]] = {}
        looked_at = 0
        for number, day in enumerate(self._days()):
            if max_days is not None and number >= max_days:
                break
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
