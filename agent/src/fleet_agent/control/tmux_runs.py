"""Runs of mode tmux, and others' sessions in a tmux pane: the verbs, in terms of `tmux`."""

import time
from collections.abc import Callable

import msgspec

from fleet_agent.control import commands, groups, programs, tmux
from fleet_agent.control.commands import NotPossible
from fleet_agent.control.driver import Action
from fleet_agent.control.host import Host
from fleet_agent.control.store import Entry
from fleet_agent.control.tmux import Terminal
from fleet_agent.control.wire import (
    MAX_OUTPUT_CHARS,
    Decide,
    Done,
    Interrupt,
    Message,
    Pending,
    Refused,
    Reply,
    Said,
    Send,
    Start,
)

_NOT_HERE = "its run was not started to its end: delete it"


def start(host: Host, entry: Entry, asked: Start, program: str, release: str | None) -> tmux.Begun:
    """Start the run in a detached tmux session, and write down where. Raises `NotPossible`."""
    command = commands.terminal_command(asked.tool, release, asked, program)
    environ = {**entry.facts().marks, "PATH": programs.path_for(program, host.environ)}
    begun = tmux.start(asked.tool, command, asked.cwd or "/", entry.name, environ=environ)
    terminal, facts = begun.terminal, entry.facts()
    run = msgspec.structs.replace(
        facts.run,
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


def act(terminal: Terminal, asked: Action) -> Done | Refused:
    """Type into it, as the request wants. Raises `NotPossible`."""
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


def stop(entry: Entry, grace_s: float) -> list[groups.Started]:
    """End its processes; what still lives is returned. Raises `NotPossible`."""
    left = tmux.stop(of(entry), grace_s)
    settle(entry)
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


def logs(entry: Entry, say: Callable[[Reply], None]) -> Done:
    """What its pane has shown, as one text. Raises `NotPossible`."""
    say(Said(Message(tmux.history(of(entry))[-MAX_OUTPUT_CHARS:]), time.time()))
    return Done()
