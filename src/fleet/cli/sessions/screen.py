"""What `fleet attach` and `fleet resume` do: this terminal becomes the session's."""

import os
import shutil
import sys
from pathlib import Path

import typer

from fleet import collector
from fleet.cli.sessions.session import Place, not_reached, on_session
from fleet.cli.terminal import write
from fleet.config import HostSpec
from fleet.control import screens, selectors
from fleet.control.selectors import Candidate
from fleet.errors import HostFailure, UsageError


def attach_to(selector: str, config: Path | None, *, events: bool, stderr: bool) -> None:
    """Attach until the session or the input ends. Raises `FleetError`."""
    from fleet.cli.sessions.attached import attached

    async def work(place: Place) -> tuple[HostSpec, tuple[str, ...]] | None:
        argv = None if events else screens.attach_argv(place.session)
        if argv is None:
            await attached(place, stderr=stderr)
            return None
        return place.spec, argv

    if (found := on_session(selector, config, work)) is not None:
        spec, argv = found
        _run(spec, argv, screens.remote_command(argv))


def resume_it(selector: str, config: Path | None, *, run: bool) -> None:
    """Print the command, or run it. Raises `FleetError`."""

    async def work(place: Place) -> tuple[HostSpec, str]:
        return place.spec, screens.resume_command(place.session)

    spec, command = on_session(selector, config, work, _idle)
    if run:
        there = screens.in_login_shell(command)
        _run(spec, ("/bin/sh", "-c", there), there)
    else:
        write(f"{screens.by_ssh(spec, command)}\n")


def _idle(session: Candidate) -> None:
    selectors.actable(session)
    if session.pids or (session.run is not None and session.run.state == "running"):
        raise UsageError(
            f"{session.key} is open in a process now, and a second one would get in its way;"
            f" `fleet attach {session.key}` takes part in it, `fleet stop {session.key}` ends it"
        )


def _run(spec: HostSpec, argv: tuple[str, ...], command: str) -> None:
    """In this terminal, to its end; exits with its status."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("this takes a terminal: run it in one, or use `fleet attach --events`")
    if spec.is_local:
        if shutil.which(argv[0]) is None:
            raise UsageError(f"{argv[0]} is not installed here")
        os.environ.pop("TMUX", None)  # in a pane of tmux, tmux would not attach to another
        os.execvp(argv[0], argv)  # noqa: S606 - a list of arguments, and the user's own program
    from fleet.transport import Transport
    from fleet.transport.deadlines import Deadlines

    async def there() -> int:
        async with Transport() as transport:
            return await transport.terminal(spec, command, Deadlines(spec.timeouts))

    try:
        raise typer.Exit(collector.run(there()))
    except HostFailure as failure:
        raise not_reached(spec.name, failure) from None
