"""`fleet logs`."""

from typing import Annotated

import typer

from fleet.cli.options import ConfigFile, NoDaemon, Verbose
from fleet.cli.sessions.saying import Selector
from fleet.cli.sessions.way import Way


def logs(
    session: Selector,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until it ends, or Ctrl-C.")] = False,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="Only what came after: 10m ago, or an RFC 3339 time.")
    ] = None,
    stderr: Annotated[bool, typer.Option("--stderr", help="What it wrote to standard error instead.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Every event whole, one JSON object a line.")] = False,
    config: ConfigFile = None,
    no_daemon: NoDaemon = False,
    verbose: Verbose = False,
) -> None:
    """Show what a session has said and done. Exit codes as those of `fleet send`."""
    from fleet.cli.sessions.following import show_logs

    show_logs(session, Way(config, no_daemon, verbose), follow=follow, since=since, stderr=stderr, json=json)
