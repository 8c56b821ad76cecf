"""Evidence -> the state of a session, with the reason and how sure it is. Pure.

The best evidence comes first: what the tool's own server says; is there a live writer; what the transcript says
of its last turn; open calls against live tool processes. "In progress" in a file is true only while a process
holds the file open. Whatever cannot be told apart is `weak` or `unknown`, never a sure guess.
"""

import msgspec

APPROVAL_GRACE_S = 3.0  # a tool's process is there within a second of its call; give a busy machine three
_DOUBT = "ended without an answer, and this release does not record failures"
_WAITS = {"approval": "an approval", "question": "an answer"}
GATED = ("shell", "patch", "script")  # kinds of call for which the tool may have to ask a person first


class Turn(msgspec.Struct, frozen=True, gc=False):
    """One turn as its transcript tells it. `status`: open | complete | failed | aborted."""

    status: str
    id: str | None = None
    started_at: float | None = None
    ended_at: float | None = None
    error: str | None = None  # the tool's own word for it, e.g. usage_limit_exceeded
    trigger: str | None = None  # what began it: exec, user, queue ...
    doubtful: bool = False  # it ended, but it is not written down whether it failed


class Call(msgspec.Struct, frozen=True, gc=False):
    """A call of the model that has no output yet.

    `kind`: shell | patch | script (code mode) | question | wait (for subagents) | opaque (it runs where no
    process shows, and may ask a person) | other. `escalated`: it asks to leave the sandbox. `process`: whether
    a live process of this call was seen: yes | no | maybe (it cannot be told).
    """

    id: str
    name: str
    kind: str = "other"
    at: float | None = None
    escalated: bool = False
    process: str = "maybe"


class Evidence(msgspec.Struct, frozen=True):
    """What one reading shows of one session.

    `live`: a process holds it open; `writer_at`: when that process started; `one_shot`: it ends with its turn,
    as `codex exec` does; `server`: it holds sessions for others, as the daemon does. `blind`: another writer
    may exist that this reading cannot see, because processes are hidden ("scan") or the file is on a network
    file system ("network"). `gapless` is false when a part of the current turn was not read. `last_actor` (user
    | assistant | tool) is for old releases, which do not record where a turn begins and ends. `told` is what
    the tool's own server says, asked after all else was read: approval | question | active | idle | failed;
    None if there is no server, or it does not say.
    """

    now: float
    live: bool
    readable: bool = True
    turn: Turn | None = None
    calls: tuple[Call, ...] = ()
    last_actor: str | None = None
    active_at: float | None = None  # the last line
    resumed_at: float | None = None  # the last call of this turn got its output
    approvals: str | None = None  # the approval policy: never, on-request ...
    reviewer: str | None = None  # who answers them: user, or a program
    writer_at: float | None = None
    one_shot: bool = False
    server: bool = False
    blind: str | None = None
    gapless: bool = True
    told: str | None = None


class Verdict(msgspec.Struct, frozen=True):
    """The state of a session in the words of `fleet_agent.wire`."""

    state: str
    detail: str | None
    reason: str
    evidence: str | None
    confidence: str
    since_at: float | None


def judge(e: Evidence) -> Verdict:
    """The state of a session of the Codex family."""
    return _told(e, e.told) if e.live and e.told else _from_files(e)


def _from_files(e: Evidence) -> Verdict:
    if not e.readable:
        return Verdict("unknown", None, "Its transcript cannot be read.", None, "weak", None)
    if e.turn is None:
        verdict = _without_lifecycle(e)
    elif not e.live:
        verdict = _without_writer(e, e.turn)
    elif e.turn.status == "open":
        verdict = _open_turn(e, e.turn)
    else:
        verdict = _closed_turn(e, e.turn)
    return verdict if e.gapless or verdict.state == "unknown" else _weakened(verdict)


def _told(e: Evidence, told: str) -> Verdict:
    """The daemon has the word. The files may be a moment behind it; they add the detail where they agree."""
    if told in _WAITS:
        at = next((c.at for c in e.calls if (c.kind == "question") == (told == "question")), None)
        at = at or (e.active_at if e.turn and e.turn.status == "open" else None)
        reason = f"The Codex daemon says that it waits for {_WAITS[told]}."
        return Verdict("waiting", told, reason, "app_server", "fact", at)
    if told == "active":
        return _told_active(e)
    at = (e.turn and e.turn.ended_at) or e.active_at
    if told == "failed":
        because = _because(e.turn) if e.turn and e.turn.status == "failed" else ""
        reason = f"The Codex daemon says that its last turn failed{because}."
        return Verdict("idle", "failed", reason, "app_server", "fact", at)
    return Verdict("idle", _idle_detail(e), "The Codex daemon says that it is idle.", "app_server", "fact", at)


