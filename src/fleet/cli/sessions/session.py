"""What the verbs share that act on sessions: which one is meant, the way to its host, what went wrong."""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import Annotated, NamedTuple, NoReturn, TypeVar

import typer

from fleet import collector
from fleet.cli import status_by_daemon
from fleet.cli.options import FailOn
from fleet.cli.outcome import exit_code
from fleet.cli.sessions.way import Way
from fleet.config import Config, HostSpec, load
from fleet.control import listing, selectors, verbs
from fleet.control.kept import Kept
from fleet.control.selectors import Candidate, Listed
from fleet.control.verbs import Answered
from fleet.errors import ExitCode, FleetError, HostFailure, RequestRefused, UsageError
from fleet.views.controlled import Trouble, trouble, trouble_lines
from fleet.views.document import document

T = TypeVar("T")

Selector = Annotated[
    str,
    typer.Argument(
        metavar="SESSION",
        help="Its number in the last listing, its key (HOST:ID), id or name, or the beginning of one; behind"
        " HOST:, of that host.",
    ),
]


class NotReached(FleetError):
    """The one host that was needed could not be reached."""

    exit_code = ExitCode.ALL_HOSTS_FAILED


class Place(NamedTuple):
    """A session and the way to it. `request_id`: what the line of the listing was about that was typed."""

    reach: Kept
    spec: HostSpec
    session: Candidate
    request_id: str | None


def on_session(
    selector: str,
    way: Way,
    work: Callable[[Place], Awaitable[T]],
    check: Callable[[Candidate], object] = selectors.actable,
) -> T:
    """Do something with the one session that is meant, if `check` lets it. Raises `FleetError`."""
    loaded, listed = load(way.config), listing.load()
    specs = _concerned(selector, loaded, listed)

    async def act() -> T:
        async with way.reach(loaded) as reach:
            session = await _session(reach, selector, specs, listed, way.config)
            check(session)
            place = Place(reach, loaded.hosts[session.host], session, selectors.request_of(selector, listed))
            try:
                return await work(place)
            except HostFailure as failure:
                raise not_reached(session.host, failure) from None
            except RequestRefused as no:  # its host speaks of "this session"
                message = f"{session.key}: {no.message}"
                raise RequestRefused(no.kind, message, no.hint, no.candidates) from None

    return collector.run(act())


def on_hosts(
    hosts: Sequence[str],
    excludes: Sequence[str],
    way: Way,
    work: Callable[[Kept, Sequence[HostSpec]], Awaitable[T]],
) -> T:
    """Do something with hosts. Those that were not named and may only be looked at are passed over."""
    loaded = load(way.config)
    specs = loaded.select(hosts, excludes)
    if not hosts:
        specs = _permitted(specs)

    async def act() -> T:
        async with way.reach(loaded) as reach:
            return await work(reach, specs)

    return collector.run(act())


def troubles(answers: Iterable[Answered]) -> list[Trouble]:
    """What went wrong, host by host."""
    return [found for a in answers if (found := trouble(a.host, a.error, a.refused))]


def end(answers: Sequence[Answered], *, say: bool = True) -> NoReturn:
    """Exit with the code that the answers have come to; `say` what went wrong on standard error."""
    found = troubles(answers)
    if say:
        say_troubles(found)
    raise typer.Exit(exit_code(len(found), len(answers), FailOn.ANY))


def say_troubles(found: Iterable[Trouble]) -> None:
    """On standard error."""
    for line in trouble_lines(found):
        print(line, file=sys.stderr)


def text_of(words: Sequence[str]) -> str | None:
    """The text in the arguments, or with `-` what standard input holds; None if there is none.

    It goes to the host on the standard input of the agent there: no other user of either machine can list it.
    """
    text = sys.stdin.read() if list(words) == ["-"] else " ".join(words)
    if words and not text.strip():
        raise UsageError("the text is empty; write it behind --, or give it on standard input with -")
    return text or None


def _concerned(selector: str, loaded: Config, listed: Sequence[Listed]) -> tuple[HostSpec, ...]:
    names = selectors.hosts_of(selector, listed, loaded.hosts)
    if names is None:
        return _permitted(tuple(loaded.hosts.values()))
    known = [loaded.hosts[name] for name in names if name in loaded.hosts]
    if not known:
        raise UsageError(f"{selector}: there is no host {', '.join(names)} any more in hosts.toml")
    return tuple(map(verbs.permitted, known))


def _permitted(specs: Sequence[HostSpec]) -> tuple[HostSpec, ...]:
    found = tuple(spec for spec in specs if spec.control)
    if not found:
        raise UsageError(
            "no host here may be controlled; `control = true` for a host in hosts.toml lets fleet start, answer"
            " and stop sessions there"
        )
    return found


async def _session(
    reach: Kept, selector: str, specs: Sequence[HostSpec], listed: Sequence[Listed], config: Path | None
) -> Candidate:
    """The one that is meant. Hosts are read only if it is none of the runs, which are named in full."""
    answers = await verbs.runs(reach, specs, verbs.asker())
    runs = verbs.newest_first(answers)
    if (run := selectors.known(selector, selectors.candidates((), runs), listed)) is not None:
        return run
    unasked = troubles(answers)
    reached = [spec for spec in specs if spec.name not in {trouble.host for trouble in unasked}]
    if not reached:
        raise NotReached("; ".join(f"{t.host}: {t.kind}: {t.message}; {t.hint}" for t in unasked))
    seen = None
    if reach.asks_daemon:
        query = status_by_daemon.Query([spec.name for spec in reached], [], config, None, fresh=True)
        seen = await asyncio.to_thread(status_by_daemon.document, query)
    if seen is None:
        seen = document(await collector.read_fleet(reached), time.time(), time.monotonic())
    try:
        return selectors.chosen(selector, selectors.candidates(seen.sessions, runs), listed)
    except UsageError:
        say_troubles(unasked)
        raise


def not_reached(host: str, failure: HostFailure) -> NotReached:
    """What went wrong with the one host that was needed."""
    error = failure.error
    return NotReached(f"{host}: {error.kind} ({error.phase}): {error.message}; {error.hint}")
