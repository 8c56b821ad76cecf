"""Sessions that fleet did not start: driven as far as their tool allows, else refused with what would work.

Threads of Codex's daemon can be driven in full, a terminal UI by the keys of its tmux pane. Others can only be
talked to by the program that started them.
"""

import asyncio
import itertools
import time

from fleet_agent.control import groups, targets
from fleet_agent.control.driver import Action
from fleet_agent.control.host import Asker
from fleet_agent.control.targets import Foreign
from fleet_agent.control.wire import Answer, Decide, Done, Event, Logs, Pending, Refused, Said
from fleet_agent.wire import Session

SERVERS = ("daemon", "app-server")


async def act(found: Foreign, asked: Action) -> Done | Refused:
    """Say something to it, interrupt it, answer it."""
    refused = undrivable(found)
    # What a subagent in a daemon asks is for a person to answer, though they may not talk to it.
    answered = found.kind == "daemon" and found.is_subagent and isinstance(asked, (Decide, Answer))
    if refused is not None and not answered:
        return refused
    session = found.session
    if found.kind == "daemon":
        from fleet_agent.control.appserver import foreign as threads

        return await threads.act(session.home or "", session.id, asked)
    from fleet_agent.control import tmux_runs
    from fleet_agent.control.tmux import Terminal

    assert session.pane is not None  # else it is undrivable
    terminal = Terminal(session.pane, found.holders[0], session.tool)
    return await asyncio.to_thread(tmux_runs.act, terminal, asked)


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


async def follow(found: Foreign, asker: Asker) -> Done | Refused:
    """What it says from now on, to its end."""
    if found.kind != "daemon":
        return _unwatched(found)
    from fleet_agent.control.appserver import foreign as threads

    counted = itertools.count(1)

    def say(event: Event) -> None:
        asker.say(Said(event, time.time(), next(counted)))

    return await threads.follow(found.session.home or "", found.session.id, say)


async def logs(found: Foreign, asked: Logs, asker: Asker) -> Done | Refused:
    """What it said, where its tool tells others of it."""
    if not asked.follow or asked.stderr:
        return _unwatched(found)
    following = asyncio.create_task(follow(found, asker))
    gone = asyncio.create_task(asker.gone.wait())
    await asyncio.wait([following, gone], return_when=asyncio.FIRST_COMPLETED)
    gone.cancel()
    if following.done():
        return following.result()
    following.cancel()
    return Done("not followed any more")


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
    fork = f"fork it: codex exec fork {session.id}; or stop it, and {resume}"
    if found.kind == "exec":
        return Refused("not_possible", f"{session.id} is a `codex exec`, which takes one prompt only", fork)
    if found.kind == "app-server":
        return Refused("not_possible", f"{session.id} belongs to the program that started its app-server", fork)
    return Refused(
        "not_possible", f"{session.id} is a terminal UI outside of tmux: nobody else can type there", fork
    )


def _unwatched(found: Foreign) -> Refused:
    return Refused(
        "not_possible",
        f"{found.session.id} was not started by fleet, and is not in a Codex daemon: it tells others nothing",
        f"its transcript is {found.session.transcript}" if found.session.transcript else "",
    )
