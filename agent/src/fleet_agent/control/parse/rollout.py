"""What Codex has written down of a session: lines of its rollout -> session events. Pure.

A line is `{"timestamp","ordinal"?,"type","payload"}`, before 0.36 the bare payload. What was said is in
`event_msg` lines: whole items since 0.150 (`item_completed`), events of their own before. Calls are begun in
`response_item` lines, which are the model's history; what they came to is in an item, where there is one for
it, else in the history. Measured on 0.21 to 0.169.
"""

from fleet_agent.control.events import (
    Event,
    Failure,
    FilesChanged,
    Message,
    PlanUpdated,
    Prompted,
    Reasoning,
    SessionStarted,
    ToolEnded,
    ToolStarted,
    Unknown,
    Used,
)
from fleet_agent.control.parse import calls
from fleet_agent.control.parse.items import begun, done
from fleet_agent.control.parse.legacy import Legacy
from fleet_agent.control.parse.turns import Turns
from fleet_agent.control.parse.values import Json, decode, joined, name, output, pick, reason, steps
from fleet_agent.fields import count, epoch

_MAX_CALLS = 256  # that are under way
_CALLS = ("function_call", "custom_tool_call", "local_shell_call")
_INJECTED = ("<", "# AGENTS.md")  # 0.21: what Codex itself says for the person looks so


class RolloutLines:
    """One rollout. `at`: the time of the line that was fed last, in epoch seconds; None if none had one.

    What is of no use, or of no known type, has no events.
    """

    def __init__(self) -> None:
        self.at: float | None = None
        self._known = False  # whose rollout it is; what says so again is a copy of an ancestor's
        self._own_from_ordinal = 0  # the lines before it are a copy of the parent's history
        self._turns = Turns()
        self._legacy = Legacy()
        self._calls: dict[str, ToolStarted | FilesChanged] = {}
        self._used: Used | None = None

    def begin(self, line: bytes) -> list[Event]:
        """The session that a line of its start tells of; for who then feeds lines from further on."""
        said = decode(line)
        if isinstance(said, Failure):
            return []
        self.at = epoch(said.get("timestamp")) or self.at
        meta = said.get("payload", said)
        return self._session(meta) if isinstance(meta, dict) else []

    def feed(self, line: bytes) -> list[Event]:
        """The events of one line, whatever it is."""
        said = decode(line)
        if isinstance(said, Failure):
            return [said]
        self.at = epoch(said.get("timestamp")) or self.at
        payload, ordinal = said.get("payload"), count(said.get("ordinal"))
        if "payload" not in said:
            return self._bare(said)
        if not isinstance(payload, dict) or (ordinal is not None and ordinal < self._own_from_ordinal):
            return []
        match said.get("type"):
            case "session_meta":
                return self._session(payload)
            case "event_msg":
                return self._event(payload)
            case "response_item":
                return self._history(payload, itemized=ordinal is not None)
        return []

    def _session(self, meta: Json) -> list[Event]:
        session_id = name(meta.get("id"))
        if self._known or session_id is None:
            return []
        self._known = True
        self._own_from_ordinal = count(meta.get("subagent_history_start_ordinal")) or 0
        return [SessionStarted(session_id, version=name(meta.get("cli_version")))]

    def _bare(self, said: Json) -> list[Event]:
        match said.get("type"):
            case None:
                return self._session(said) if "record_type" not in said else []
            case "message":
                return _message(said)
            case "reasoning":
                thought = joined(said.get("summary"))
                return [Reasoning(thought, name(said.get("id")))] if thought else []
        return self._history(said, itemized=False)

    def _event(self, event: Json) -> list[Event]:
        turn_id = name(event.get("turn_id"))
        match event.get("type"):
            case "task_started" | "turn_started":
                return self._turns.start(turn_id)
            case "task_complete" | "turn_complete":
                why = reason(event.get("error"))
                return self._turns.end("failed" if why else "completed", turn_id, why)
            case "turn_aborted":
                return self._turns.end("aborted", turn_id, output(event.get("reason")))
            case "item_completed":
                return self._item(event.get("item"), turn_id)
            case "user_message" if event.get("kind") not in (None, "plain"):
                return []
        return self._ended(self._legacy.feed(event, turn_id))

    def _item(self, item: object, turn_id: str | None) -> list[Event]:
        if not isinstance(item, dict):
            return []
        events = done(item, turn_id)
        # a script's command, a person's own, or one that was begun before the first line that was read
        unseen = any(isinstance(event, ToolEnded) and event.call_id not in self._calls for event in events)
        return [*(begun(item) if unseen else []), *self._ended(events)]

    def _ended(self, events: list[Event]) -> list[Event]:
        """Without what there is no word for, and counts that were told before; calls in them are closed."""
        for event in events:
            if isinstance(event, ToolEnded):
                self._calls.pop(event.call_id, None)
            elif isinstance(event, FilesChanged) and isinstance(
                self._calls.get(event.call_id or ""), FilesChanged
            ):
                del self._calls[event.call_id or ""]
        kept: list[Event] = [e for e in events if not isinstance(e, Unknown) and e != self._used]
        self._used = next((e for e in kept if isinstance(e, Used)), self._used)
        return kept

    def _history(self, item: Json, *, itemized: bool) -> list[Event]:
        what = name(item.get("type")) or ""
        if what in _CALLS:
            return self._called(item)
        call_id = name(item.get("call_id")) or ""
        call = self._calls.get(call_id) if what.endswith("_output") else None
        if call is None:
            return []
        result = calls.result(item.get("output"))
        if result.running and itemized:
            return []  # its item comes when it ends
        del self._calls[call_id]
        if isinstance(call, FilesChanged):
            return [FilesChanged(call.changes, call_id, result.ok)]
        return [
            ToolEnded(
                call_id, call.name, call.command, result.text, result.exit_code, result.duration_ms, result.ok
            )
        ]

    def _called(self, item: Json) -> list[Event]:
        call_id = name(item.get("call_id"))
        if call_id is None:
            return []
        if item.get("name") == "update_plan" and (plan := steps(pick(calls.arguments(item), "plan"))):
            return [PlanUpdated(plan)]
        changes = calls.patched(item.get("input")) if item.get("name") == "apply_patch" else ()
        call = FilesChanged(changes, call_id) if changes else calls.started(item)
        if len(self._calls) >= _MAX_CALLS:
            del self._calls[next(iter(self._calls))]
        self._calls[call_id] = call
        return [call]


def _message(said: Json) -> list[Event]:
    """Of 0.21: there is no event that would tell the same."""
    text = joined(said.get("content"))
    if text is None:
        return []
    if said.get("role") == "assistant":
        return [Message(text, name(said.get("id")))]
    spoken = said.get("role") == "user" and not text.startswith(_INJECTED)
    return [Prompted(text)] if spoken else []
