"""`fleet status`."""

from typing import Annotated

import typer

from fleet.cli.options import ConfigFile, Excludes, FailOn, Format, Hosts
from fleet.cli.outcome import exit_code

_Why = Annotated[bool, typer.Option("--why", help="Say why each session is in its state.")]
_Json = Annotated[bool, typer.Option("--json", help="Short for --format json.")]
_Format = Annotated[
    Format,
    typer.Option(
        "--format",
        envvar="FLEET_FORMAT",
        help="table for people; json is one document (see `fleet schema`), ndjson an object a line, csv a row a"
        " session.",
    ),
]
_Watch = Annotated[
    float | None,
    typer.Option(
        "--watch",
        metavar="S",
        min=0.2,
        max=3600,
        help="Keep on, and show the state every S seconds until Ctrl-C.",
    ),
]
_Timeout = Annotated[
    float | None,
    typer.Option(
        "--timeout",
        metavar="S",
        min=0.1,
        max=3600,
        envvar="FLEET_TIMEOUT",
        help="Give up on a host after S seconds in all, whatever its own timeouts; not with --watch.",
    ),
]
_FailOn = Annotated[
    FailOn,
    typer.Option(
        "--fail-on",
        envvar="FLEET_FAIL_ON",
        help="Exit 4 when any host failed and 5 when all did, only 5 (all), or 0 in any case (none).",
    ),
]
_Fresh = Annotated[
    bool, typer.Option("--fresh", help="Have every agent read anew, not show what the daemon knows already.")
]
_NoDaemon = Annotated[
    bool, typer.Option("--no-daemon", help="Connect to every host, even if a daemon runs that would know.")
]
_Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Say where the answer came from.")]


def status(
    host: Hosts = None,
    exclude: Excludes = None,
    why: _Why = False,
    json: _Json = False,
    format: _Format = Format.TABLE,  # noqa: A002 - the option's name
    watch: _Watch = None,
    timeout: _Timeout = None,
    fail_on: _FailOn = FailOn.ANY,
    config: ConfigFile = None,
    fresh: _Fresh = False,
    no_daemon: _NoDaemon = False,
    verbose: _Verbose = False,
) -> None:
    """Show the coding-agent sessions of every host.

    Those that wait for you come first. If a daemon runs, it is asked; else all hosts are connected to at once.
    Those that could not be read are listed below, with the reason and what mends it. Exit codes: 0; 2 wrong
    command line or configuration; 4 some hosts failed; 5 all hosts failed; 130 interrupted.

    Marks in the table: * before a host, its last good reading; ? behind a state, a guess; ~ before tokens, not
    exact; behind a branch * for uncommitted changes, +N for commits to push, -N to pull. "working tool 3m" is 3
    minutes into a tool call, "idle +2 waiting" has two subagents that wait. On a terminal, subagents that are
    done are counted, not listed.
    """
    chosen = Format.JSON if json else format
    if watch and chosen is Format.CSV:
        raise typer.BadParameter("csv is one table; use --format ndjson to keep on", param_hint="--watch")
    if fresh and no_daemon:
        raise typer.BadParameter("without a daemon every reading is fresh", param_hint="--fresh")
    if not no_daemon:
        from fleet.cli import status_by_daemon

        query = status_by_daemon.Query(
            host or [], exclude or [], config, timeout if fresh else None, fresh=fresh
        )
        if (shown := status_by_daemon.show(query, chosen, why=why, every_s=watch, verbose=verbose)) is not None:
            raise typer.Exit(exit_code(*shown, fail_on))
    from fleet.cli import status_direct

    read = status_direct.show(host or [], exclude or [], config, timeout, chosen, why=why, every_s=watch)
    raise typer.Exit(exit_code(*read, fail_on))
