"""Send, Interrupt, Decide, Answer to one session; Approvals of all of them."""

import asyncio
from collections.abc import Callable, Mapping

import msgspec

from fleet_agent.control import relay, targets
from fleet_agent.control.driver import Action
from fleet_agent.control.host import Host
from fleet_agent.control.store import Entry
from fleet_agent.control.targets import Foreign
from fleet_agent.control.wire import Answer, Approvals, Decide, Done, Pending, Refused, Reply, Target

GATHER_S = 5.0  # for one run to say what it waits for


async def act(host: Host, asked: Action) -> Done | Refused:
    """To a run through its supervisor, to others as their tool allows."""
    found = await asyncio.to_thread(targets.find, host, asked.target)
    if isinstance(found, Refused):
        return found
    if isinstance(found, Foreign):
        from fleet_agent.control import foreign

        return await foreign.act(found, asked, host.store.root)
    run = found.run()
    if run.state != "running":
        session = f"resume session {run.id} to go on with it" if run.id else "start another"
        return Refused("stale", f"{run.name} has ended", session)
    if run.mode == "tmux":
        return await _act_on_terminal(host, found, asked)
    return _last(await relay.ask(found, asked))


async def _act_on_terminal(host: Host, entry: Entry, asked: Action) -> Done | Refused:
    """By its keys; what a Codex daemon asks in it is answered there, for it is what `approvals` has told."""
    run = entry.run()
    if isinstance(asked, (Decide, Answer)) and run.id is not None:
        session = await asyncio.to_thread(targets.seen, host, Target(run.tool, run.id))
        if isinstance(session, Foreign) and session.kind == "daemon":
            from fleet_agent.control import foreign

            return await foreign.act(session, asked, host.store.root)
    from fleet_agent.control import tmux_runs

    return await tmux_runs.act(tmux_runs.of(entry), asked, host.store.root)


async def approvals(host: Host, say: Callable[[Reply], None]) -> Done:
    """Every approval and question that is open on this host, oldest first."""
    from fleet_agent.control import foreign

    running = [entry for entry in host.store.entries() if entry.run().state == "running"]
    await asyncio.to_thread(targets.identify, running)
    told = await asyncio.gather(*(_pending(entry) for entry in running))
    others, problems = await foreign.pending()
    ids = {one.request.request_id: one.session_id for one in others}
    ours = [_with_session(pending, ids) for some, _ in told for pending in some]
    names = {run.id: run.name for entry in running if (run := entry.run()).id is not None}
    found = _each_once(ours, others, names)
    for pending in sorted(found, key=lambda pending: pending.since_at or 0.0):
        say(pending)
    return Done("; ".join([*(problem for _, problem in told if problem), *problems]))


def _each_once(ours: list[Pending], others: list[Pending], names: Mapping[str, str]) -> list[Pending]:
    """Without what two have told. `names`: of the runs that have a session.

    A terminal shows what its daemon asks, too: that is told, and answered, by the daemon's own id. Pure.
    """
    asked = {(one.session_id, one.request.request_id) for one in others}
    sessions = {one.session_id for one in others}
    kept = [p for p in ours if p.session_id not in sessions or (p.session_id, p.request.request_id) in asked]
    known = {(pending.session_id, pending.request.request_id) for pending in kept}
    rest = (one for one in others if (one.session_id, one.request.request_id) not in known)
    return kept + [msgspec.structs.replace(one, name=one.name or names.get(one.session_id)) for one in rest]


def _with_session(pending: Pending, ids: Mapping[str, str]) -> Pending:
    """A terminal does not tell which session it shows; a reading of the host may, for the same request."""
    session_id = pending.session_id or ids.get(pending.request.request_id, "")
    return msgspec.structs.replace(pending, session_id=session_id)


async def _pending(entry: Entry) -> tuple[list[Pending], str]:
    """What one run waits for; and why that is not known."""
    run = entry.run()
    if run.mode == "exec":
        return [], ""  # it asks nothing
    if run.mode == "tmux":
        from fleet_agent.control import tmux_runs

        terminal = tmux_runs.of(entry)
        return await asyncio.to_thread(tmux_runs.pending, terminal, run.id or "", run.cwd, run.name), ""
    replies = await relay.ask(entry, Approvals(), GATHER_S)
    found = [reply for reply in replies if isinstance(reply, Pending)]
    return found, replies[-1].message if isinstance(replies[-1], Refused) else ""


def _last(replies: list[Reply]) -> Done | Refused:
    last = replies[-1]
    assert isinstance(last, (Done, Refused))  # relay.ask sees to it
    return last
