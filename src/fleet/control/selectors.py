"""What was typed -> exactly one session. Pure.

A selector is the number of a line of the last listing, a key (`host:id`, `host:name`), an id, a name, or the
beginning of one; behind `host:`, of that host alone. It means one session or it is refused: with the candidates
if there are several, with what there is if there is none.
"""

from collections.abc import Collection, Iterable, Sequence

import msgspec

from fleet.errors import UsageError
from fleet.views.entries import SessionEntry
from fleet_agent.control.wire import Run, Target
from fleet_agent.wire import Pane

_SHOWN = 8  # candidates in a message
_NUMBER_CHARS = 5  # of a line; what is longer is (the beginning of) an id


class Listed(msgspec.Struct, frozen=True):
    """One line of a listing. `request_id`: of the approval or question that the line was about."""

    host: str
    tool: str
    id: str | None = None
    name: str | None = None
    request_id: str | None = None


class Candidate(msgspec.Struct, frozen=True):
    """A session that may be meant. `id` or `name` is there; `run` if fleet started it.

    `stale`: its host cannot be read now. `parent_id`: it is a subagent of that one.
    """

    host: str
    tool: str
    id: str | None = None
    name: str | None = None
    pids: tuple[int, ...] = ()
    stale: bool = False
    parent_id: str | None = None
    cwd: str | None = None
    home: str | None = None
    pane: Pane | None = None
    run: Run | None = None

    @property
    def key(self) -> str:
        """What names it: `host:id`, or `host:name` as long as its tool has given it no id."""
        return f"{self.host}:{self.id or self.name}"

    @property
    def words(self) -> tuple[str, ...]:
        """All that it may be called by."""
        plain = [word for word in (self.id, self.name) if word]
        return (*plain, *(f"{self.host}:{word}" for word in plain))

    @property
    def target(self) -> Target:
        """As it is named to its host. A run's processes are its supervisor's to know, there."""
        return Target(tool=self.tool, id=self.id, name=self.name, pids=() if self.run else self.pids)


def candidates(sessions: Iterable[SessionEntry], runs: Iterable[tuple[str, Run]]) -> tuple[Candidate, ...]:
    """Every session once: those that were read, and the runs (with their host) of fleet's own."""
    by_id = {(host, run.tool, run.id): run for host, run in runs if run.id}
    read = [_of_session(s, by_id.get((s.host, s.tool, s.id))) for s in sessions]
    seen = {(c.host, c.name) for c in read if c.name}
    return (*read, *(_of_run(host, run) for host, run in runs if (host, run.name) not in seen))


def hosts_of(selector: str, listing: Sequence[Listed], hosts: Collection[str]) -> set[str] | None:
    """The hosts that have to be asked about a selector; None for all of them."""
    if (line := _line(selector, listing)) is not None:
        return {line.host}
    host, separator, _ = selector.partition(":")
    return {host} if separator and host in hosts else None


def known(selector: str, among: Sequence[Candidate], listing: Sequence[Listed]) -> Candidate | None:
    """The one that a selector names in full: by its number, key, id or name. None if none or several are."""
    if (line := _line(selector, listing)) is not None:
        found = [candidate for candidate in among if _is_listed(candidate, line)]
    else:
        found = [candidate for candidate in among if selector in candidate.words]
    return found[0] if len(found) == 1 else None


def chosen(selector: str, among: Sequence[Candidate], listing: Sequence[Listed] = ()) -> Candidate:
    """The one that is meant. Raises `UsageError` if there is none, or more than one."""
    if (found_in_full := known(selector, among, listing)) is not None:
        return found_in_full
    if _is_number(selector):
        raise _no_line(selector, _line(selector, listing), len(listing))
    found = [c for c in among if selector in c.words]
    found = found or [c for c in among if any(word.startswith(selector) for word in c.words)]
    if len(found) == 1:
        return found[0]
    if not found:
        raise UsageError(f"no session {selector!r}; {_what_there_is(among)}")
    candidates = _named(sorted(found, key=lambda c: c.key))
    raise UsageError(
        f"{selector!r} may be any of {len(found)} sessions: {candidates}; give more of it, or HOST:ID"
    )


def request_of(selector: str, listing: Sequence[Listed]) -> str | None:
    """The request that the line of the last listing was about, if it was a line that was typed."""
    line = _line(selector, listing)
    return line.request_id if line else None


def actable(candidate: Candidate) -> Candidate:
    """The same, if it may be acted on. Raises `UsageError` for a stale one and for a subagent."""
    check_fresh(candidate)
    if candidate.parent_id is not None:
        raise UsageError(
            f"{candidate.key} is a subagent, and its tool takes nothing for one;"
            f" act on the session it belongs to: {candidate.host}:{candidate.parent_id}"
        )
    return candidate


def check_fresh(candidate: Candidate) -> None:
    """Raises `UsageError` for a session of a host that cannot be read now."""
    if candidate.stale:
        raise UsageError(
            f"{candidate.key} is as {candidate.host} was last seen, and that host cannot be read now: nothing"
            f" is sent to it; `fleet hosts check {candidate.host}` says what is wrong"
        )


def _is_number(selector: str) -> bool:
    return selector.isascii() and selector.isdigit() and len(selector) <= _NUMBER_CHARS


def _line(selector: str, listing: Sequence[Listed]) -> Listed | None:
    """The line of the listing with this number, counted from 1."""
    is_line = _is_number(selector) and 0 < int(selector) <= len(listing)
    return listing[int(selector) - 1] if is_line else None


def _is_listed(candidate: Candidate, line: Listed) -> bool:
    """Whether it is what the line named then, whatever that number would name now."""
    if candidate.host != line.host or candidate.tool != line.tool:
        return False
    by_name = line.name is not None and candidate.name == line.name
    return by_name or (line.id is not None and candidate.id == line.id)


def _no_line(selector: str, line: Listed | None, lines: int) -> UsageError:
    """A number is never the beginning of an id: what was listed may be gone, and another begin so."""
    if line is not None:
        was = f"{line.host}:{line.id or line.name}"
        return UsageError(
            f"{selector} was {was} in the last listing, and that is no more; `fleet ps` lists anew"
        )
    listed = f"the last listing ends at {lines}" if lines else "nothing was listed yet"
    fix = f"`fleet ps` and `fleet approvals` give numbers; the beginning of an id is HOST:{selector}"
    return UsageError(f"there is no number {selector}: {listed}; {fix}")


def _of_session(s: SessionEntry, run: Run | None) -> Candidate:
    pane = Pane(s.pane.kind, s.pane.id, s.pane.socket) if s.pane else run.pane if run else None
    return Candidate(
        s.host, s.tool, s.id, run.name if run else None, s.pids, s.stale, s.parent_id, s.cwd, s.home, pane, run
    )


def _of_run(host: str, run: Run) -> Candidate:
    return Candidate(host, run.tool, run.id, run.name, cwd=run.cwd, home=run.home, pane=run.pane, run=run)


def _what_there_is(among: Sequence[Candidate]) -> str:
    if not among:
        return "there is none on the hosts that were asked"
    return f"there are {len(among)}: {_named(sorted(among, key=lambda c: c.run is None))}"


def _named(found: Sequence[Candidate]) -> str:
    words = [f"{c.key} ({c.name})" if c.name and c.id else c.key for c in found[:_SHOWN]]
    return ", ".join(words) + (" ..." if len(found) > _SHOWN else "")
