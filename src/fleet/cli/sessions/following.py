"""What `fleet logs` does."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial

import msgspec

from fleet.cli.sessions.session import Place, on_session
from fleet.cli.sessions.spans import since as moment
from fleet.cli.sessions.way import Way, note
from fleet.cli.terminal import Terminal, paint, terminal, write
from fleet.control import followed, verbs
from fleet.control.followed import Log
from fleet.views.session_events import event_lines
from fleet_agent.control.wire import Reply, Said, Stderr


def show_logs(selector: str, way: Way, *, follow: bool, since: str | None, stderr: bool, json: bool) -> None:
    """Print them, as they come. Raises `FleetError`."""

    async def work(place: Place) -> None:
        begin = partial(moment, since) if since else None
        log = Log(place.session, follow=follow, stderr=stderr, since=begin)
        to = terminal()
        async with aclosing(_replies(place, log, follow=follow)) as replies:
            async for reply in replies:
                if (text := shown(reply, to, json=json)) and not write(text):
                    return

    on_session(selector, way, work, check=lambda _: None)


def _replies(place: Place, log: Log, *, follow: bool) -> AsyncGenerator[Reply, None]:
    """What goes on is followed across connections that break; what has an end is asked for once."""
    if follow:
        return followed.follow(place.reach, place.spec, log, note)
    return verbs.follow(place.reach, place.spec, log.request)


def shown(reply: Reply, to: Terminal, *, json: bool) -> bytes | str:
    """What is printed of a reply; nothing of most."""
    if json and isinstance(reply, Said | Stderr):
        return msgspec.json.encode(reply) + b"\n"
    if isinstance(reply, Stderr):
        return reply.text if reply.text.endswith("\n") else f"{reply.text}\n"
    if isinstance(reply, Said):
        return "".join(f"{line}\n" for line in paint(event_lines(reply, to.width), to.colour))
    return ""
