"""The coding-agent tools this agent knows: one small package each."""

from typing import Protocol

import msgspec

from fleet_agent.processes import ProcessTable
from fleet_agent.wire import Problem, RateLimit, Session

PRIVACIES = ("meta", "title", "text")  # what may leave the host; each includes the one before it


class Found(msgspec.Struct, frozen=True):
    """What one tool has on this host. `complete` is false when sessions may exist that could not be seen."""

    sessions: tuple[Session, ...] = ()
    problems: tuple[Problem, ...] = ()
    complete: bool = True
    rate_limits: tuple[RateLimit, ...] = ()


class Tool(Protocol):
    """A tool's reader. It keeps what it read, so that the next reading costs only what is new."""

    @property
    def name(self) -> str:
        """Its name on the wire."""

    @property
    def variables(self) -> tuple[str, ...]:
        """The environment variables of its processes that it needs, besides the next two."""

    @property
    def session_variable(self) -> str:
        """What names a session in the environment of all that it starts; "" if nothing does."""

    @property
    def call_variable(self) -> str:
        """The same for the tool call; "" if nothing does."""

    def is_tool(self, image: str) -> bool:
        """Whether a program (its path, or a short process name) may be this tool's."""

    def is_helper(self, image: str) -> bool:
        """Whether a program below this tool is one that it runs for itself: a sandbox around a command, say."""

    def find(self, table: ProcessTable, now: float) -> Found:
        """The tool's sessions at `now`, in epoch seconds. The table was scanned just before."""


def tools(privacy: str, one_shot: bool = False) -> tuple[Tool, ...]:
    """A reader for every tool that is known. `one_shot`: there will be one reading only."""
    from fleet_agent.tools.codex import find

    account_bytes = find.ONE_SHOT_ACCOUNT_BYTES if one_shot else find.ACCOUNT_BYTES
    return (find.Codex(privacy, account_bytes=account_bytes),)
