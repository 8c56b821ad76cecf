"""Evidence -> the state of a session, with the reason and how sure it is. Pure.

The best evidence comes first: what the tool's own server says; is there a live writer; what its hooks say; what
the transcript says of its last turn; open calls against live tool processes. "In progress" in a file is true
only while a process holds the file open. Whatever cannot be told apart is `weak` or `unknown`, never a sure
guess.

`working/stuck` is an open turn in which nothing has moved for `STUCK_S`: no line was written, the file was not
touched, and no process of an open call is seen. So is, at once, one whose process was stopped (Ctrl-Z): nothing
goes on until somebody lets it. A tool whose process lives is `tool`, however long it runs; a
session that waits for a person, or for its subagents, is not stuck either. (A model may think for that long
without a word in the file: then it looks stuck, and `since_at` tells since when.)

`waiting/rate_limit` is a session whose last turn failed because its account's limit is used up, while a process
holds it open and the limit has not been reset: nothing but time or a purchase lets it go on.
"""

import msgspec

from fleet_agent.evidence import Call, Evidence, Hooked, Turn, Verdict

STUCK_S = 600.0
BEGIN_S = 1.0  # from the start of a turn to its first lines; 0.05 s where nothing delays it
APPROVAL_GRACE_S = 3.0  # a tool's process is there within a second of its call; give a busy machine three
USED_UP = "usage_limit_exceeded"  # Codex's word for a limit of the account, not of the model's context
_LONG = f"{STUCK_S / 60:.0f} minutes"
_DOUBT = "ended without an answer, and this release does not record failures"
_STOPPED = "A turn is open, but its process is stopped, as by Ctrl-Z: `fg` there, or SIGCONT, lets it go on."
_WAITS = {"approval": "an approval", "question": "an answer"}
GATED = ("shell", "patch", "script")  # kinds of call for which the tool may have to ask a person first


def judge(e: Evidence) -> Verdict:
    """The state of a session of the Codex family."""
    return _told(e, e.told) if e.live and e.told else _from_files(e)


def _from_files(e: Evidence) -> Verdict:
    if not e.readable:
        return Verdict("unknown", None, "Its transcript cannot be read.", None, "weak", None)
    if e.packed:
        return _packed(e)
    if e.turn is None:
        verdict = _without_lifecycle(e)
    elif not e.live:
        verdict = _without_writer(e, e.turn)
    elif e.turn.status == "open":
        verdict = _inherited(_open_turn(e, e.turn)) if e.inherited else _open_turn(e, e.turn)
    else:
        verdict = _closed_turn(e, e.turn)
    return verdict if e.gapless or verdict.state == "unknown" else _weakened(verdict)


def _told(e: Evidence, told: str) -> Verdict:
    """The daemon has the word. The files may be a moment behind it; they add the detail where they agree."""
    if told in _WAITS:
        call = next((c for c in e.calls if (c.kind == "question") == (told == "question")), None)
        at = (call and call.at) or (e.active_at if e.turn and e.turn.status == "open" else None)
        reason = f"The Codex daemon says that it waits for {_WAITS[told]}."
        return Verdict("waiting", told, reason, "app_server", "fact", at, call)
    if told == "active":
        return _told_active(e)
    at = (e.turn and e.turn.ended_at) or e.active_at
    if told == "failed":
        turn = e.turn if e.turn and e.turn.status == "failed" else Turn("failed", ended_at=at)
        files = _failed(e, turn)
        reason = f"The Codex daemon says that {files.reason[0].lower()}{files.reason[1:]}"
        return Verdict(files.state, files.detail, reason, "app_server", "fact", at)
    return Verdict("idle", _idle_detail(e), "The Codex daemon says that it is idle.", "app_server", "fact", at)


