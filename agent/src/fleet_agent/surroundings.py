"""What the machine knows of a session, whatever its tool: its processes, its repository, its terminal.

`cpu_percent` and `rss_bytes` are of the tool's process with all that it started. Where one process holds
several sessions that are no family, they are of what the session itself started, None as long as it started
nothing: nobody can tell the rest apart. Memory that processes share is counted in each of them.

The processes that a tool runs for itself, such as a sandbox around a command, count in both figures but are no
`children`: nobody asked for them. MCP servers are: somebody configured them, and they may listen.
"""

import time
from collections.abc import Callable, Mapping

import msgspec

from fleet_agent import panes, trees
from fleet_agent.cpu import Use, used_s
from fleet_agent.kin import Child
from fleet_agent.ports import Ports, PortsOf
from fleet_agent.processes import Process, ProcessTable
from fleet_agent.procfs import Stat
from fleet_agent.repositories import Repositories, Repository
from fleet_agent.tools import Tool
from fleet_agent.trees import Forest
from fleet_agent.wire import MAX_CHILDREN, MAX_PORTS, OrphanPort, Pane, Session
from fleet_agent.wire import Child as Listed

VARIABLES = panes.VARIABLES  # of the environment of tools' processes
MAX_ID_CHARS = 200  # of what an environment claims


class _Live(msgspec.Struct, frozen=True):
    """What one reading found of all processes that matter. `held`: of each session id, root and pids."""

    held: tuple[tuple[str, str | None, tuple[int, ...]], ...]
    processes: Mapping[int, Process]
    kin: Mapping[int, Child]
    stats: Mapping[int, Stat]
    ports: PortsOf


class _Row(msgspec.Struct, frozen=True):
    """A session with what is around it, and what that was made of."""

    session: Session
    live: _Live
    repository: Repository | None
    cpu_percent: float | None
    full: Session