def _told_active(e: Evidence) -> Verdict:
    """At work, and by the daemon's word not waiting for a person, whatever an open call looks like."""
    files = _from_files(e)
    says = "The Codex daemon says that it is at work"
    if files.state == "working" and e.gapless:
        reason = f"{says}: {files.reason[0].lower()}{files.reason[1:]}"
        return Verdict("working", files.detail, reason, "app_server", "fact", files.since_at)
    asking = files.state == "waiting"  # what looked like it; else a new turn that is not written down yet
    detail, since_at = "tool" if asking and e.gapless else None, files.since_at if asking else None
    return Verdict("working", detail, f"{says}.", "app_server", "fact", since_at)


def _idle_detail(e: Evidence) -> str | None:
    """How its last turn ended. None where the end is not written down yet, or was not read."""
    if not e.readable or not e.gapless:
        return None
    if e.turn is None:
        return "turn_done" if e.last_actor or e.calls else "new"
    if e.turn.status == "open":
        return "aborted" if _is_leftover(e, e.turn) else None
    return {"aborted": "aborted", "failed": "failed"}.get(e.turn.status, "turn_done")


def _weakened(v: Verdict) -> Verdict:
    reason = v.reason.removesuffix(".") + "; but a part of this turn was too long to read."
    return msgspec.structs.replace(v, confidence="weak", reason=reason)


def _closed_turn(e: Evidence, turn: Turn) -> Verdict:
    """A process holds the session open and its last turn is over: it is the person's move."""
    at = turn.ended_at or e.active_at
    if turn.doubtful:
        return Verdict("idle", "turn_done", f"Its last turn {_DOUBT}.", "lifecycle", "weak", at)
    if turn.status == "failed":
        return Verdict("idle", "failed", f"Its last turn failed{_because(turn)}.", "lifecycle", "fact", at)
    if turn.status == "aborted":
        return Verdict("idle", "aborted", "Its last turn was interrupted.", "lifecycle", "fact", at)
    return Verdict(
        "idle", "turn_done", "Its last turn is done; it is open for the next.", "lifecycle", "fact", at
    )


def _open_turn(e: Evidence, turn: Turn) -> Verdict:
    """A process holds the session open and is in the middle of a turn."""
    if _is_leftover(e, turn):
        reason = "Its last turn was cut off when its process died; it has been opened again since."
        return Verdict("idle", "aborted", reason, "lifecycle", "strong", e.active_at)
    if not e.calls:
        since_at = e.resumed_at or turn.started_at or e.active_at
        reason = "A turn is running and no call is open: the model is at work."
        return Verdict("working", "thinking", reason, "lifecycle", "strong", since_at)
    for kind, judge_calls in (("question", _question), ("running", _running), ("gated", _gated)):
        calls = [c for c in e.calls if _group(c) == kind]
        if calls:
            return judge_calls(e, calls)
    return _other(e, list(e.calls))


def _is_leftover(e: Evidence, turn: Turn) -> bool:
    """Whether a process that was killed began the turn: nothing closes it when another opens the session."""
    if turn.trigger == "exec" and e.server:
        return True
    return e.writer_at is not None and turn.started_at is not None and e.writer_at > turn.started_at


def _group(call: Call) -> str:
    if call.kind in GATED:
        return "running" if call.process == "yes" else "gated"
    return call.kind


def _question(_: Evidence, calls: list[Call]) -> Verdict:
    reason = f"It asked a question ({calls[0].name}) and has no answer yet."
    return Verdict("waiting", "question", reason, "pending_call", "strong", calls[0].at)


def _running(e: Evidence, calls: list[Call]) -> Verdict:
    """A call's process is alive. Beside it another call may wait for a person: then this is not sure."""
    beside = any(_group(c) == "gated" for c in e.calls) and e.approvals != "never"
    reason = f"The process of a call of {calls[0].name} is running."
    if beside:
        reason = reason.removesuffix(".") + ", and another call beside it has none."
    return Verdict("working", "tool", reason, "pending_call", "weak" if beside else "strong", calls[0].at)


def _gated(e: Evidence, calls: list[Call]) -> Verdict:
    """An open call that may need an approval, without a process of its own: just begun, or asking a person.

    Codex writes nothing down while it asks; the missing process is the only trace on the host.
    """
    call = calls[0]
    named = f"A call of {call.name} is open"
    if e.approvals == "never":
        return Verdict(
            "working", "tool", f"{named}; approvals are never asked.", "pending_call", "strong", call.at
        )
    if call.process == "maybe":
        reason = f"{named}; whether its process runs cannot be seen."
        return Verdict("working", "tool", reason, "pending_call", "weak", call.at)
    if call.at is None or e.now - call.at < APPROVAL_GRACE_S:
        return Verdict("working", "tool", f"{named} and has just begun.", "pending_call", "weak", call.at)
    if e.reviewer not in (None, "user"):
        reason = f"{named} without a process; its approval is asked of {e.reviewer}, not of a person."
        return Verdict("working", "tool", reason, "pending_call", "weak", call.at)
    if call.escalated and call.kind == "shell":
        reason = f"{named} that asks to leave the sandbox, and nothing runs: it waits for an approval."
        return Verdict("waiting", "approval", reason, "pending_call", "strong", call.at)
    reason = f"{named} and nothing runs for it: it probably waits for an approval."
    return Verdict("waiting", "approval", reason, "pending_call", "weak", call.at)


