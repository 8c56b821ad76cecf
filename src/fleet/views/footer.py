"""What stands below the table: failed hosts by cause, spent quotas, orphan ports, warnings, a summary. Pure.

Nothing is left out: every host that failed is in one of the lines, every warning too.
"""

import re
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import TypeVar

from fleet.hosts import fold
from fleet.model import Link
from fleet.views import cells, units
from fleet.views.entries import (
    Document,
    HostEntry,
    HostErrorEntry,
    OrphanPortEntry,
    RateLimitEntry,
    WarningEntry,
)
from fleet.views.lines import INDENT, Line, Style
from fleet_agent.wire import STATES

NEARLY_USED_PERCENT = 90.0  # of a rate limit, from where on it is worth a line
# What differs between hosts that fail for one cause: an address (IPv4, or IPv6 in brackets), a key.
_OF_ONE_HOST = re.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}\b|\[[0-9a-fA-F:.%\w]*:[^\]\s]*\]|\bSHA256:[\w+/]{43}")
_LINKS = {
    Link.UP: "up",
    Link.SLOW: "slow",
    Link.STALE: "stale",
    Link.DOWN: "down",
    Link.PENDING: "not read yet",
}

T = TypeVar("T")


def footer(document: Document, width: int | None, *, configured: bool) -> list[Line]:
    """The lines below the table; where there is no table, they say why not and what to do."""
    lines = [
        *_failures(document, width),
        *_pending(document, width),
        *_quotas(document.hosts, width),
        *_orphan_ports(document.hosts, width),
        *_warnings(document.warnings, width),
    ]
    if not document.sessions:
        notice = _wrapped(no_sessions(document, configured=configured), width, indent="")
        lines += [(), *notice] if lines else notice
    return [*lines, *_wrapped(summary(document), width)]


def _failures(document: Document, width: int | None) -> Iterator[Line]:
    hosts = {host.name: host for host in document.hosts}
    for errors in by_cause(document.host_errors):
        yield from said(errors, width)
        if stale := [hosts[e.host] for e in errors if hosts[e.host].link is Link.STALE]:
            yield from _wrapped(
                f"  last good reading {_last_seen(stale)}; its rows are marked *", width, Style.QUIET
            )


def by_cause(errors: Iterable[HostErrorEntry]) -> list[list[HostErrorEntry]]:
    """The errors, those together that say the same of their hosts."""
    return _groups(errors, _cause)


def said(errors: Sequence[HostErrorEntry], width: int | None) -> Iterator[Line]:
    """Which hosts, what happened and what mends it, of errors of one cause."""
    first = errors[0]
    what = _common([(e.message, e.host) for e in errors])
    hint = _common([(e.hint, e.host) for e in errors])
    who = fold(e.host for e in errors)
    yield from _wrapped(f"{who}: {first.kind} ({first.phase}): {what}", width, Style.FAILED)
    yield from _wrapped(f"  hint: {hint}", width, Style.QUIET)


def _cause(error: HostErrorEntry) -> tuple[str, ...]:
    return (error.kind, error.phase, _general(error.message, error.host), _general(error.hint, error.host))


def _general(text: str, host: str | None) -> str:
    """`text` without what is the host's own: its name becomes HOST, its addresses and keys ADDRESS and KEY."""
    if host:
        text = re.sub(rf"(?<![\w.-]){re.escape(host)}(?![\w-])", "HOST", text)
    return _OF_ONE_HOST.sub(lambda m: "KEY" if m[0].startswith("SHA256:") else "ADDRESS", text)


def _common(texts: list[tuple[str, str | None]]) -> str:
    """The text that stands for those of all (text, host): the very one if they say the same."""
    first, host = texts[0]
    return first if all(text == first for text, _ in texts) else _general(first, host)


def _last_seen(stale: Iterable[HostEntry]) -> str:
    ages = sorted(host.age_s or 0.0 for host in stale)
    newest, oldest = units.age(ages[0]), units.age(ages[-1])
    return f"{newest} ago" if newest == oldest else f"{newest} to {oldest} ago"


def _pending(document: Document, width: int | None) -> Iterator[Line]:
    if names := [host.name for host in document.hosts if host.link is Link.PENDING]:
        yield from _wrapped(f"{fold(names)}: not read yet", width, Style.QUIET)


