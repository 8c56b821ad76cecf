"""What `fleet logs` does."""

from contextlib import aclosing
from pathlib import Path

import msgspec

from fleet.cli.sessions.session import Place, on_session
from fleet.cli.sessions.spans import since as moment
from fleet.cli.terminal import Terminal, paint, terminal, write
from fleet.control import verbs
from fleet.views.told import told_lines
from fleet_agent.control.wire import Logs, Reply, Said, Stderr


def show_logs(
    selector: str, config: Path | None, *, follow: bool, since: str | None, stderr: bool, json: bool
) -> None:
    """Print them, as they come. Raises `FleetError`."""

    async def work(place: Place) -> None:
        def request(clock_at: float) -> Logs:
            return Logs(
                target=place.session.target,
                follow=follow,
                since_at=moment(since, clock_at) if since else None,
                stderr=stderr,
                by=verbs.asker(),
            )

        to = terminal()
        async with aclosing(verbs.follow(place.reach, place.spec, request)) as replies:
            async for reply in replies:
                if (text := shown(reply, to, json=json)) and not write(text):
                    return

    on_session(selector, config, work, check=lambda _: None)


def shown(reply: Reply, to: Terminal, *, json: bool) -> bytes | str:
    """What is printed of a reply; nothing of most."""
    if json and isinstance(reply, Said | Stderr):
        return msgspec.json.encode(reply) + b"\n"
    if isinstance(reply, Stderr):
        return reply.text if reply.text.endswith("\n") else f"{reply.text}\n"
    if isinstance(reply, Said):
        return "".join(f"{line}\n" for line in paint(told_lines(reply, to.width), to.colour))
    return ""
