"""`fleet watch` and `fleet wait`: what the daemon tells as it happens."""

from typing import Annotated

import typer

from fleet.cli.options import Goal


def watch(
    ndjson: Annotated[
        bool, typer.Option("--ndjson", help="One JSON object a line, with `seq` and `id`.")
    ] = False,
    after: Annotated[
        str | None, typer.Option("--after", metavar="ID", help="Go on after this event; else from now on.")
    ] = None,
) -> None:
    """Print each change of a session or a host as it happens, once. Needs a running `fleet daemon`.

    Goes on when the daemon is started anew; what was missed by then is said to be (an event `gap`). Every event
    has an id, and `--after ID` goes on behind it.
    """
    from fleet.cli.daemon_event_lines import as_line, as_ndjson
    from fleet.cli.daemon_events import follow
    from fleet.cli.terminal import write

    shown = as_ndjson if ndjson else as_line
    for event in follow(after):
        if (line := shown(event)) is not None and not write(line):
            return


def wait(
    selector: Annotated[
        str, typer.Argument(metavar="SESSION", help="A session: its id, the beginning of it, or HOST:ID.")
    ],
    goal: Annotated[
        Goal,
        typer.Option(
            "--for", help="idle: its turn is over; waiting: it waits for a person; any: any of the three."
        ),
    ] = Goal.ANY,
    timeout: Annotated[
        float | None, typer.Option("--timeout", metavar="S", min=0.0, help="Give up after S seconds.")
    ] = None,
) -> None:
    """Wait until a session is idle, waits for a person, or has ended. Needs a running `fleet daemon`.

    Prints the state that it reached. Exit codes: 0 it is so; 2 no such session, or several; 3 it ended and will
    not get there; 6 no daemon; 124 the time is up.
    """
    from fleet.cli.waiting import reached

    raise typer.Exit(reached(selector, goal, timeout))