def _quotas(hosts: Iterable[HostEntry], width: int | None) -> Iterator[Line]:
    """Limits that are reached, or nearly so, and have not been reset since."""
    nearly_used = [
        (_quota(limit), limit.reached, host.name)
        for host in hosts
        for limit in host.rate_limits
        if (limit.reached or limit.used_percent >= NEARLY_USED_PERCENT) and limit.resets_in_s != 0
    ]
    for same in _groups(nearly_used, lambda quota: quota[:2]):
        what, reached, _ = same[0]
        style = Style.FAILED if reached else None
        yield from _wrapped(f"{fold(dict.fromkeys(name for *_, name in same))}: quota: {what}", width, style)


def _quota(limit: RateLimitEntry) -> str:
    what = limit.tool if limit.limit_id in ("", limit.tool) else f"{limit.tool} {limit.limit_id}"
    used = "used up" if limit.reached else f"{units.percent(limit.used_percent)} used"
    resets = f", resets in {units.age(limit.resets_in_s)}" if limit.resets_in_s is not None else ""
    return f"{what} {units.age(limit.window_minutes * 60)} window {used}{resets}"


def _orphan_ports(hosts: Iterable[HostEntry], width: int | None) -> Iterator[Line]:
    for host in hosts:
        if host.orphan_ports:
            ports = ", ".join(map(_orphan_port, host.orphan_ports))
            yield from _wrapped(f"{host.name}: ports still open, session gone: {ports}", width)


def _orphan_port(orphan: OrphanPortEntry) -> str:
    return f"{orphan.port} ({orphan.name + ', ' if orphan.name else ''}pid {orphan.pid})"


def _warnings(warnings: Iterable[WarningEntry], width: int | None) -> Iterator[Line]:
    for same in _groups(warnings, lambda w: (w.kind, _general(w.message, w.host), w.host is None)):
        who = f"{fold(w.host for w in same if w.host)}: " if same[0].host else ""
        what = _common([(w.message, w.host) for w in same])
        yield from _wrapped(f"{who}warning ({same[0].kind}): {what}", width)


def no_sessions(document: Document, *, configured: bool) -> str:
    """Why there is no session to show, and what to do next. An empty list is only "none" where all was seen."""
    read = [host for host in document.hosts if host.session_count is not None]
    if not read:
        if any(host.link is Link.PENDING for host in document.hosts):
            return "No host has answered yet."
        return (
            "No host could be read, so nothing is known about sessions. Mend what is said above and try again."
        )
    if blind := [host.name for host in read if not host.complete]:
        return (
            "No sessions were seen, which does not mean that there are none: not every process could be looked"
            f" into on {fold(blind)}. Have the agent run there as the user whose sessions you want to see."
        )
    if len(read) < len(document.hosts):
        return "No sessions on the hosts that were read; nothing is known about the others (see above)."
    where = fold(host.name for host in read) if configured else "this machine"
    others = "" if configured else "; to see other machines too: `fleet hosts add NAME`"
    return (
        f"No Codex sessions on {where}: none is running and none ended lately (those of other tools are not"
        f" seen yet). Start one with `codex`{others}."
    )


def summary(document: Document) -> str:
    """One line: how many hosts are how, and how many sessions.

    `3 hosts up, 4 down; 12 sessions: 1 waiting, 5 working (1 stuck), 6 idle`
    """
    if not document.hosts:
        return "no hosts"
    links = Counter(host.link for host in document.hosts)
    (number, word), *others = [(links[link], word) for link, word in _LINKS.items() if links[link]]
    hosts = ", ".join([f"{_plural(number, 'host')} {word}", *(f"{n} {word}" for n, word in others)])
    states = Counter(session.state for session in document.sessions)
    stuck = sum(session.detail == "stuck" for session in document.sessions)
    words = {state: state for state in STATES} | ({"working": f"working ({stuck} stuck)"} if stuck else {})
    by_state = ", ".join(f"{states[state]} {words[state]}" for state in STATES if states[state])
    if by_state:
        return f"{hosts}; {_plural(states.total(), 'session')}: {by_state}"
    if all(host.session_count is None for host in document.hosts):
        return f"{hosts}; sessions not known"
    return f"{hosts}; no sessions" + ("" if all(host.complete for host in document.hosts) else " seen")


def _plural(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _groups(items: Iterable[T], key: Callable[[T], Hashable]) -> list[list[T]]:
    """The items that have the same key, in the order in which the keys are first seen."""
    groups: dict[Hashable, list[T]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return list(groups.values())


def _wrapped(text: str, width: int | None, style: Style | None = None, indent: str = INDENT) -> list[Line]:
    return [((line, style),) for line in cells.wrap(text, width, indent)]