def _other(e: Evidence, calls: list[Call]) -> Verdict:
    waits = [c for c in calls if c.kind == "wait"]
    if waits:
        reason = f"It waits for its subagents ({waits[0].name})."
        return Verdict("working", "subagents", reason, "pending_call", "strong", waits[0].at)
    asks = calls[0].kind == "opaque" and e.approvals != "never"
    reason = f"A call of {calls[0].name} is open" + ("; it may be waiting for an approval." if asks else ".")
    return Verdict("working", "tool", reason, "pending_call", "weak" if asks else "strong", calls[0].at)


def _without_writer(e: Evidence, turn: Turn) -> Verdict:
    """No process that is seen holds the session."""
    at = turn.ended_at or e.active_at
    if turn.status == "open":
        return _open_without_writer(e)
    if e.blind == "network" and not e.one_shot:
        reason = "Its last turn is over; it is on a network file system and another host may hold it open."
        return Verdict("unknown", None, reason, "lifecycle", "weak", at)
    confidence = "weak" if e.blind or turn.doubtful else "fact"
    if turn.status == "failed":
        reason = f"Its last turn failed{_because(turn)} and its process is gone."
        return Verdict("ended", "failed", reason, "lifecycle", confidence, at)
    if turn.status == "aborted" and e.one_shot:
        return Verdict(
            "ended", "failed", "It was interrupted and its process is gone.", "lifecycle", confidence, at
        )
    how = "was interrupted" if turn.status == "aborted" else _DOUBT if turn.doubtful else "is done"
    return Verdict("ended", "ok", f"Its last turn {how} and its process is gone.", "lifecycle", confidence, at)


def _open_without_writer(e: Evidence) -> Verdict:
    if e.blind == "network":
        reason = "A turn is open, but it is on a network file system: another host may be working on it."
    elif e.blind:
        reason = "A turn is open, but processes are hidden from this reading: one of them may be working on it."
    else:
        reason = "Its process is gone in the middle of a turn."
        return Verdict("ended", "crashed", reason, "process", "strong", e.active_at)
    return Verdict("unknown", None, reason, "process", "weak", e.active_at)


def _without_lifecycle(e: Evidence) -> Verdict:
    """No line says where a turn begins or ends: nothing was asked yet, or a release before 0.101 wrote it.

    Or the turn began too far back to be read; `judge` then says so.
    """
    if e.last_actor is None and not e.calls:
        return _never_asked(e) if e.gapless else _unread(e)
    unsaid = "; this release does not record how turns begin and end." if e.gapless else "."
    if not e.live and e.blind:
        reason = "No process that holds it is seen, and not every process can be seen from here."
        return Verdict("unknown", None, reason, "process", "weak", e.active_at)
    if not e.live:
        ok = e.last_actor == "assistant" and not e.calls
        return Verdict(
            "ended", "ok" if ok else None, "Its process is gone" + unsaid, "process", "weak", e.active_at
        )
    if e.writer_at is not None and e.active_at is not None and e.writer_at > e.active_at:
        reason = "It has been opened again, and nothing was said since."
        return Verdict("idle", "turn_done", reason, "process", "weak", e.active_at)
    if e.calls:
        return msgspec.structs.replace(_open_turn(e, Turn("open")), confidence="weak")
    if e.last_actor == "assistant":
        return Verdict("idle", "turn_done", "The model spoke last" + unsaid, "lifecycle", "weak", e.active_at)
    return Verdict("working", "thinking", "The model has to answer" + unsaid, "lifecycle", "weak", e.active_at)


def _unread(e: Evidence) -> Verdict:
    return Verdict("unknown", None, "Its last turn is too long to be read.", None, "weak", e.active_at)


def _never_asked(e: Evidence) -> Verdict:
    if e.live:
        return Verdict(
            "idle", "new", "It is open and was not asked anything yet.", "process", "strong", e.active_at
        )
    if e.blind:
        reason = "It was not asked anything, and not every process can be seen from here."
        return Verdict("unknown", None, reason, "process", "weak", e.active_at)
    return Verdict(
        "ended", "ok", "It was closed before it was asked anything.", "process", "strong", e.active_at
    )


def _because(turn: Turn) -> str:
    return f" ({turn.error})" if turn.error else ""
