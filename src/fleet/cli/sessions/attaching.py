"""`fleet attach` and `fleet resume`."""

from typing import Annotated

import typer

from fleet.cli.options import ConfigFile, NoDaemon, Verbose
from fleet.cli.sessions.saying import Selector
from fleet.cli.sessions.way import Way


def attach(
    session: Selector,
    events: Annotated[
        bool, typer.Option("--events", help="Its events, even if it has a terminal of its own in tmux.")
    ] = False,
    stderr: Annotated[
        bool, typer.Option("--stderr", help="Beside its events, what it writes to standard error.")
    ] = False,
    config: ConfigFile = None,
    no_daemon: NoDaemon = False,
    verbose: Verbose = False,
) -> None:
    """Follow a session and take part in it. Ctrl-D detaches; the session goes on.

    One in tmux: its own terminal, here; detach with tmux's keys (Ctrl-B D). Any other: each event as it comes,
    above a line to type into. Text is said to the session; /interrupt, /approve, /deny and /answer do what the
    commands of these names do; /help lists them. Exit codes as those of `fleet send`.
    """
    from fleet.cli.sessions.screen import attach_to

    attach_to(session, Way(config, no_daemon, verbose), events=events, stderr=stderr)


def resume(
    session: Selector,
    run: Annotated[bool, typer.Option("--run", help="Run it in this terminal, on its host.")] = False,
    config: ConfigFile = None,
    no_daemon: NoDaemon = False,
    verbose: Verbose = False,
) -> None:
    """Print, or run, what goes on with a session in its own tool.

    A command for its host; with --run it is run there, in this terminal. Exit codes as those of `fleet send`;
    with --run, the tool's own.
    """
    from fleet.cli.sessions.screen import resume_it

    resume_it(session, Way(config, no_daemon, verbose), run=run)
