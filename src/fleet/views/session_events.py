"""A session event -> the lines that a person reads. Pure.

Pieces of a text that also comes whole are passed over. Commands and texts are shown whole, outputs by their
beginning: all of it is in `fleet logs --json`.
"""

import time
from collections.abc import Iterator

from fleet.views import cells, units
from fleet.views.lines import Line, Style
from fleet_agent.control.events import (
    ApprovalRequested,
    Asked,
    Ended,
    Event,
    Failure,
    FilesChanged,
    Message,
    PlanUpdated,
    Prompted,
    Reasoning,
    Resolved,
    SessionStarted,
    ToolEnded,
    ToolStarted,
    TurnEnded,
    TurnStarted,
    Unknown,
    Used,
)
from fleet_agent.control.wire import Said

_MARKS = {"completed": "x", "in_progress": ">", "pending": " "}
_INDENT = " " * 10  # below the time
_MOST_OUTPUT_LINES = 3

Told = tuple[str, Style | None]


def event_lines(said: Said, width: int | None) -> list[Line]:
    """The lines, the first with the time of day here. None of a piece, or of what says nothing to a person."""
    lead = time.strftime("%H:%M:%S", time.localtime(said.at)) + "  "
    lines: list[Line] = []
    for text, style in _told(said.event):
        for piece in text.expandtabs(4).split("\n"):
            lines += [((part.rstrip(), style),) for part in cells.wrap(lead + piece, width, _INDENT)]
            lead = _INDENT
    return lines


def _told(event: Event) -> Iterator[Told]:
    match event:
        case Message(delta=False):
            yield event.text, None
        case Prompted():
            yield f"> {event.text}", Style.HEADER
        case Reasoning(delta=False):
            yield f"~ {event.text}", Style.QUIET
        case ToolStarted():
            where = f"  (in {event.cwd})" if event.cwd else ""
            yield f"$ {event.command}{where}" if event.command else f"* {event.name}", Style.WORKING
        case ToolEnded():
            yield from _tool_ended(event)
        case FilesChanged():
            done = {None: "patch", True: "patched", False: "patch failed"}[event.ok]
            yield f"{done}: {', '.join(f'{c.kind} {c.path}' for c in event.changes)}", _bad(event.ok)
        case PlanUpdated():
            yield "plan:\n" + "\n".join(f"[{_MARKS.get(s.status, '?')}] {s.text}" for s in event.steps), None
        case ApprovalRequested() | Asked() | Resolved():
            yield from _requests(event)
        case Failure():
            again = " (it tries again)" if event.retrying else ""
            yield f"error: {event.message}{again}", Style.FAILED
        case _:
            yield from _life(event)


def _requests(event: ApprovalRequested | Asked | Resolved) -> Iterator[Told]:
    if isinstance(event, Resolved):
        by = f" by {event.by}" if event.by else ""
        yield f"request {event.request_id}: {event.decision or 'resolved'}{by}", Style.QUIET
    elif isinstance(event, ApprovalRequested):
        files = ", ".join(f"{change.kind} {change.path}" for change in event.changes)
        what = event.command or files or event.kind
        where = f"  (in {event.cwd})" if event.cwd else ""
        why = f"\nwhy: {event.reason}" if event.reason else ""
        yield f"APPROVE? [{event.request_id}] {what}{where}{why}", Style.WAITING
    else:
        for question in event.questions:
            options = f"  [{' | '.join(question.options)}]" if question.options else ""
            yield f"QUESTION [{event.request_id}] {question.id}: {question.text}{options}", Style.WAITING


def _life(event: Event) -> Iterator[Told]:
    match event:
        case SessionStarted():
            of = " ".join(word for word in (event.model, event.version) if word)
            yield f"session {event.session_id}{f'  ({of})' if of else ''}", Style.QUIET
        case TurnStarted():
            yield "turn started", Style.QUIET
        case TurnEnded():
            because = f": {event.message}" if event.message else ""
            yield f"turn {event.end}{because}", Style.FAILED if event.end == "failed" else Style.QUIET
        case Used(total=total) if total is not None:
            yield f"{units.count(total.total)} tokens so far", Style.QUIET
        case Ended():
            how = f"killed by signal {event.signal}" if event.signal is not None else f"exit {event.exit_code}"
            yield f"ended: {how}", Style.FAILED if event.signal or event.exit_code else Style.QUIET
        case Unknown():
            yield f"({event.what})", Style.QUIET


def _tool_ended(event: ToolEnded) -> Iterator[Told]:
    failed = event.ok is False or event.exit_code not in (None, 0)
    how = f"exit {event.exit_code}" if event.exit_code is not None else "failed" if failed else "done"
    took = f" in {event.duration_ms / 1000:.1f} s" if event.duration_ms is not None else ""
    lines = (event.output or "").rstrip().split("\n")
    shown = [line for line in lines[:_MOST_OUTPUT_LINES] if line.strip()]
    more = f"\n... {len(lines) - _MOST_OUTPUT_LINES} more lines" if len(lines) > _MOST_OUTPUT_LINES else ""
    yield "\n".join([f"= {how}{took}", *shown]) + more, Style.FAILED if failed else Style.QUIET


def _bad(ok: bool | None) -> Style | None:
    return Style.FAILED if ok is False else None
