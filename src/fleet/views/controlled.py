"""The JSON contract of what is driven from here: runs, open approvals and questions, and a host's trouble.

As in `entries`: keys are always there, what is not known is null, arrays may be empty.
"""

from collections.abc import Iterable
from typing import Annotated

import msgspec
from msgspec import Meta

from fleet.errors import HostError, RequestRefused
from fleet.views.rows import age_s
from fleet.views.units import rfc3339, seconds
from fleet_agent.control.events import ApprovalRequested, Asked, Question
from fleet_agent.control.wire import MODES, RUN_STATES, Pending, Run

_Time = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
_State = Annotated[str, Meta(extra_json_schema={"enum": [*RUN_STATES]})]
_Mode = Annotated[str, Meta(extra_json_schema={"enum": [*MODES]})]


class RunEntry(msgspec.Struct, frozen=True):
    """A session that fleet started in the background and nobody has deleted.

    `key` is `host:id`, `host:name` while its tool has given it no id. `state`: running, exited, or lost (it
    ended and nobody saw how). `pid` is of the process that watches it. `prompt` is its beginning, where privacy
    allows.
    """

    host: str
    key: str
    name: str
    id: str | None
    tool: str
    mode: _Mode
    state: _State
    pid: int | None
    created_at: _Time | None
    age_s: float | None
    ended_at: _Time | None
    exit_code: int | None
    signal: int | None
    out_bytes: int
    err_bytes: int
    cwd: str | None
    model: str | None
    prompt: str | None
    by: str
    home: str | None
    tool_version: str | None


class ChangeEntry(msgspec.Struct, frozen=True):
    """One file of a patch. `kind`: add, update or delete."""

    path: str
    kind: str


class QuestionEntry(msgspec.Struct, frozen=True):
    """One question. `options`: what may be answered; empty for free text."""

    id: str
    text: str
    options: tuple[str, ...]


class PendingEntry(msgspec.Struct, frozen=True):
    """An approval or a question that is open now: somebody has to decide.

    `kind`: command, patch, permissions, tool, or question. `decisions`: what may be decided of an approval.
    """

    host: str
    key: str
    name: str | None
    tool: str
    session_id: str
    request_id: str
    kind: str
    since_at: _Time | None
    age_s: float | None
    title: str | None
    command: str | None
    cwd: str | None
    reason: str | None
    changes: tuple[ChangeEntry, ...]
    decisions: tuple[str, ...]
    questions: tuple[QuestionEntry, ...]


class Trouble(msgspec.Struct, frozen=True):
    """Why one host did not do what it was asked.

    `kind` and `phase` as in `host_errors`; `phase` is null where the host was reached and refused: `candidates`
    are then what could have been meant.
    """

    host: str
    kind: str
    phase: str | None
    message: str
    hint: str
    candidates: tuple[str, ...] = ()


def run_entry(host: str, run: Run, clock_at: float | None) -> RunEntry:
    """The entry of a run; `clock_at` is what its host's clock shows."""
    return RunEntry(
        host=host,
        key=f"{host}:{run.id or run.name}",
        name=run.name,
        id=run.id,
        tool=run.tool,
        mode=run.mode,
        state=run.state,
        pid=run.pid,
        created_at=rfc3339(run.created_at),
        age_s=seconds(age_s(run.created_at, clock_at)),
        ended_at=rfc3339(run.ended_at),
        exit_code=run.exit_code,
        signal=run.signal,
        out_bytes=run.out_bytes,
        err_bytes=run.err_bytes,
        cwd=run.cwd,
        model=run.model,
        prompt=run.prompt,
        by=run.by,
        home=run.home,
        tool_version=run.tool_version,
    )


def pending_entry(host: str, pending: Pending, clock_at: float | None) -> PendingEntry:
    """The entry of an open request; `clock_at` is what its host's clock shows."""
    asked = pending.request
    approval = asked if isinstance(asked, ApprovalRequested) else None
    return PendingEntry(
        host=host,
        key=f"{host}:{pending.session_id}",
        name=pending.name,
        tool=pending.tool,
        session_id=pending.session_id,
        request_id=asked.request_id,
        kind=approval.kind if approval else "question",
        since_at=rfc3339(pending.since_at),
        age_s=seconds(age_s(pending.since_at, clock_at)),
        title=pending.title,
        command=approval.command if approval else None,
        cwd=(approval.cwd if approval else None) or pending.cwd,
        reason=approval.reason if approval else None,
        changes=tuple(ChangeEntry(change.path, change.kind) for change in approval.changes) if approval else (),
        decisions=approval.decisions if approval else (),
        questions=tuple(map(_question, asked.questions)) if isinstance(asked, Asked) else (),
    )


def trouble(host: str, error: HostError | None, refused: RequestRefused | None) -> Trouble | None:
    """What went wrong with a host, if anything did."""
    if error is not None:
        return Trouble(host, error.kind, error.phase, error.message, error.hint)
    if refused is not None:
        return Trouble(host, refused.kind, None, refused.message, refused.hint, refused.candidates)
    return None


def trouble_lines(troubles: Iterable[Trouble]) -> list[str]:
    """What went wrong, for people."""
    lines = []
    for t in troubles:
        lines.append(f"{t.host}: {t.kind}{f' ({t.phase})' if t.phase else ''}: {t.message}")
        lines += [f"  hint: {t.hint}"] if t.hint else []
    return lines


def _question(question: Question) -> QuestionEntry:
    return QuestionEntry(question.id, question.text, question.options)
