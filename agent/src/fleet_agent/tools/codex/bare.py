"""Codex processes that hold no thread open: which of them are sessions all the same, and in which state.

    codex exec --ephemeral    writes nothing down: no lock, no rollout
    codex (0.145 and older)   before its first prompt it has no rollout, and these releases have no locks
    codex --no-daemon         shows a dialog ("Trust this folder?") before it opens its thread
    codex exec                reads its standard input to the end before it begins a thread

Terminal UIs of the daemon are none: the daemon holds their threads. Such a session's id is made of its process.
"""

import os
from collections.abc import Iterable, Sequence

from fleet_agent.evidence import Verdict
from fleet_agent.kin import Child
from fleet_agent.processes import Process
from fleet_agent.tools.codex import argv
from fleet_agent.tools.codex.holders import home_of
from fleet_agent.tools.codex.session import Thread, is_one_shot, title
from fleet_agent.wire import Session

# Codex opens its thread within a second of its start (0.6 s for 0.169 on two busy cores); a slower one is shown
# late, rather than first as a process and then as a thread.
GRACE_S = 5.0


def sessions(
    bare: Iterable[Process],
    processes: Sequence[Process],
    children: Sequence[Child],
    threads: Sequence[Thread],
    now: float,
) -> list[Session]:
    """The sessions among the processes that hold no thread.

    `processes` are all of Codex's, `children` theirs, `threads` all that were found: a process whose own thread
    has just ended is on its way out.
    """
    daemons = {_home(p) for p in processes if argv.kind(p.argv) == "daemon"}
    forks = _forks(processes, children)
    found = []
    for process in bare:
        if process.pid in forks or _has_ended(process, threads):
            continue
        own = [child for child in children if child.ppid == process.pid]
        verdict = _judge(process, own, now, daemons)
        if verdict:
            found.append(_row(process, verdict))
    return found


def _judge(process: Process, children: Sequence[Child], now: float, daemons: set[str | None]) -> Verdict | None:
    """The state of one such process; None if it is no session, or may not be one yet."""
    if argv.is_ephemeral(process.argv):
        return _ephemeral(process, children)
    if now - process.created_at < GRACE_S:
        return None
    if argv.kind(process.argv) == "exec":
        reason = "It has begun no conversation yet; it may be reading its standard input."
        return _verdict("unknown", None, reason, process.created_at)
    if process.tty is None or not argv.is_terminal(process.argv):
        return None
    return _terminal(process, daemons)


def _ephemeral(process: Process, children: Sequence[Child]) -> Verdict:
    """It is at work until it ends, and asks nobody; at what can only be guessed."""
    tools = [child for child in children if _is_tool(child, process)]
    if tools:
        reason = "It keeps no transcript; a process that a tool call started is running."
        return _verdict("working", "tool", reason, max(child.created_at for child in tools))
    reason = "It keeps no transcript; its process runs, and none of a tool call: the model is probably at work."
    return _verdict("working", "thinking", reason, process.created_at)


def _terminal(process: Process, daemons: set[str | None]) -> Verdict | None:
    """A terminal UI: before its first prompt, or only a window on a thread of a server, mostly the daemon."""
    if argv.is_remote(process.argv):
        return None
    home = _home(process)
    if not argv.runs_own_server(process.argv):
        if home in daemons:
            return None
        if home and os.path.lexists(f"{home}/app-server-daemon/daemon.pid"):
            reason = "It has no conversation of its own, and the daemon of its home is gone."
            return _verdict("unknown", None, reason, process.created_at)
    reason = "It is open and has no conversation yet: nothing was asked, or a dialog is waiting."
    return _verdict("idle", "new", reason, process.created_at)


def _verdict(state: str, detail: str | None, reason: str, since_at: float) -> Verdict:
    return Verdict(state, detail, reason, "process", "weak", since_at)


def _is_tool(child: Child, process: Process) -> bool:
    """Whether a tool call of this process started it: its thread is not one that the process inherited."""
    thread = (child.environ or {}).get("CODEX_THREAD_ID")
    return thread is not None and thread != (process.environ or {}).get("CODEX_THREAD_ID")


def _forks(processes: Sequence[Process], children: Sequence[Child]) -> set[int]:
    """Processes that Codex forked and that have not executed another program yet."""
    by_pid = {process.pid: process for process in processes}
    pairs = ((by_pid.get(child.pid), by_pid.get(child.ppid)) for child in children)
    return {own.pid for own, parent in pairs if own and parent and own.argv == parent.argv}


def _has_ended(process: Process, threads: Sequence[Thread]) -> bool:
    """Whether a thread that it may have held was active since it started and is held by nobody now."""
    home, one_shot = _home(process), argv.kind(process.argv) == "exec"
    return not argv.is_ephemeral(process.argv) and any(
        thread.holder is None and (thread.home, is_one_shot(thread)) == (home, one_shot)
        for thread in threads
        if thread.facts and (thread.facts.last_at or 0.0) >= process.created_at
    )


def _row(process: Process, verdict: Verdict) -> Session:
    name = f"pid-{process.pid}-{process.born:.0f}"
    heading, heading_source = title(None, None, process.cwd)
    return Session(
        tool="codex",
        id=name,
        state=verdict.state,
        detail=verdict.detail,
        reason=verdict.reason,
        evidence=verdict.evidence,
        confidence=verdict.confidence,
        since_at=verdict.since_at,
        root_id=name,
        title=heading,
        title_source=heading_source,
        cwd=process.cwd,
        source="exec" if argv.kind(process.argv) == "exec" else "cli",
        started_at=process.created_at,
        pids=(process.pid,),
        tty=process.tty,
        home=_home(process),
        ephemeral=argv.is_ephemeral(process.argv),
    )


def _home(process: Process) -> str | None:
    home = home_of(process.environ or {})
    return os.path.realpath(home) if home else None
