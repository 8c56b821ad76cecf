"""The facts of one thread -> its row in the snapshot. Pure."""

from functools import lru_cache

import msgspec

from fleet_agent.evidence import Call, Evidence, Verdict
from fleet_agent.processes import Process
from fleet_agent.redact import headline, redact
from fleet_agent.tools.codex import argv, limits
from fleet_agent.tools.codex.holders import Holder
from fleet_agent.tools.codex.hooks.expiry import Asked, with_asked
from fleet_agent.tools.codex.lines import Meta
from fleet_agent.tools.codex.rollout import Rollout
from fleet_agent.tools.codex.usage import Usage
from fleet_agent.wire import CurrentTool, Plan, Session

MAX_TITLE_CHARS = 200
_OWN_WRITERS = ("cli", "exec")  # sources of threads that began in a process of their own, not in a server


class Thread(msgspec.Struct, frozen=True):
    """Everything that was read of one thread. `holder` is None when no process holds it open.

    `calls` are the open calls of `facts`, with what was seen of their processes. `told` is the Codex daemon's
    word for its state, `asked` what its hooks recorded last. `writer_at`: when the first of its
    processes began. `stopped`: they are, as by Ctrl-Z; told in mid-turn alone.
    """

    id: str
    home: str | None
    path: str | None = None
    holder: Holder | None = None
    facts: Rollout | None = None
    calls: tuple[Call, ...] = ()
    readable: bool = True
    gone: bool = False
    behind: bool = False
    packed: bool = False
    stopped: bool = False
    writer_at: float | None = None
    modified_at: float | None = None
    size_bytes: int | None = None
    grown_bytes: int | None = None
    show_steps: bool = False
    name: str | None = None
    prompt: str | None = None
    told: str | None = None
    asked: Asked | None = None
    usage: Usage = Usage()
    readings: int = 0  # of its file, so far

    @property
    def is_settled(self) -> bool:
        """Whether nothing about it changes with time alone: it is open, and its turn was brought to an end."""
        turn = self.facts.turn if self.facts else None
        return bool(self.holder and self.readable and turn and turn.status in ("complete", "aborted"))

    @property
    def meta(self) -> Meta:
        """Who it is; empty before its first line is written."""
        return self.facts.meta if self.facts else Meta()

    @property
    def cwd(self) -> str | None:
        """Its directory. A daemon's own directory says nothing about its threads."""
        if self.facts and self.facts.cwd:
            return self.facts.cwd
        return next((p.cwd for p in self.writers if argv.kind(p.argv) in ("tui", "exec")), None)

    @property
    def writers(self) -> list[Process]:
        """The processes that hold it open."""
        return self.holder.processes if self.holder else []

    @property
    def started_at(self) -> float | None:
        """When the conversation began, in epoch seconds."""
        return self.meta.started_at or created_at(self.id)


def evidence(thread: Thread, now: float, blind: str | None) -> Evidence:
    """What is known about the state of a thread."""
    facts = thread.facts
    server = any(argv.kind(process.argv) in ("app-server", "daemon") for process in thread.writers)
    found = Evidence(
        now=now,
        live=thread.holder is not None,
        readable=thread.readable,
        turn=facts.turn if facts else None,
        calls=thread.calls,
        last_actor=facts.last_actor if facts else None,
        active_at=(facts.last_at if facts else None) or thread.modified_at or thread.started_at,
        resumed_at=facts.resumed_at if facts else None,
        compacting=facts.compaction.sign if facts else None,
        approvals=facts.approvals if facts else None,
        reviewer=facts.reviewer if facts else None,
        writer_at=thread.writer_at or min((process.created_at for process in thread.writers), default=None),
        one_shot=is_one_shot(thread),
        server=server,
        inherited=server and thread.meta.source in _OWN_WRITERS,
        blind=blind,
        gapless=(facts is None or facts.gapless) and not thread.behind,
        told=thread.told,
        moved_at=_moved_at(thread),
        limit_resets_at=_limit_resets_at(facts) if facts else None,
        packed=thread.packed,
        stopped=thread.stopped,
    )
    return with_asked(found, thread.asked)


