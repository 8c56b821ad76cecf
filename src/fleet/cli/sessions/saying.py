"""`fleet send`, `fleet interrupt` and `fleet stop`."""

from typing import Annotated

import typer

from fleet.cli.options import ConfigFile, NoDaemon, Verbose
from fleet.cli.sessions.way import Way

Selector = Annotated[
    str,
    typer.Argument(
        metavar="SESSION",
        help="Its number in the last listing, its key (HOST:ID), id or name, or the beginning of one; behind"
        " HOST:, of that host.",
    ),
]


def send(
    session: Selector,
    text: Annotated[
        list[str], typer.Argument(metavar="TEXT...", help="What to say; - reads it from standard input.")
    ],
    config: ConfigFile = None,
    no_daemon: NoDaemon = False,
    verbose: Verbose = False,
) -> None:
    """Say something to a session.

    Into its running turn where its tool can, else as its next turn. It is sent now or not at all. Exit codes:
    0; 2 no such session, or several; 3 its host refuses, and says what would work; 5 its host cannot be
    reached.
    """
    from fleet.cli.sessions.acting import act
    from fleet.cli.sessions.session import text_of
    from fleet_agent.control.wire import Send

    said = text_of(text) or ""
    way = Way(config, no_daemon, verbose)
    act(session, way, lambda target, by: Send(target=target, text=said, by=by), "sent")


def interrupt(
    session: Selector, config: ConfigFile = None, no_daemon: NoDaemon = False, verbose: Verbose = False
) -> None:
    """End the running turn of a session; the session itself lives on. Exit codes as those of `fleet send`."""
    from fleet.cli.sessions.acting import act
    from fleet_agent.control.wire import Interrupt

    way = Way(config, no_daemon, verbose)
    act(session, way, lambda target, by: Interrupt(target=target, by=by), "interrupted")


def stop(
    session: Selector,
    grace: Annotated[
        float, typer.Option("--grace", metavar="S", min=0, max=600, help="Kill it if it has not ended by then.")
    ] = 5.0,
    config: ConfigFile = None,
    no_daemon: NoDaemon = False,
    verbose: Verbose = False,
) -> None:
    """End a session's processes.

    TERM to all of them, KILL to what is left after --grace. Its process must be the one that was seen, by pid
    and start time. Exit codes as those of `fleet send`.
    """
    from fleet.cli.sessions.acting import act
    from fleet_agent.control.wire import Stop

    way = Way(config, no_daemon, verbose)
    act(session, way, lambda target, by: Stop(target=target, grace_s=grace, by=by), "stopped")
