"""`fleet status`."""

from pathlib import Path
from typing import Annotated

import typer

from fleet.cli.options import FailOn, Format

_Host = Annotated[
    list[str] | None,
    typer.Option(
        "--host",
        "-H",
        metavar="EXPR",
        envvar="FLEET_HOST",
        help="Hosts to read: all, NAME, @GROUP, node[1-9,12], !NAME to leave one out. Joined by commas, or the"
        " option repeated. [default: all]",
    ),
]
_Exclude = Annotated[
    list[str] | None,
    typer.Option("--exclude", "-x", metavar="EXPR", envvar="FLEET_EXCLUDE", help="Hosts to leave out."),
]
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
_Config = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", envvar="FLEET_CONFIG", help="The hosts.toml to use."),
]


def status(
    host: _Host = None,
    exclude: _Exclude = None,
    why: _Why = False,
    json: _Json = False,
    format: _Format = Format.TABLE,  # noqa: A002 - the option's name
    watch: _Watch = None,
    timeout: _Timeout = None,
    fail_on: _FailOn = FailOn.ANY,
    config: _Config = None,
) -> None:
    """Show the coding-agent sessions of every host.

    Those that wait for you come first. All hosts are read at once; those that could not be read are listed
    below, with the reason and what mends it. Exit codes: 0; 2 wrong command line or configuration; 4 some hosts
    failed; 5 all hosts failed; 130 interrupted.
    """
    chosen = Format.JSON if json else format
    if watch and chosen is Format.CSV:
        raise typer.BadParameter("csv is one table; use --format ndjson to keep on", param_hint="--watch")
    from fleet import collector
    from fleet.cli.outcome import exit_code
    from fleet.cli.render import View, again, once
    from fleet.cli.terminal import terminal, write
    from fleet.config import load
    from fleet.hosts import select

    loaded = load(config)
    specs = select(host or [], exclude or [], loaded.hosts, loaded.groups)
    view = View(chosen, why, configured=loaded.path is not None)
    if watch:
        from fleet.cli.watch import watch as keep_on

        collector.run(keep_on(specs, watch, lambda fleet: write(again(fleet, view, terminal()))))
        return
    fleet = collector.run(collector.read_fleet(specs, timeout))
    write(once(fleet, view, terminal()))
    raise typer.Exit(exit_code(fleet, fail_on))
