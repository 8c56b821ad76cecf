"""One reading of this host: the processes once, every tool, then what is around the sessions."""

import os
import time
from collections.abc import Callable
from functools import lru_cache

import msgspec

from fleet_agent import vitals
from fleet_agent.mounts import Mounts
from fleet_agent.processes import ProcessTable
from fleet_agent.repositories import Repositories
from fleet_agent.surroundings import VARIABLES, Surroundings
from fleet_agent.tools import Found, Tool
from fleet_agent.wire import MAX_LIMITS, Cost, OrphanPort, Problem, RateLimit, Session, Vitals

GIT_WAIT_S = 0.1  # a reading of a stream does not wait longer for git; what it says later is in the next


class Reading(msgspec.Struct, frozen=True):
    """All that one reading found. `now` is epoch seconds of this host's clock, from the reading's start."""

    now: float
    sessions: tuple[Session, ...] = ()
    problems: tuple[Problem, ...] = ()
    complete: bool = True
    scan_ms: float | None = None
    rate_limits: tuple[RateLimit, ...] = ()
    orphan_ports: tuple[OrphanPort, ...] = ()
    vitals: Vitals | None = None
    cost: Cost | None = None

    def says_the_same(self, other: "Reading") -> bool:
        """Whether nothing has happened since: only time has passed, and figures that always change."""
        mine, theirs = (
            (r.complete, r.problems, r.rate_limits, r.orphan_ports, len(r.sessions)) for r in (self, other)
        )
        if mine != theirs:
            return False
        pairs = zip(self.sessions, other.sessions, strict=True)
        return all(a == b or _steady(a) == _steady(b) for a, b in pairs)

    def figures_as(self, other: "Reading") -> bool:
        """Whether even those figures are the same."""
        return (self.sessions, self.vitals) == (other.sessions, other.vitals)


def _steady(session: Session) -> Session:
    """Without what changes all the time though nothing happens."""
    children = tuple(msgspec.structs.replace(child, rss_bytes=None) for child in session.children)
    return msgspec.structs.replace(
        session, cpu_percent=None, rss_bytes=None, transcript_bytes=None, grown_bytes=None, children=children
    )


class Scanner:
    """Reads the host again and again; a reading after the first costs only what is new.

    `git_wait_s`: how long one reading may wait for git, over all repositories.
    """

    def __init__(
        self,
        tools: tuple[Tool, ...],
        clock: Callable[[], float] = time.time,
        git_wait_s: float = GIT_WAIT_S,
    ) -> None:
        self._tools = tools
        self._clock = clock
        self._git_wait_s = git_wait_s
        marks = {tool.session_variable for tool in tools} - {""}
        calls = {tool.call_variable for tool in tools} - {""}
        self._table = ProcessTable(
            lru_cache(maxsize=4096)(lambda image: any(tool.is_tool(image) for tool in tools)),
            {*VARIABLES, *marks, *calls, *(name for tool in tools for name in tool.variables)},
            marks=marks,
        )
        mounts = Mounts()
        self._repositories = Repositories(mounts.on_network)
        self._surroundings = Surroundings(tools, self._repositories)
        self._machine = vitals.Machine(os.path.expanduser("~"), mounts.on_network)

    def scan(self) -> Reading:
        """The host as it is now. A tool that fails is a problem in the reading, not the end of it."""
        now, begun_s, meter = self._clock(), time.monotonic(), vitals.Meter()
        try:
            self._table.scan()
        except Exception as exc:
            return Reading(now, problems=(_bug("the process table", exc),), complete=False)
        found = [self._find(tool, now) for tool in self._tools]
        around = self._look_around(found, now)
        return Reading(
            now=now,
            sessions=around.sessions,
            problems=(*(problem for f in found for problem in f.problems), *around.problems),
            complete=all(f.complete for f in found),
            scan_ms=round((time.monotonic() - begun_s) * 1000, 1),
            rate_limits=tuple(limit for f in found for limit in f.rate_limits)[:MAX_LIMITS],
            orphan_ports=around.orphan_ports,
            vitals=around.vitals,
            cost=meter.cost(),
        )

    def close(self) -> None:
        """End what still runs."""
        self._repositories.close()

    def _look_around(self, found: list[Found], now: float) -> Reading:
        """The sessions with what is around them. Where that fails they stay as their tools found them."""
        sessions = tuple(session for f in found for session in f.sessions)
        missed = any(problem.kind == "internal" for f in found for problem in f.problems)
        try:
            full, orphans = self._surroundings.of(sessions, self._table, now, self._git_wait_s)
        except Exception as exc:
            return Reading(now, sessions, problems=(_bug("what is around the sessions", exc),))
        # A session that a bug has hidden is not gone, and what it started is no orphan.
        return Reading(now, full, orphan_ports=() if missed else orphans, vitals=self._machine.vitals())

    def _find(self, tool: Tool, now: float) -> Found:
        try:
            return tool.find(self._table, now)
        except Exception as exc:
            return Found(problems=(_bug(tool.name, exc),), complete=False)


def _bug(where: str, exc: Exception) -> Problem:
    return Problem("internal", f"a bug of the agent in reading {where}: {type(exc).__name__}: {exc}")
