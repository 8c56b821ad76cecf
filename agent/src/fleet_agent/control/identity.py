"""Which session of its tool the terminal of a run shows. Read when it is asked for, and then kept in its facts.

Claude Code says so itself (locate.py), a Codex by the thread that it holds open. The terminal UIs of 0.163 and
later leave their threads to a daemon, and nothing of the system tells which is whose. There it is the thread
with the prompt of the run in Codex's own list of prompts, or the only one that can be this terminal's.
"""

import os
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

import msgspec

from fleet_agent import native
from fleet_agent.control import groups, locate, targets
from fleet_agent.control.groups import Started
from fleet_agent.control.store import Entry, Facts, prompt_digest
from fleet_agent.fields import count
from fleet_agent.tail import Source, lines_from
from fleet_agent.tools.codex import argv
from fleet_agent.tools.codex.holders import home_of
from fleet_agent.tools.codex.lines import thread_id
from fleet_agent.wire import Session

PROMPTS_BYTES = 4 << 20  # of the end of Codex's list of prompts
LAST_LINES = 12  # of a terminal whose program has ended
_SLACK_S = 2.0  # prompts are dated to the second
_UI = "codex-tui"  # the originator of what a terminal UI starts
_RESUME = re.compile(r"^ *(?:codex resume|claude .*--resume) ([0-9a-f-]{36})\b")


class Shown(msgspec.Struct, frozen=True):
    """A session, and the home of its tool that it is in."""

    id: str
    home: str | None = None


def refresh(entries: Iterable[Entry]) -> None:
    """Write down what the terminals of these runs show now, where that can be told."""
    found = [(entry, entry.facts()) for entry in entries]
    living = [(entry, facts) for entry, facts in found if _is_shown(facts)]
    if not living:
        return
    codex = any(facts.run.tool == "codex" for _, facts in living)
    sessions = targets.sessions() if codex else ()
    for entry, facts in living:
        taken = {other.run.id for _, other in living if other.run.name != entry.name}
        _keep(entry, facts, _shown(facts, [s for s in sessions if s.id not in taken]))


def said_at_the_end(screen: str) -> str | None:
    """The session that a tool named when it ended, for who would go on with it. Pure."""
    last = [line for line in screen.splitlines() if line.strip()][-LAST_LINES:]
    return next((thread_id(found[1]) for line in reversed(last) if (found := _RESUME.match(line))), None)


def keep_last(entry: Entry, screen: str) -> None:
    """Write down what the terminal of an ended run named at the end, if its session is not known."""
    facts = entry.facts()
    if (
        facts.run.tool in targets.SHOWN_TOOLS
        and facts.run.id is None
        and (session_id := said_at_the_end(screen))
    ):
        _keep(entry, facts, Shown(session_id, facts.run.home))


def _is_shown(facts: Facts) -> bool:
    known = facts.run.mode == "tmux" and facts.run.tool in targets.SHOWN_TOOLS
    return known and facts.supervisor is not None and facts.supervisor.lives()


def _keep(entry: Entry, facts: Facts, shown: Shown | None) -> None:
    run = facts.run
    if shown and (run.id, run.home) != (shown.id, shown.home or run.home):
        run = msgspec.structs.replace(run, id=shown.id, home=shown.home or run.home)
        with suppress(FileNotFoundError):  # it was just deleted
            entry.write_facts(msgspec.structs.replace(facts, run=run))


def _shown(facts: Facts, sessions: Sequence[Session]) -> Shown | None:
    assert facts.supervisor is not None
    # the one in the pane first: what it runs may be such a tool, too
    processes = sorted(groups.trees([facts.supervisor]), key=lambda p: p.pid != facts.run.pid)
    if facts.run.tool == "claude":
        held = (locate.claude_session(process.pid) for process in processes)
        return next((Shown(*found) for found in held if found), None)
    pids = {process.pid for process in processes}
    own = [s for s in sessions if pids & set(s.pids) and s.parent_id is None and targets.kind(s) == "tui"]
    own = [session for session in own if thread_id(session.id)]
    if own:  # the thread before a /new stays open for a minute; ids begin with the time
        newest = max(own, key=lambda session: session.id)
        return Shown(newest.id, newest.home)
    window = next((process for process in processes if _is_window(process.pid)), None)
    return _in_daemon(facts, window, sessions) if window and facts.run.id is None else None


def _is_window(pid: int) -> bool:
    """Whether a process is a terminal UI that leaves its thread to a daemon."""
    if not argv.is_codex(native.image(pid)):
        return False
    words = native.argv(pid)
    return argv.is_terminal(words) and not argv.runs_own_server(words)


def _place(pid: int) -> tuple[str, str | None]:
    """The CODEX_HOME and the directory of a process."""
    home = home_of(native.variables(pid, ("CODEX_HOME", "HOME")) or {})
    return os.path.realpath(home) if home else "", native.cwd(pid)


def _in_daemon(facts: Facts, window: Started, sessions: Sequence[Session]) -> Shown | None:
    home, cwd = _place(window.pid)
    begun = native.stat(window.pid)
    if begun is None or not home:
        return None
    possible = [s for s in sessions if _may_be(s, home, cwd, begun.created_at)]
    prompted = _prompted(facts, home)
    named = [s for s in possible if s.id in prompted]
    if len(named) == 1:
        return Shown(named[0].id, named[0].home)
    if len(possible) == 1 and possible[0].cwd == cwd and not named:
        others = (pid for pid in native.pids() if pid != window.pid and _is_window(pid))
        if not any(_place(pid) == (home, cwd) for pid in others):
            return Shown(possible[0].id, possible[0].home)
    return None


def _may_be(session: Session, home: str, cwd: str | None, begun_at: float) -> bool:
    """Whether a window of this home and directory, open since then, may have begun the session."""
    if session.parent_id is not None or targets.kind(session) != "daemon":
        return False
    if session.home is None or os.path.realpath(session.home) != home:
        return False
    if session.cwd not in (None, cwd) or session.originator not in (None, _UI):
        return False
    return begun_at - _SLACK_S <= _created_at(session.id)


def _created_at(session_id: str) -> float:
    """When a thread was created: a UUIDv7 begins with the milliseconds (RFC 9562, 5.7)."""
    plain = session_id.replace("-", "")
    return int(plain[:12], 16) / 1000 if thread_id(session_id) else 0.0


class _Prompt(msgspec.Struct):
    session_id: Any = None
    ts: Any = None
    text: Any = None


_decode = msgspec.json.Decoder(_Prompt).decode


def _prompted(facts: Facts, home: str) -> set[str]:
    """The sessions that were given the first prompt of the run since it began: $CODEX_HOME/history.jsonl."""
    if not facts.prompt_digest:
        return set()
    try:
        with Source(f"{home}/history.jsonl") as source:
            start = source.line_start(max(0, source.size - PROMPTS_BYTES))
            return {
                found for line in lines_from(source, start, source.size) if (found := _given(line.data, facts))
            }
    except OSError:
        return set()


def _given(line: bytes, facts: Facts) -> str | None:
    try:
        given = _decode(line)
    except (ValueError, RecursionError):
        return None
    late = (count(given.ts) or 0) >= facts.run.created_at - _SLACK_S
    same = isinstance(given.text, str) and prompt_digest(given.text, facts.mark) == facts.prompt_digest
    return thread_id(given.session_id) if late and same else None
