"""Sessions that fleet did not start: driven as far as their tool allows, else refused with what would work.

Threads of Codex's daemon can be driven in full, a terminal UI by the keys of its tmux pane. Others can only be
talked to by the program that started them.
"""

import asyncio
import os
import time
from collections.abc import Callable

from fleet_agent.control import following, groups, locate, targets
from fleet_agent.control.driver import Action
from fleet_agent.control.events import ApprovalRequested, Asked, Event, Resolved
from fleet_agent.control.host import Asker, Host
from fleet_agent.control.targets import Foreign
from fleet_agent.control.wire import Answer, Attach, Decide, Done, Logs, Pending, Refused, Said
from fleet_agent.wire import Session

SERVERS = ("daemon", "app-server")
UNRECORDED = (ApprovalRequested, Asked, Resolved)  # what a daemon tells and never writes down


async def act(found: Foreign, asked: Action, root: str) -> Done | Refused:
    """Say something to it, interrupt it, answer it. `root`: the state directory."""
    refused = undrivable(found)
    # What a subagent in a daemon asks is for a person to answer, though they may not talk to it.
    answered = found.kind == "daemon" and found.is_subagent and isinstance(asked, (Decide, Answer))
    if refused is not None and not answered:
        return refused
    session = found.session
    if found.kind == "daemon":
        from fleet_agent.control.appserver import foreign as threads

        return await threads.act(session.home or "", session.id, asked, root)
    from fleet_agent.control import tmux_runs
    from fleet_agent.control.tmux import Terminal

    assert session.pane is not None  # else it is undrivable
    terminal = Terminal(session.pane, found.holders[0], session.tool)
    return await tmux_runs.act(terminal, asked, root)


async def pending() -> tuple[list[Pending], list[str]]:
    """The approvals and questions that are open in Codex's daemons and in tmux panes; and what was not told."""
    from fleet_agent.control.appserver import foreign as threads

    sessions = await asyncio.to_thread(targets.sessions)
    homes = {session.home for session in sessions if session.home and targets.kind(session) == "daemon"}
    found, problems = await threads.pending(homes)
    shown = [await asyncio.to_thread(_shown, session) for session in sessions if _may_show(session)]
    return found + [pending for some in shown for pending in some], problems


def _may_show(session: Session) -> bool:
    in_tmux = session.pane is not None and session.pane.kind == "tmux"
    return in_tmux and session.state in ("working", "waiting") and targets.kind(session) == "tui"


def _shown(session: Session) -> list[Pending]:
    from fleet_agent.control import tmux_runs
    from fleet_agent.control.tmux import Terminal

    process = groups.started(session.pids[0])
    if process is None or session.pane is None:
        return []
    terminal = Terminal(session.pane, process, session.tool)
    return tmux_runs.pending(terminal, session.id, session.cwd)


async def follow(host: Host, found: Foreign, asked: Attach, asker: Asker) -> Done | Refused:
    """What it says from now on, to its end: of a daemon's as it is said, of others as it is written down."""
    if found.kind != "daemon":
        return await _recorded(host, found, asked, asker)
    return await _listen(found, lambda event: asker.say(Said(event, time.time())))


async def logs(host: Host, found: Foreign, asked: Logs, asker: Asker) -> Done | Refused:
    """What it has said, as its tool has written it down; else what its terminal shows."""
    if asked.stderr:
        message = f"{found.session.id} was not started by fleet: what it writes to stderr goes elsewhere"
        return Refused("not_possible", message, "without --stderr you see what it said")
    if found.kind != "daemon" or not asked.follow:
        return await _recorded(host, found, asked, asker)

    def say(event: Event) -> None:
        if isinstance(event, UNRECORDED):
            asker.say(Said(event, time.time()))

    listening = asyncio.create_task(_listen(found, say))
    try:
        return await _recorded(host, found, asked, asker, lambda: _still_there(listening))
    finally:
        listening.cancel()


def _still_there(listening: "asyncio.Task[Done | Refused]") -> bool:
    """Unless its daemon has told of its end. Of one that cannot be listened to, the record goes on."""
    return not (listening.done() and isinstance(listening.result(), Done))


