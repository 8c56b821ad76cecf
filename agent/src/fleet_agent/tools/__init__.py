"""The coding-agent tools this agent knows: one small package each."""

from typing import Protocol

import msgspec

from fleet_agent.processes import ProcessTable
from fleet_agent.wire import Problem, Session

PRIVACIES = ("meta", "title", "text")  # what may leave the host; each includes the one before it


class Found(msgspec.Struct, frozen=True):
    """What one tool has on this host. `complete` is false when sessions may exist that could not be seen."""

    sessions: tuple[Session, ...] = ()
    problems: tuple[Problem, ...] = ()
    complete: bool = True


class Tool(Protocol):
    """A tool's reader. It keeps what it read, so that the next reading costs only what is new."""

    @property
    def name(self) -> str:
        """Its name on the wire."""

    @property
    def variables(self) -> tuple[str, ...]:
        """The environment variables of its processes that it needs."""

    def is_tool(self, image: str) -> bool:
        """Whether a program (its path, or a short process name) may be this tool's."""

    def find(self, table: ProcessTable, now: float) -> Found:
        """The tool's sessions at `now`, in epoch seconds. The table was scanned just before."""


def tools(privacy: str) -> tuple[Tool, ...]:
    """A reader for every tool that is known."""
    from fleet_agent.tools.codex.find import Codex

    return (Codex(privacy),)
