"""What `fleet attach` and `fleet resume` do: this terminal becomes the session's."""

import os
import shutil
import sys
from typing import NoReturn

import typer

from fleet import collector
from fleet.cli.sessions.session import Place, not_reached, on_session
from fleet.cli.sessions.way import Way, note
from fleet.cli.terminal import write
from fleet.config import HostSpec
from fleet.control import screens, selectors
from fleet.control.followed import Again
from fleet.control.selectors import Candidate
from fleet.errors import HostFailure, Phase, UsageError

# What a program that is cut off leaves on: xterm's other screen, hidden cursor, mouse, pasting, keypad, colour.
_AS_BEFORE = "\x1b[?1049l\x1b[?25h\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?2004l\x1b[?1l\x1b>\x1b[0m"


def attach_to(selector: str, way: Way, *, events: bool, stderr: bool) -> None:
    """Attach until the session or the input ends. Raises `FleetError`."""
    from fleet.cli.sessions.attached import attached

    async def work(place: Place) -> tuple[HostSpec, tuple[str, ...]] | None:
        argv = None if events else screens.attach_argv(place.session)
        if argv is None:
            await attached(place, stderr=stderr)
            return None
        return place.spec, argv

    if (found := on_session(selector, way, work)) is not None:
        spec, argv = found
        _check_terminal()
        if spec.is_local:
            _run_here(argv)
        _run_there(spec, screens.remote_command(argv), again=Again(spec.name, note))


def resume_it(selector: str, way: Way, *, run: bool) -> None:
    """Print the command, or run it. Raises `FleetError`."""

    async def work(place: Place) -> tuple[HostSpec, str]:
        return place.spec, screens.resume_command(place.session)

    spec, command = on_session(selector, way, work, _idle)
    if run:
        there = screens.in_login_shell(command)
        _check_terminal()
        if spec.is_local:
            _run_here(("/bin/sh", "-c", there))
        _run_there(spec, there)
    else:
        write(f"{screens.by_ssh(spec, command)}\n")


def _idle(session: Candidate) -> None:
    selectors.actable(session)
    if session.pids or (session.run is not None and session.run.state == "running"):
        raise UsageError(
            f"{session.key} is open in a process now, and a second one would get in its way;"
            f" `fleet attach {session.key}` takes part in it, `fleet stop {session.key}` ends it"
        )


def _check_terminal() -> None:
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("this takes a terminal: run it in one, or use `fleet attach --events`")


def _run_here(argv: tuple[str, ...]) -> NoReturn:
    """In place of this program."""
    if shutil.which(argv[0]) is None:
        raise UsageError(f"{argv[0]} is not installed here")
    os.environ.pop("TMUX", None)  # in a pane of tmux, tmux would not attach to another
    os.execvp(argv[0], argv)  # noqa: S606 - a list of arguments, and the user's own program


def _run_there(spec: HostSpec, command: str, again: Again | None = None) -> NoReturn:
    """In this terminal, to its end, `again` if the connection breaks; exits with its status."""
    try:
        raise typer.Exit(collector.run(_status(spec, command, again)))
    except HostFailure as failure:
        raise not_reached(spec.name, failure) from None


async def _status(spec: HostSpec, command: str, again: Again | None) -> int:
    from fleet.transport import Transport
    from fleet.transport.deadlines import Deadlines

    while True:
        try:
            async with Transport() as transport:
                return await transport.terminal(spec, command, Deadlines(spec.timeouts))
        except HostFailure as failure:
            if failure.error.phase is Phase.IDLE:  # it was there, and has drawn on this terminal
                write(_AS_BEFORE)
                if again:
                    again.heard()
                    again.connected()
            if again is None:
                raise
            await again.wait(failure)