async def _listen(found: Foreign, say: Callable[[Event], None]) -> Done | Refused:
    from fleet_agent.control.appserver import foreign as threads

    return await threads.follow(found.session.home or "", found.session.id, say)


async def _recorded(
    host: Host,
    found: Foreign,
    asked: Logs | Attach,
    asker: Asker,
    is_open: Callable[[], bool] = lambda: True,
) -> Done | Refused:
    """What is in its record, and what is added to it while it lives, if that is asked for."""
    follow = isinstance(asked, Attach) or asked.follow

    def lives() -> bool:
        return follow and is_open() and any(holder.lives() for holder in found.holders)

    path = await following.found(lambda: _record(host, found), lives, asker, wait=follow)
    if path is None:
        return await asyncio.to_thread(_screen, found, asker)
    with following.opened(path, found.session.tool, asked) as record:
        return await following.told(following.sender(record, asker), lives, asker)


def _record(host: Host, found: Foreign) -> str | None:
    session = found.session
    if session.transcript and os.path.exists(session.transcript):
        return session.transcript
    homes = locate.homes_of(session.tool, host.environ)
    return locate.record(session.tool, session.id, (session.home, *homes) if session.home else homes)


def _screen(found: Foreign, asker: Asker) -> Done | Refused:
    """What its pane shows, where nothing was written down. Raises `NotPossible`."""
    session = found.session
    if session.pane is None or session.pane.kind != "tmux" or not found.holders:
        message = f"nothing is written down of {session.id}, and it is in no tmux pane"
        why = "its tool keeps no record of it" if session.ephemeral else "it may not have said anything yet"
        return Refused("not_possible", message, why)
    from fleet_agent.control import tmux_runs
    from fleet_agent.control.tmux import Terminal

    return tmux_runs.logs(Terminal(session.pane, found.holders[0], session.tool), asker.say)


def stop(found: Foreign, grace_s: float) -> Done | Refused:
    """End the processes that hold it and all below them; never a server that holds other sessions too."""
    session = found.session
    if found.is_subagent:
        message = f"{session.id} is a subagent: its process is that of the session above it"
        return Refused("not_possible", message, f"stop {session.root_id or session.parent_id}")
    if found.kind in SERVERS or found.others:
        held = f", which holds {len(found.others) + 1} sessions" if found.others else ""
        message = f"{session.id} runs in a {found.kind or 'process'}{held}: that is not ended for one of them"
        return Refused("not_possible", message, "interrupt it instead: its turn ends, all else goes on")
    if not any(holder.lives() for holder in found.holders):
        return Done("it had ended before")
    left = groups.end(lambda: groups.trees(found.holders), grace_s)
    if left:
        pids = ", ".join(str(process.pid) for process in left)
        return Refused("timeout", f"these processes do not end: {pids}", "see ps: whose are they?")
    return Done("stopped")


def undrivable(found: Foreign) -> Refused | None:
    """Why nothing can be said to this session, and what would work; None if it can. Pure."""
    session = found.session
    resume = f"start another that resumes it: fleet run --resume {session.id}"
    if found.is_subagent:
        message = f"{session.id} is a subagent: only the session above it may talk to it"
        return Refused("not_possible", message, f"send to {session.root_id or session.parent_id}")
    if not found.holders:
        return Refused("not_possible", f"{session.id} has ended", resume)
    if found.kind == "daemon" or (session.pane is not None and session.pane.kind == "tmux"):
        return None
    fork = f"go on with a copy of it: fleet run --fork {session.id}; or stop it, and {resume}"
    if found.kind == "exec":
        return Refused("not_possible", f"{session.id} is a `codex exec`, which takes one prompt only", fork)
    if found.kind == "app-server":
        return Refused("not_possible", f"{session.id} belongs to the program that started its app-server", fork)
    return Refused(
        "not_possible", f"{session.id} is a terminal UI outside of tmux: nobody else can type there", fork
    )
