"""One reading of this host: the processes once, then every tool."""

import time
from collections.abc import Callable

import msgspec

from fleet_agent.processes import ProcessTable
from fleet_agent.tools import Found, Tool
from fleet_agent.wire import Problem, Session


class Reading(msgspec.Struct, frozen=True):
    """All that one reading found. `now` is epoch seconds of this host's clock, from the reading's start."""

    now: float
    sessions: tuple[Session, ...] = ()
    problems: tuple[Problem, ...] = ()
    complete: bool = True
    scan_ms: float | None = None

    def says_the_same(self, other: "Reading") -> bool:
        """Whether nothing but time has passed."""
        mine, theirs = (
            (self.complete, self.problems, self.sessions),
            (other.complete, other.problems, other.sessions),
        )
        return mine == theirs


class Scanner:
    """Reads the host again and again; a reading after the first costs only what is new."""

    def __init__(self, tools: tuple[Tool, ...], clock: Callable[[], float] = time.time) -> None:
        self._tools = tools
        self._clock = clock
        variables = [name for tool in tools for name in tool.variables]
        self._table = ProcessTable(lambda image: any(tool.is_tool(image) for tool in tools), variables)

    def scan(self) -> Reading:
        """The host as it is now. A tool that fails is a problem in the reading, not the end of it."""
        now, begun_s = self._clock(), time.monotonic()
        try:
            self._table.scan()
        except Exception as exc:
            return Reading(now, problems=(_bug("the process table", exc),), complete=False)
        found = [self._find(tool, now) for tool in self._tools]
        return Reading(
            now=now,
            sessions=tuple(session for f in found for session in f.sessions),
            problems=tuple(problem for f in found for problem in f.problems),
            complete=all(f.complete for f in found),
            scan_ms=round((time.monotonic() - begun_s) * 1000, 1),
        )

    def _find(self, tool: Tool, now: float) -> Found:
        try:
            return tool.find(self._table, now)
        except Exception as exc:
            return Found(problems=(_bug(tool.name, exc),), complete=False)


def _bug(where: str, exc: Exception) -> Problem:
    return Problem("internal", f"a bug of the agent in reading {where}: {type(exc).__name__}: {exc}")