def _told_active(e: Evidence) -> Verdict:
    """At work, and by the daemon's word not waiting for a person, whatever an open call looks like."""
    files = _from_files(e)
    says = "The Codex daemon says that it is at work"
    if files.state == "working" and e.gapless:
        reason = f"{says}: {files.reason[0].lower()}{files.reason[1:]}"
        # The daemon does not tell a compaction either: where the files do not tell it for sure, nothing does.
        sure = "weak" if e.compacting == "maybe" and not e.calls else "fact"
        return Verdict("working", files.detail, reason, "app_server", sure, files.since_at, files.call)
    if files.state != "waiting":  # a new turn that is not written down yet
        return Verdict("working", None, f"{says}.", "app_server", "fact", None)
    if e.gapless and _is_still(e):
        reason = f"{says}, but nothing has moved for more than {_LONG}."
        return Verdict("working", "stuck", reason, "app_server", "fact", e.moved_at, files.call)
    detail = "tool" if e.gapless else None  # it only looked like waiting
    return Verdict("working", detail, f"{says}.", "app_server", "fact", files.since_at, files.call)


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
        return _failed(e, turn)
    if turn.status == "aborted":
        return Verdict("idle", "aborted", "Its last turn was interrupted.", "lifecycle", "fact", at)
    return Verdict(
        "idle", "turn_done", "Its last turn is done; it is open for the next.", "lifecycle", "fact", at
    )


def _failed(e: Evidence, turn: Turn) -> Verdict:
    """Its last turn failed, and it is still open."""
    at = turn.ended_at or e.active_at
    reason = f"Its last turn failed{_because(turn)}."
    if not (turn.error or "").startswith(USED_UP) or e.one_shot:  # an HTTP status may follow
        return Verdict("idle", "failed", reason, "lifecycle", "fact", at)
    if e.limit_resets_at is not None and e.now >= e.limit_resets_at:
        reason = reason.removesuffix(".") + "; the limit has been reset since."
        return Verdict("idle", "failed", reason, "lifecycle", "fact", at)
    reason = reason.removesuffix(".") + "; it can go on once the limit is reset or raised."
    confidence = "strong" if e.limit_resets_at is None else "fact"
    return Verdict("waiting", "rate_limit", reason, "lifecycle", confidence, at)


def _open_turn(e: Evidence, turn: Turn) -> Verdict:
    """A process holds the session open and is in the middle of a turn."""
    if _is_leftover(e, turn):
        reason = "Its last turn was cut off when its process died; it has been opened again since."
        return Verdict("idle", "aborted", reason, "lifecycle", "strong", e.active_at)
    if e.stopped:
        return Verdict("working", "stuck", _STOPPED, "process", "strong", e.moved_at)
    if e.hooked:
        return _hooked(e.hooked)
    if not e.calls and _is_still(e):
        return _stuck(e, "no call is open")
    if not e.calls and e.compacting:
        return _compacting(e, turn)
    if not e.calls:
        since_at = e.resumed_at or turn.started_at or e.active_at
        reason = "A turn is running and no call is open: the model is at work."
        return Verdict("working", "thinking", reason, "lifecycle", "strong", since_at)
    for kind, judge_calls in (("question", _question), ("running", _running), ("gated", _gated)):
        calls = [c for c in e.calls if _group(c) == kind]
        if calls:
            return judge_calls(e, calls)
    return _other(e, list(e.calls))


def _hooked(hooked: Hooked) -> Verdict:
    reason = f"Codex's hook says that it waits for {_WAITS[hooked.what]}"
    reason += "." if hooked.sure else "; whether it got it since cannot be seen."
    confidence = "strong" if hooked.sure else "weak"
    return Verdict("waiting", hooked.what, reason, "hook", confidence, hooked.at, hooked.call)


def _compacting(e: Evidence, turn: Turn) -> Verdict:
    """Either nothing was said in this turn yet, or the context is full: it looks like a compaction."""
    at = e.resumed_at or turn.started_at
    if e.compacting == "likely":
        reason = "A turn is running that only counted tokens so far: the model's context is being compacted."
        return Verdict("working", "compacting", reason, "lifecycle", "strong", at)
    if at is None or (at == turn.started_at and e.now - at < BEGIN_S):
        return Verdict("working", "thinking", "A turn has just begun.", "lifecycle", "weak", at)
    reason = "A turn is running without a word: the model's context is probably being compacted."
    return Verdict("working", "compacting", reason, "lifecycle", "weak", at)


def _inherited(v: Verdict) -> Verdict:
    """Who began the turn is not written down. If that was killed, the server that holds it now does nothing."""
    if v.state == "idle" or (v.call and v.call.process == "yes"):
        return v
    reason = v.reason.removesuffix(".") + "; or another process began this turn, and was killed."
    return msgspec.structs.replace(v, confidence="weak", reason=reason)


