"""Runs of mode tmux, and others' sessions in a tmux pane: the verbs, in terms of `tmux`."""

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

import msgspec

from fleet_agent.control import commands, groups, locks, programs, targets, tmux
from fleet_agent.control.commands import NotPossible
from fleet_agent.control.driver import Action
from fleet_agent.control.events import Message
from fleet_agent.control.host import Host
from fleet_agent.control.store import Entry
from fleet_agent.control.tmux import Terminal
from fleet_agent.control.wire import Decide, Done, Interrupt, Pending, Refused, Reply, Said, Send, Start

LOOK_S = 0.2
_NOT_HERE = "its run was not started to its end: delete it"


def start(host: Host, entry: Entry, asked: Start, program: str, release: str | None) -> tmux.Begun:
    """Start the run in a detached tmux session, and write down where. Raises `NotPossible`."""
    command = commands.terminal_command(asked.tool, release, asked, program)
    environ = {**entry.facts().marks, "PATH": programs.path_for(program, host.environ)}
    begun = tmux.start(asked.tool, command, asked.cwd or "/", entry.name, environ=environ)
    terminal, facts = begun.terminal, entry.facts()
    run = msgspec.structs.replace(
        facts.run,
        id=asked.resume if terminal.process.lives() else None,
        pid=terminal.process.pid,
        started_ticks=terminal.process.ticks,
        pane=terminal.pane,
    )
    entry.write_facts(msgspec.structs.replace(facts, run=run))
    return begun


def of(entry: Entry) -> Terminal:
    """The terminal of a run. Raises `NotPossible`."""
    facts = entry.facts()
    if facts.run.pane is None or facts.supervisor is None:
        raise NotPossible(f"nothing is known of the terminal of {entry.name}", _NOT_HERE)
    return Terminal(facts.run.pane, facts.supervisor, facts.run.tool)


async def act(terminal: Terminal, asked: Action, root: str) -> Done | Refused:
    """Type into it, as the request wants, when nobody else does. `root`: the state directory.

    Raises `NotPossible`.
    """
    async with locks.alone(root, f"{terminal.pane.socket} {terminal.pane.id}"):
        return await asyncio.to_thread(_type, terminal, asked)


def _type(terminal: Terminal, asked: Action) -> Done | Refused:
    match asked:
        case Send():
            return tmux.send(terminal, asked.text)
        case Interrupt():
            return tmux.interrupt(terminal)
        case Decide():
            return tmux.decide(terminal, asked.decision, asked.request_id)
    hint = "attach to it, and answer in its own terminal"
    return Refused("not_possible", "questions of a terminal UI cannot be answered from outside", hint)


def settle(entry: Entry) -> None:
    """Write down how it ended, as tmux tells it, if that was not done yet."""
    facts = entry.facts()
    if facts.run.mode != "tmux" or entry.ended() or not facts.supervisor or facts.supervisor.lives():
        return
    try:
        ended = tmux.ended(of(entry))
    except NotPossible:
        return  # no server runs any more
    if ended is not None:
        entry.write_ended(ended)


def identify(entry: Entry, within_s: float) -> None:
    """Write down which session it shows, as soon as that can be told; not after `within_s` seconds."""
    from fleet_agent.control import identity

    until_s = time.monotonic() + within_s
    while True:
        identity.refresh([entry])
        run = entry.run()
        known = run.id is not None or run.tool not in targets.SHOWN_TOOLS
        if known or run.state != "running" or time.monotonic() > until_s:
            return
        time.sleep(LOOK_S)


def recall(entry: Entry) -> None:
    """Write down which session it showed at its end, where its tool has said so and that is not known."""
    from fleet_agent.control import identity

    if entry.facts().run.id is None:
        with suppress(NotPossible):
            identity.keep_last(entry, tmux.history(of(entry)))


def record(entry: Entry, environ: Mapping[str, str]) -> str | None:
    """The file in which its tool writes down the session that it shows; None if there is none yet."""
    from fleet_agent.control import identity, locate

    identity.refresh([entry])
    run = entry.facts().run
    homes = locate.homes_of(run.tool, environ)
    return locate.record(run.tool, run.id, (run.home, *homes) if run.home else homes)


def stop(entry: Entry, grace_s: float) -> list[groups.Started]:
    """End its processes; what still lives is returned. Raises `NotPossible`."""
    identify(entry, 0.0)
    left = tmux.stop(of(entry), grace_s)
    settle(entry)
    recall(entry)
    return left


def forget(entry: Entry) -> None:
    """Remove its tmux session, if there is one."""
    try:
        tmux.forget(of(entry), entry.name)
    except NotPossible:
        return


def pending(terminal: Terminal, session_id: str, cwd: str | None, name: str | None = None) -> list[Pending]:
    """The approval that it shows."""
    try:
        request = tmux.pending(terminal)
    except NotPossible:
        return []
    return [Pending(session_id, terminal.tool, request, name=name, cwd=cwd)] if request else []


def logs(terminal: Terminal, say: Callable[[Reply], None]) -> Done:
    """What its pane has shown, as one text, if it has shown anything. Raises `NotPossible`."""
    if shown := tmux.history(terminal).lstrip("\n"):
        say(Said(Message(shown), time.time()))
    return Done()