def _moved_at(thread: Thread) -> float | None:
    """When a line was written, the file was touched or its process began; whatever was last."""
    line_at = thread.facts.last_at if thread.facts else None
    times = [line_at, thread.modified_at, *(process.created_at for process in thread.writers)]
    return max((at for at in times if at is not None), default=None)


def _limit_resets_at(facts: Rollout) -> float | None:
    """When the limit on which its last turn failed is reset, by what that turn was told."""
    begun_at = facts.turn.started_at if facts.turn else None
    return limits.resets_at(w for w in facts.limits if begun_at is None or w.observed_at >= begun_at)


def is_one_shot(thread: Thread) -> bool:
    """Whether its process is a `codex exec`, or was: then the file must tell, from 0.163 on of each turn."""
    if thread.writers:
        return any(argv.kind(process.argv) == "exec" for process in thread.writers)
    turn = thread.facts.turn if thread.facts else None
    if turn and turn.trigger in ("exec", "user"):
        return turn.trigger == "exec"
    return thread.meta.source == "exec" or thread.meta.originator == "codex_exec"


def session(thread: Thread, verdict: Verdict) -> Session:
    """The row of a thread."""
    facts, meta, call = thread.facts, thread.meta, verdict.call
    heading, heading_source = title(thread.name, thread.prompt, thread.cwd)
    last_activity_at = (facts.last_at if facts else None) or thread.modified_at
    return Session(
        tool="codex",
        id=thread.id,
        state=verdict.state,
        detail=verdict.detail,
        reason=verdict.reason,
        evidence=verdict.evidence,
        confidence=verdict.confidence,
        since_at=verdict.since_at,
        root_id=meta.root_id,
        parent_id=meta.parent_id,
        forked_from_id=meta.forked_from_id,
        title=heading,
        title_source=heading_source,
        cwd=thread.cwd,
        model=facts.model if facts else None,
        tool_version=meta.version,
        source=meta.source,
        originator=meta.originator,
        started_at=thread.started_at,
        last_activity_at=last_activity_at,
        ended_at=(verdict.since_at or last_activity_at) if verdict.state == "ended" else None,
        tokens=thread.usage.tokens,
        usage_confidence=thread.usage.confidence,
        turns=thread.usage.turns,
        compactions=thread.usage.compactions,
        context_used_tokens=facts.context_used if facts else None,
        context_window_tokens=facts.context_window if facts else None,
        pids=tuple(process.pid for process in thread.writers),
        tty=next((process.tty for process in thread.writers if process.tty), None),
        home=thread.home,
        transcript=thread.path,
        transcript_bytes=thread.size_bytes,
        grown_bytes=thread.grown_bytes,
        nickname=meta.nickname,
        role=meta.role,
        effort=facts.effort if facts else None,
        provider=facts.provider if facts else None,
        approval_policy=facts.approvals if facts else None,
        sandbox=facts.sandbox if facts else None,
        branch_at_start=meta.branch,
        tool_call=CurrentTool(call.name, call.at) if call else None,
        plan=_plan(facts.plan, thread.show_steps) if facts else None,
        last_error=facts.last_error if facts else None,
    )


def _plan(plan: Plan | None, show_steps: bool) -> Plan | None:
    if plan is None or show_steps or plan.current is None:
        return plan
    return msgspec.structs.replace(plan, current=None)


@lru_cache(maxsize=512)
def title(name: str | None, prompt: str | None, cwd: str | None) -> tuple[str | None, str | None]:
    """What to call a thread, and where that comes from: name | prompt | directory."""
    clean = redact(cwd or "")  # whole: the last part of a secret with a slash in it does not look like one
    directory = clean.rstrip("/").rpartition("/")[2] or clean
    for found, source in ((name, "name"), (prompt, "prompt"), (directory, "directory")):
        heading = headline(found, MAX_TITLE_CHARS) if found else ""
        if heading:
            return heading, source
    return None, None


def created_at(thread_id: str) -> float | None:
    """When a thread id was made, from its UUIDv7 (RFC 9562: milliseconds in the first 48 bits)."""
    return int(thread_id[:8] + thread_id[9:13], 16) / 1000 if thread_id[14] == "7" else None
