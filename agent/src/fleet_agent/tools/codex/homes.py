"""The CODEX_HOMEs of this host that are in use, or were lately: their thread names and recent rollouts."""

import os
import time
from collections.abc import Callable, Iterable, Set

import msgspec

from fleet_agent.tools.codex.names import Names
from fleet_agent.tools.codex.recent import MAX_FILES, MAX_RECENT, RecentRollouts
from fleet_agent.wire import Problem

MAX_HOMES = 100


class _Home(msgspec.Struct):
    names: Names
    recent: RecentRollouts


class Homes:
    """Every home that is known. `own` are looked at always, others while in use or lately written to.

    `given_only`: no name that may have been made of a prompt.
    """

    def __init__(
        self, own: Iterable[str], clock: Callable[[], float] = time.monotonic, *, given_only: bool = False
    ) -> None:
        self.problems: list[Problem] = []
        self._own = frozenset(own)
        self._given_only = given_only
        self._clock = clock
        self._homes: dict[str, _Home] = {}

    def poll(self, in_use: set[str], now: float, held: Set[str] = frozenset()) -> dict[str, tuple[str, int]]:
        """The rollouts written lately, in all homes: path -> (thread id, mtime in ns). `now`: epoch seconds.

        Those that are `held` open are left out.
        """
        self.problems = []
        wanted = in_use | {os.path.realpath(home) for home in self._own}
        self._add(wanted)
        recent: dict[str, tuple[str, int]] = {}
        for path, home in list(self._homes.items()):
            found = home.recent.poll(now, held)
            if found or path in wanted:
                recent |= found
                self._check(path, home)
            else:
                del self._homes[path]
        return recent

    def name(self, home: str | None, thread_id: str) -> str | None:
        """What a thread was named."""
        known = self._homes.get(home) if home else None
        return known.names.get(thread_id) if known else None

    @property
    def complete(self) -> bool:
        """Whether all their directories could be listed."""
        return not any(home.recent.unreadable for home in self._homes.values())

    def _add(self, wanted: set[str]) -> None:
        for path in sorted(wanted - self._homes.keys()):
            if len(self._homes) >= MAX_HOMES:
                message = (
                    f"more than {MAX_HOMES} CODEX_HOMEs are in use; ended sessions of this one are not shown"
                )
                self.problems.append(Problem("limit", message, path))
            else:
                names = Names(path, given_only=self._given_only)
                self._homes[path] = _Home(names, RecentRollouts(path, self._clock))

    def _check(self, path: str, home: _Home) -> None:
        """Read new names; note what could not be read."""
        try:
            home.names.poll()
        except OSError as exc:
            message = f"the names of threads cannot be read: {exc.strerror or exc}"
            self.problems.append(Problem("unreadable", message, home.names.path))
        for directory, why in home.recent.unreadable.items():
            message = f"the sessions in this directory cannot be listed: {why}"
            self.problems.append(Problem("unreadable", message, directory))
        if home.recent.cut:
            message = f"only the newest {MAX_FILES} rollouts were looked at for sessions that ended lately"
            self.problems.append(Problem("limit", message, path))
        if home.recent.left_out:
            left_out = home.recent.left_out
            message = f"of the rollouts written lately the newest {MAX_RECENT} are read, {left_out} others not"
            self.problems.append(Problem("limit", message, path))
