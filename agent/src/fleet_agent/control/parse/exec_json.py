"""What `codex exec --json` prints -> session events, in both its dialects. Pure.

Since 0.4x: `thread.started`, `turn.started|completed|failed`, `item.started|updated|completed`, `error`.
Before: `{"id","msg"}` (see `legacy`), after two lines of its settings and the prompt. Told apart line by line.
There are no turn ids; `item_N` ids restart with each process; `usage` is the thread's so far, not the turn's.
"""

import re

from fleet_agent.control.events import (
    Event,
    Failure,
    PlanUpdated,
    Prompted,
    SessionStarted,
    Step,
    Unknown,
    Used,
)
from fleet_agent.control.parse.items import begun, done, kind
from fleet_agent.control.parse.legacy import Legacy
from fleet_agent.control.parse.turns import Turns
from fleet_agent.control.parse.values import Json, decode, name, output, pick, reason, steps, tokens

_RETRY = re.compile(r"^(Reconnecting\.\.\.|stream error: .*; retrying) ?\d*/?\d*", re.DOTALL)
_ENDS = {"turn.failed": "failed", "turn.aborted": "aborted", "turn.interrupted": "aborted"}


class ExecJson:
    """One run of `codex exec --json`."""

    def __init__(self) -> None:
        self._turns = Turns()
        self._legacy = Legacy()
        self._plan: tuple[Step, ...] = ()

    def feed(self, line: bytes) -> list[Event]:
        """The events of one line, whatever it is."""
        said = decode(line)
        if isinstance(said, Failure):
            return [said]
        if isinstance(said.get("msg"), dict):
            return self._legacy.feed(said["msg"], name(said.get("id")))
        what = name(said.get("type"))
        return self._event(what, said) if what else _preamble(said)

    def _event(self, what: str, said: Json) -> list[Event]:
        if what.startswith("item."):
            return self._item(what, said.get("item"))
        if what in _ENDS:
            return self._turns.end(_ENDS[what], message=reason(said.get("error")))
        match what:
            case "thread.started" | "session.created":
                session_id = name(pick(said, "thread_id", "session_id"))
                return [SessionStarted(session_id)] if session_id else []
            case "turn.started":
                return self._turns.start()
            case "turn.completed":
                used = tokens(said.get("usage"))
                return [*([Used(total=used)] if used else []), *self._turns.end("completed")]
            case "error":
                why = reason(said) or "error"
                return [Failure(why, retrying=_RETRY.match(why) is not None)]
        return [Unknown(what)]

    def _item(self, what: str, item: object) -> list[Event]:
        if not isinstance(item, dict):
            return [Unknown(what)]
        if kind(item) == "error":  # a warning, which may come before the first turn
            return done(item)
        self._turns.going()
        if kind(item) == "todolist":
            return self._planned(steps(item.get("items")))
        if what == "item.completed":
            return done(item)
        return begun(item) if what == "item.started" else []

    def _planned(self, plan: tuple[Step, ...]) -> list[Event]:
        """An item repeats its plan when it is done."""
        if plan == self._plan:
            return []
        self._plan = plan
        return [PlanUpdated(plan)]


def _preamble(said: Json) -> list[Event]:
    """The older dialect's first two lines: settings, and the prompt."""
    prompt = output(said.get("prompt"))
    if prompt:
        return [Prompted(prompt)]
    return [] if "workdir" in said or "provider" in said else [Unknown("line")]
