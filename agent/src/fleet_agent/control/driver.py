"""What a supervisor runs: one session of a tool, to its end, whatever the protocol."""

from collections.abc import Callable
from typing import Protocol, TypeAlias

import msgspec

from fleet_agent.control.events import Event
from fleet_agent.control.wire import Answer, Decide, Done, Interrupt, Pending, Refused, Send

Action: TypeAlias = Send | Interrupt | Decide | Answer


class Outcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """How it ended: by itself with `exit_code`, or by `signal`; neither where nobody can tell."""

    exit_code: int | None = None
    signal: int | None = None


class SpawnFailed(Exception):
    """The tool could not be started at all. `hint`: what would help."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message, self.hint = message, hint


class Driver(Protocol):
    """One session. `run` is called once; the others while it runs, from the same event loop."""

    async def run(self, say: Callable[[Event], None], stderr: Callable[[bytes], None]) -> Outcome:
        """Start it and stay with it to its end: what it says, and what comes on its stderr.

        Raises `SpawnFailed` before anything was said.
        """

    async def act(self, request: Action) -> Done | Refused:
        """Say something to it, interrupt it, answer it."""

    def pending(self) -> list[Pending]:
        """The approvals and questions that are open now."""

    async def stop(self, grace_s: float) -> None:
        """End it: as its tool wishes within `grace_s` seconds, then for good. `run` returns soon after."""