class Surroundings:
    """Adds these facts to the sessions of a reading; keeps what the next reading is compared with."""

    def __init__(
        self, tools: tuple[Tool, ...], repositories: Repositories, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._tools = tools
        self._marks = tuple(tool.session_variable for tool in tools if tool.session_variable)
        self._repositories = repositories
        self._clock = clock
        self._ports = Ports(clock)
        self._owners: dict[int, str] = {}  # pid -> the session that it belonged to
        self._live: _Live | None = None
        self._forest = Forest({}, {})
        self._holders: frozenset[int] = frozenset()
        self._rows: dict[str, _Row] = {}
        self._uses = Uses(clock)
        self._figures = 0
        self._percents: dict[str, float] = {}
        self._panes: dict[tuple[int, float], Pane | None] = {}

    def of(
        self, sessions: tuple[Session, ...], table: ProcessTable, now: float, git_wait_s: float
    ) -> tuple[tuple[Session, ...], tuple[OrphanPort, ...]]:
        """The sessions with all that is around them, and the ports of what outlived others. `now`: epoch."""
        repositories = self._repositories.refresh({s.cwd for s in sessions if s.cwd}, git_wait_s)
        live = self._look(sessions, table)
        if table.figures != self._figures:
            uses = _uses(self._forest, live.stats)
            self._figures, self._percents = table.figures, self._uses.percents(uses, now)
        rows = [self._row(session, live, repositories.get(session.cwd or "")) for session in sessions]
        self._rows = {row.session.id: row for row in rows}
        return tuple(row.full for row in rows), _orphans(self._forest, live.ports)

    def _look(self, sessions: tuple[Session, ...], table: ProcessTable) -> _Live:
        """What there is; the same object as at the last reading if that is the same."""
        live = _Live(
            held=tuple((s.id, s.root_id, s.pids) for s in sessions if s.pids),
            processes={process.pid: process for process in table.processes},
            kin=dict(table.kin),
            stats=table.stats,
            ports=self._ports.of({child.pid: child.born for child in table.kin.values()}),
        )
        if self._live == live:
            return self._live
        self._panes = {key: pane for key, pane in self._panes.items() if key[0] in live.processes}
        self._forest = trees.grow(sessions, live.kin, live.processes, self._marks, self._owners)
        owned = {child.pid: owner for owner, children in self._forest.owned.items() for child in children}
        self._owners = owned | {child.pid: owner for child, owner in self._forest.outlived}
        self._holders = frozenset(pid for _, _, pids in live.held for pid in pids)
        self._live = live
        return live

    def _row(self, session: Session, live: _Live, repository: Repository | None) -> _Row:
        """The session with all that is around it, which is not put together again if it is as before."""
        cpu_percent = self._percents.get(session.id)
        made = self._rows.get(session.id)
        same = made and made.session is session and made.live is live and made.cpu_percent == cpu_percent
        if made and same and made.repository == repository:
            return made
        changes = _place(repository)
        if session.pids:
            changes |= self._facts(session, live) | {"cpu_percent": cpu_percent}
        full = msgspec.structs.replace(session, **changes)
        return _Row(session, live, repository, cpu_percent, full)

    def _facts(self, session: Session, live: _Live) -> dict[str, object]:
        """What its processes tell."""
        owned = self._forest.owned.get(session.id, ())
        tree = [*self._forest.holders.get(session.id, ()), *(child.pid for child in owned)]
        sizes = [live.stats[pid].rss_bytes for pid in tree if pid in live.stats]
        children = [child for child in owned if not self._is_helper(child)]
        return {
            "children": self._listed(children, live),
            "child_count": len(children),
            "rss_bytes": sum(sizes) if sizes else None,
            "pane": next((pane for pid in session.pids if (pane := self._pane(live.processes.get(pid)))), None),
        }

    def _is_helper(self, child: Child) -> bool:
        """Whether the tool runs it for itself. A tool that holds a session is never a mere helper."""
        return child.pid not in self._holders and any(tool.is_helper(child.image) for tool in self._tools)

    def _listed(self, children: list[Child], live: _Live) -> tuple[Listed, ...]:
        """As many as may be sent: those that listen first, then the oldest."""
        children = sorted(children, key=lambda c: (c.pid not in live.ports, c.created_at, c.pid))
        return tuple(
            Listed(
                pid=child.pid,
                name=child.name,
                ports=live.ports.get(child.pid, ())[:MAX_PORTS],
                started_at=round(child.created_at, 2),
                rss_bytes=live.stats[child.pid].rss_bytes if child.pid in live.stats else None,
                call_id=self._call(child),
            )
            for child in children[:MAX_CHILDREN]
        )

    def _call(self, child: Child) -> str | None:
        environ = child.environ or {}
        named = (environ[t.call_variable] for t in self._tools if environ.get(t.call_variable))
        return next((call[:MAX_ID_CHARS] for call in named), None)

    def _pane(self, process: Process | None) -> Pane | None:
        """The pane of one process. One without a terminal is in none, whatever it inherited."""
        if process is None or not process.tty or not process.environ:
            return None
        key = (process.pid, process.born)
        if key not in self._panes:
            self._panes[key] = panes.pane(process.pid, process.environ)
        return self._panes[key]


class Uses:
    """The CPU of each session's tree from one reading to the next. `clock` is monotonic."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._before: dict[str, dict[int, Use]] = {}
        self._read_at: tuple[float, float] | None = None  # epoch, monotonic

    def percents(self, uses: dict[str, dict[int, Use]], now: float) -> dict[str, float]:
        """Percent of one core by session id, of those that were there before. `now` is epoch seconds."""
        before, read_at = self._before, self._read_at
        self._before, self._read_at = uses, (now, self._clock())
        passed_s = self._clock() - read_at[1] if read_at else 0.0
        if read_at is None or passed_s <= 0:
            return {}
        return {
            session: round(100 * used_s(before[session], tree, read_at[0]) / passed_s, 1)
            for session, tree in uses.items()
            if session in before
        }


def _uses(forest: Forest, stats: Mapping[int, Stat]) -> dict[str, dict[int, Use]]:
    """Session id -> what each process of its tree used so far."""
    uses: dict[str, dict[int, Use]] = {}
    for session, pids in forest.holders.items():
        for pid in pids:
            if stat := stats.get(pid):
                uses.setdefault(session, {})[pid] = Use(stat.born, stat.created_at, 0, stat.cpu_s)
    for session, children in forest.owned.items():
        for child in children:
            if stat := stats.get(child.pid):
                use = Use(child.born, child.created_at, child.ppid, stat.cpu_s)
                uses.setdefault(session, {})[child.pid] = use
    return uses


def _place(repository: Repository | None) -> dict[str, object]:
    if repository is None:
        return {}
    status = repository.status
    return {
        "repository": repository.root,
        "branch": repository.branch,
        "commit": status and status.commit,
        "dirty_files": status and status.dirty_files,
        "ahead": status and status.ahead,
        "behind": status and status.behind,
    }


def _orphans(forest: Forest, ports: PortsOf) -> tuple[OrphanPort, ...]:
    """A port of each process that outlived its session; where several share it, of the oldest."""
    found: dict[int, OrphanPort] = {}
    for child, session_id in sorted(forest.outlived, key=lambda left: left[0].created_at):
        for port in ports.get(child.pid, ()):
            found.setdefault(
                port,
                OrphanPort(port, child.pid, child.name, session_id[:MAX_ID_CHARS], round(child.created_at, 2)),
            )
    return tuple(found[port] for port in sorted(found))[:MAX_PORTS]