def _is_leftover(e: Evidence, turn: Turn) -> bool:
    """Whether a process that was killed began the turn: nothing closes it when another opens the session."""
    if turn.trigger == "exec" and e.server:
        return True
    return e.writer_at is not None and turn.started_at is not None and e.writer_at > turn.started_at


def _is_still(e: Evidence) -> bool:
    return e.moved_at is not None and e.now - e.moved_at >= STUCK_S


def _stuck(e: Evidence, why: str, call: Call | None = None, confidence: str = "strong") -> Verdict:
    reason = f"A turn is running, but nothing has moved for more than {_LONG}: {why}."
    evidence = "pending_call" if call else "mtime"
    return Verdict("working", "stuck", reason, evidence, confidence, e.moved_at, call)


def _group(call: Call) -> str:
    if call.kind in GATED:
        return "running" if call.process == "yes" else "gated"
    return call.kind


def _question(_: Evidence, calls: list[Call]) -> Verdict:
    reason = f"It asked a question ({calls[0].name}) and has no answer yet."
    return Verdict("waiting", "question", reason, "pending_call", "strong", calls[0].at, calls[0])


def _running(e: Evidence, calls: list[Call]) -> Verdict:
    """A call's process is alive. Beside it another call may wait for a person: then this is not sure."""
    call = calls[0]
    beside = e.approvals != "never" and any(_group(c) in ("gated", "opaque") for c in e.calls)
    within = e.approvals != "never" and call.several and e.reviewer in (None, "user")
    long = call.at is not None and e.now - call.at >= STUCK_S
    runs = f"runs for more than {_LONG}" if long else "is running"
    reason = f"The process of a call of {call.name} {runs}"
    if beside:
        reason += ", and another call beside it has none"
    elif within:
        reason += "; another call of the same script may wait for an approval"
    confidence = "weak" if beside or within else "strong"
    return Verdict("working", "tool", f"{reason}.", "pending_call", confidence, call.at, call)


def _gated(e: Evidence, calls: list[Call]) -> Verdict:
    """An open call that may need an approval, without a process of its own: just begun, or asking a person.

    Codex writes nothing down while it asks; the missing process is the only trace on the host.
    """
    call = calls[0]
    named = f"A call of {call.name} is open"
    if call.process == "no" and _is_still(e) and (e.approvals == "never" or e.reviewer not in (None, "user")):
        return _stuck(e, f"a call of {call.name} is open, and nothing runs for it", call)
    state, detail, confidence = "working", "tool", "weak"
    if e.approvals == "never":
        reason, confidence = f"{named}; approvals are never asked.", "strong"
    elif call.process == "maybe":
        reason = f"{named}; whether its process runs cannot be seen."
    elif call.at is None or e.now - call.at < APPROVAL_GRACE_S:
        reason = f"{named} and has just begun."
    elif e.reviewer not in (None, "user"):
        reason = f"{named} without a process; its approval is asked of {e.reviewer}, not of a person."
    elif call.escalated and call.kind == "shell":
        reason = f"{named} that asks to leave the sandbox, and nothing runs: it waits for an approval."
        state, detail, confidence = "waiting", "approval", "strong"
    else:
        reason = f"{named} and nothing runs for it: it probably waits for an approval."
        state, detail = "waiting", "approval"
    return Verdict(state, detail, reason, "pending_call", confidence, call.at, call)


def _other(e: Evidence, calls: list[Call]) -> Verdict:
    call = next((c for c in calls if c.kind == "wait"), calls[0])
    if call.kind == "wait":
        reason = f"It waits for its subagents ({call.name})."
        return Verdict("working", "subagents", reason, "pending_call", "strong", call.at, call)
    if _is_still(e):
        return _stuck(e, f"a call of {call.name} is open, and what runs for it cannot be seen", call, "weak")
    asks = call.kind == "opaque" and e.approvals != "never"
    reason = f"A call of {call.name} is open" + ("; it may be waiting for an approval." if asks else ".")
    return Verdict("working", "tool", reason, "pending_call", "weak" if asks else "strong", call.at, call)


def _packed(e: Evidence) -> Verdict:
    reason = "Its transcript is compressed, as Codex does with sessions that nobody has open; it was not read."
    return Verdict("ended", None, reason, "process", "weak", e.active_at)


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
    if _is_still(e):
        return _stuck(e, "the model has to answer" + unsaid.removesuffix("."), confidence="weak")
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
