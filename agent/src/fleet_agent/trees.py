"""Which process belongs to which session, and which has outlived its session. Pure.

A session owns what its tool's process started, at any depth. Where one process holds several sessions
(Codex's daemon, an IDE's app-server), each owns what carries its id in the environment, and everything below
that. What all of them share (the process itself, its MCP servers) is owned by none, unless they all are one
family: then it is the root's. A session that another's tool call started is in both trees: they are not to be
summed.
"""

from collections.abc import Collection, Iterable, Mapping, Set

import msgspec

from fleet_agent.kin import Child
from fleet_agent.wire import Session


class Forest(msgspec.Struct, frozen=True):
    """All trees of one reading: session id -> the processes of its tool, and what they started.

    `outlived`: what is left of sessions that are gone, each with the id of its session.
    """

    holders: Mapping[str, tuple[int, ...]]
    owned: Mapping[str, list[Child]]
    outlived: tuple[tuple[Child, str], ...] = ()


def grow(
    sessions: Collection[Session],
    kin: Mapping[int, Child],
    tools: Iterable[int],
    marks: Iterable[str],
    before: Mapping[int, str],
) -> Forest:
    """The trees of the live `sessions` (those with pids).

    `tools` are the pids of all tools' processes, `marks` the environment variables that name a session,
    `before` whom a pid belonged to in the reading before.
    """
    held = _held(sessions)
    live = {session.id for owners in held.values() for session in owners}
    below = _by_parent(kin)
    owned: dict[str, list[Child]] = {}
    reached: set[int] = set()
    sole = {pid: sole_owner(owners) for pid, owners in held.items()}
    for root in (*held, *(pid for pid in tools if pid not in held and pid not in kin)):
        mine = {session.id for session in held.get(root, ())}
        for child, owner in _walk(root, sole.get(root), mine, below, marks, before):
            reached.add(child.pid)
            if owner:
                owned.setdefault(owner, []).append(child)
    outlived = []
    for child, owner in _strays(kin, reached, below, marks, before, live):
        if child.pid in held:
            continue  # it was started by a session that is gone, and holds one itself
        if owner in live:
            owned.setdefault(owner, []).append(child)
        elif owner and not _may_live(owner, child, sessions):
            outlived.append((child, owner))
    holders: dict[str, tuple[int, ...]] = {}
    for pid, owner in sole.items():
        if owner:
            holders[owner] = (*holders.get(owner, ()), pid)
    return Forest(holders, owned, tuple(outlived))


def sole_owner(sessions: list[Session]) -> str | None:
    """The session to which all that a process does can be put down: its only one, or the root of them all."""
    roots = {session.root_id or session.id for session in sessions}
    root = next(iter(roots)) if len(roots) == 1 else None
    if len(sessions) == 1:
        return sessions[0].id
    return root if any(session.id == root for session in sessions) else None


def mark(child: Child, names: Iterable[str]) -> str | None:
    """The session that a process was started for, by its own environment."""
    return next((child.environ[name] for name in names if child.environ and child.environ.get(name)), None)


def _may_live(owner: str, child: Child, sessions: Collection[Session]) -> bool:
    """Whether the session that started `child` may be one of those of which nobody knows the tool's own id.

    That is an ephemeral one, which is only known by its process.
    """
    return all(session.id != owner for session in sessions) and any(
        session.ephemeral and session.pids and (session.started_at or 0.0) <= child.created_at
        for session in sessions
    )


def _held(sessions: Iterable[Session]) -> dict[int, list[Session]]:
    held: dict[int, list[Session]] = {}
    for session in sessions:
        for pid in session.pids:
            held.setdefault(pid, []).append(session)
    return held


def _by_parent(kin: Mapping[int, Child]) -> dict[int, list[Child]]:
    below: dict[int, list[Child]] = {}
    for child in kin.values():
        below.setdefault(child.ppid, []).append(child)
    return below


def _walk(
    root: int,
    sole: str | None,
    mine: set[str],
    below: Mapping[int, list[Child]],
    marks: Iterable[str],
    before: Mapping[int, str],
) -> Iterable[tuple[Child, str | None]]:
    """Everything below a process, with its owner among the process's own sessions."""
    todo: list[tuple[int, str | None]] = [(root, sole)]
    seen = {root}
    while todo:
        parent, inherited = todo.pop()
        for child in below.get(parent, ()):
            if child.pid in seen:
                continue
            seen.add(child.pid)
            named = next((s for s in (mark(child, marks), before.get(child.pid)) if s in mine), None)
            owner = (named or inherited) if len(mine) > 1 else inherited
            yield child, owner
            todo.append((child.pid, owner))


def _strays(
    kin: Mapping[int, Child],
    reached: set[int],
    below: Mapping[int, list[Child]],
    marks: Iterable[str],
    before: Mapping[int, str],
    live: Set[str],
) -> Iterable[tuple[Child, str | None]]:
    """What no tool's process is above any more, and for which session it was started: a live one, if any."""
    seen = set(reached)
    tops = [child for child in kin.values() if child.pid not in reached and child.ppid not in kin]
    todo: list[tuple[Child, str | None]] = [(child, None) for child in tops]
    while todo:
        child, inherited = todo.pop()
        if child.pid in seen:
            continue
        seen.add(child.pid)
        named = [name for name in (mark(child, marks), before.get(child.pid), inherited) if name]
        owner = next((name for name in named if name in live), named[0] if named else None)
        yield child, owner
        todo += [(other, owner) for other in below.get(child.pid, ())]
