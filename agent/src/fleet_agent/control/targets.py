"""Which session a request means: a run of ours, or one that fleet did not start. Exact, never a guess."""

from collections.abc import Mapping

import msgspec

from fleet_agent import native
from fleet_agent.control import locate
from fleet_agent.control.groups import Started, started
from fleet_agent.control.host import Host
from fleet_agent.control.store import Entry, Store
from fleet_agent.control.wire import Refused, Target
from fleet_agent.scan import Scanner
from fleet_agent.tools import tools
from fleet_agent.tools.codex import argv
from fleet_agent.wire import Session

MAX_CANDIDATES = 20
SHOWN_TOOLS = ("codex", "claude")  # of which it can be told what session a terminal shows (identity.py)
GIT_WAIT_S = 0.0


class Foreign(msgspec.Struct, frozen=True):
    """A session that is no run of ours, as a reading made just now found it.

    `holders`: the processes that hold it, as they were started. `kind` of the first of them: tui | exec |
    app-server | daemon; None where it has none. `others`: sessions of other trees that the same processes hold.
    """

    session: Session
    holders: tuple[Started, ...] = ()
    kind: str | None = None
    others: tuple[str, ...] = ()

    @property
    def is_subagent(self) -> bool:
        """Whether another session runs it. Those are never sent to."""
        return self.session.parent_id is not None


def find(host: Host, target: Target) -> Entry | Foreign | Refused:
    """The one session that `target` names, held by the processes that the asker saw; else why not."""
    found = find_run(host.store, target)
    if isinstance(found, Refused) or (isinstance(found, Entry) and _is_it(found, target)):
        return found if isinstance(found, Refused) else _checked(found, target)
    # A session that once was a run of ours may be open in another process now.
    foreign = _find_foreign(target)
    if foreign is not None and (foreign.holders or found is None):
        return _checked_foreign(foreign, target)
    return _unknown(host.store, target) if found is None else _checked(found, target)


def seen(host: Host, target: Target) -> Foreign | Refused:
    """The session that no run of ours has, to be read: whoever holds it now, and long after it has ended."""
    among = sessions()
    pids = {pid for session in among if session.id == target.id for pid in session.pids}
    now = {pid: process for pid in pids if (process := started(pid))}  # nothing is signalled
    found = foreign_of(among, target, now) or _recorded(host, target, among)
    return _unknown(host.store, target) if found is None else found


def _recorded(host: Host, target: Target, among: tuple[Session, ...]) -> Foreign | None:
    """A session that is not listed any more, or never was, but is written down."""
    homes = {s.home: None for s in among if s.tool == target.tool and s.home}
    places = (*locate.homes_of(target.tool, host.environ), *homes)
    path = locate.record(target.tool, target.id, places)
    if path is None or target.id is None:
        return None
    holder = locate.claude_process(target.id, places) if target.tool == "claude" else None
    return Foreign(Session(target.tool, target.id, transcript=path), (holder,) if holder else ())


def find_run(store: Store, target: Target) -> Entry | Refused | None:
    """The run that `target` names; the newest, running before ended, of several with one session id."""
    if target.name is not None:
        entry = store.entry(target.name)
        if entry is None:
            return _unknown(store, target)
        if target.id not in (None, entry.facts().run.id):
            identify([entry])
        known_id = entry.facts().run.id
        if target.id is not None and known_id not in (None, target.id):
            return Refused("stale", f"{target.name} is not the run that was seen: its session is {known_id}")
        return entry
    if target.id is None:
        return Refused("bad_request", "the target has neither a name nor an id")
    running, ended = _runs_of(store, target)
    if not running and target.tool in SHOWN_TOOLS:
        identify(store.entries())
        running, ended = _runs_of(store, target)
    return next(iter(running or ended), None)


