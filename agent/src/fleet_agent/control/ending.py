"""Stop, Delete, Prune."""

import asyncio
import time
from collections.abc import Callable

from fleet_agent.control import groups, relay, targets
from fleet_agent.control.host import Host
from fleet_agent.control.store import Entry, Facts
from fleet_agent.control.targets import Foreign
from fleet_agent.control.wire import Delete, Done, Prune, Refused, Reply, Stop, Target

RECORDED_S = 5.0  # how long a supervisor may take to write down how its run ended
_POLL_S = 0.02


async def stop(host: Host, asked: Stop) -> Done | Refused:
    """End all processes of one session, and no others."""
    found = await asyncio.to_thread(targets.find, host, asked.target)
    if isinstance(found, Refused):
        return found
    if isinstance(found, Foreign):
        from fleet_agent.control import foreign

        return await asyncio.to_thread(foreign.stop, found, asked.grace_s)
    return await stop_run(found, asked.grace_s)


async def stop_run(entry: Entry, grace_s: float) -> Done | Refused:
    """Its supervisor is asked to; what then is left, or has no supervisor any more, is ended from here."""
    facts = entry.facts()
    had_some = bool(_living(facts.supervisor)) or bool(facts.processes())
    left = await (_end_terminal if facts.run.mode == "tmux" else _end_watched)(entry, facts, grace_s)
    if left:
        pids = ", ".join(str(process.pid) for process in left)
        return Refused("timeout", f"of {entry.name} these do not end: {pids}", "see ps: whose are they?")
    return Done("stopped" if had_some else "it had ended before")


async def _end_watched(entry: Entry, facts: Facts, grace_s: float) -> list[groups.Started]:
    watched = bool(_living(facts.supervisor))
    if watched:
        timeout_s = grace_s + groups.KILL_S + RECORDED_S
        await relay.ask(entry, Stop(Target(name=entry.name), grace_s), timeout_s)
    left = await asyncio.to_thread(groups.end, facts.processes, grace_s)
    if watched and not left and not await _recorded(entry, facts):
        left = await asyncio.to_thread(groups.end, lambda: _living(facts.supervisor), grace_s)
    return left


async def _end_terminal(entry: Entry, facts: Facts, grace_s: float) -> list[groups.Started]:
    from fleet_agent.control import tmux_runs

    return await asyncio.to_thread(tmux_runs.stop, entry, grace_s) if _living(facts.supervisor) else []


async def delete(host: Host, asked: Delete) -> Done | Refused:
    """Forget a run, its logs with it."""
    entry = targets.find_run(host.store, asked.target)
    if entry is None:
        return Refused("unknown_session", "only runs that fleet started can be deleted", "see fleet ps")
    if isinstance(entry, Refused):
        return entry
    if entry.run().state == "running":
        if not asked.stop:
            return Refused(
                "not_possible", f"{entry.name} is running", "stop it first, or delete it with --stop"
            )
        stopped = await stop(host, Stop(asked.target))
        if isinstance(stopped, Refused):
            return stopped
    forget(host, entry)
    return Done()


def prune(host: Host, asked: Prune, say: Callable[[Reply], None]) -> Done:
    """Forget what has ended long enough ago. Of a lost run nobody knows the end: its start counts."""
    now, count = time.time(), 0
    host.store.sweep(now)
    for entry in host.store.entries():
        run = entry.run(now)
        if run.state == "running" or (run.ended_at or run.created_at) > now - asked.older_s:
            continue
        forget(host, entry)
        say(run)
        count += 1
    return Done(f"{count} deleted")


def forget(host: Host, entry: Entry) -> None:
    """Remove all that is left of a run that has ended."""
    if entry.facts().run.mode == "tmux":
        from fleet_agent.control import tmux_runs

        tmux_runs.forget(entry)
    host.store.delete(entry)


def _living(process: groups.Started | None) -> list[groups.Started]:
    return [process] if process is not None and process.lives() else []


async def _recorded(entry: Entry, facts: Facts) -> bool:
    """Whether its end was written down, and its supervisor has gone."""
    until_s = time.monotonic() + RECORDED_S
    while time.monotonic() < until_s:
        if not _living(facts.supervisor):
            return entry.ended() is not None
        await asyncio.sleep(_POLL_S)
    return False