def _runs_of(store: Store, target: Target) -> tuple[list[Entry], list[Entry]]:
    """The runs that have the session, newest first: those that run, and those that have ended."""
    runs = [(entry, entry.run()) for entry in store.entries()]
    same = [(entry, run) for entry, run in runs if run.id == target.id and run.tool == target.tool]
    running = [entry for entry, run in same if run.state == "running"]
    return running, [entry for entry, run in same if run.state != "running"]


def identify(entries: list[Entry]) -> None:
    """Write down which sessions the terminals among these show now: they come to others while they run."""
    if any(entry.facts().run.mode == "tmux" for entry in entries):
        from fleet_agent.control import identity

        identity.refresh(entries)


def pids_of(entry: Entry) -> set[int]:
    """Its supervisor, and all that belongs to it now."""
    facts = entry.facts()
    found = {process.pid for process in facts.processes()}
    return found | ({facts.supervisor.pid} if facts.supervisor and facts.supervisor.lives() else set())


def _is_it(entry: Entry, target: Target) -> bool:
    return target.name is not None or entry.run().state == "running"


def _checked(entry: Entry, target: Target) -> Entry | Refused:
    unexpected = set(target.pids) - pids_of(entry) if target.pids else set()
    run = entry.facts().run
    if unexpected and run.id is not None:  # it may run in a server that is not its own
        unexpected -= {pid for s in sessions() if (s.tool, s.id) == (run.tool, run.id) for pid in s.pids}
    if not unexpected:
        return entry
    return Refused("stale", f"{entry.name} is not held by {_pids(unexpected)} any more", "look again")


def _checked_foreign(foreign: Foreign, target: Target) -> Foreign | Refused:
    now = {holder.pid for holder in foreign.holders}
    if set(target.pids) == now:
        return foreign
    held = f"is held by {_pids(now)}" if now else "has ended"
    seen = f"not by {_pids(target.pids)}" if target.pids else "and was seen without a process"
    return Refused("stale", f"{foreign.session.id} {held} now, {seen}", "look again")


def _find_foreign(target: Target) -> Foreign | None:
    # Before the reading: a pid that was reused in between is then a process of another start.
    before = {pid: process for pid in target.pids if (process := started(pid))}
    return foreign_of(sessions(), target, before)


def sessions() -> tuple[Session, ...]:
    """All sessions of this host, by a reading made now."""
    scanner = Scanner(tools("meta"), git_wait_s=GIT_WAIT_S)  # nobody waits here for whole accounts of tokens
    try:
        return scanner.scan().sessions
    finally:
        scanner.close()


def foreign_of(among: tuple[Session, ...], target: Target, before: Mapping[int, Started]) -> Foreign | None:
    """The session of that tool and id among those of a reading. `before`: processes as they were before it."""
    session = next((s for s in among if s.id == target.id and s.tool == target.tool), None)
    if session is None:
        return None
    holders = tuple(before.get(pid) or Started(pid, -1) for pid in session.pids)
    root = session.root_id or session.id
    others = tuple(s.id for s in among if (s.root_id or s.id) != root and set(s.pids) & set(session.pids))
    return Foreign(session, holders, kind(session), others)


def kind(session: Session) -> str | None:
    """What holds a session: tui | exec | app-server | daemon; None if nothing does, or nobody can tell."""
    if session.tool != "codex" or not session.pids:
        return None
    return argv.kind(native.argv(session.pids[0]))


def _unknown(store: Store, target: Target) -> Refused:
    wanted = target.name or target.id or ""
    names = [entry.name for entry in store.entries()]
    alike = [name for name in names if name[:2] == wanted[:2]] or names
    return Refused(
        "unknown_session",
        f"no session {wanted} of {target.tool} here" if target.name is None else f"no run named {wanted} here",
        "see fleet ps and fleet status",
        tuple(alike[:MAX_CANDIDATES]),
    )


def _pids(pids: "set[int] | tuple[int, ...]") -> str:
    return ("process " if len(pids) == 1 else "processes ") + ", ".join(map(str, sorted(pids)))
