"""`fleet hosts`: how the link to each host does; and its verbs, each in a file of its own."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from fleet.cli.hosts.adding import add, remove
from fleet.cli.hosts.checking import check
from fleet.cli.hosts.fetching import fetch
from fleet.cli.hosts.importing import import_
from fleet.cli.hosts.installing import install, uninstall
from fleet.cli.hosts.listing import list_, show
from fleet.cli.hosts.restricting import restrict
from fleet.cli.hosts.trusting import trust
from fleet.cli.options import ConfigFile, Excludes, Hosts

app = typer.Typer(invoke_without_command=True, no_args_is_help=False)
app.command()(add)
app.command("import")(import_)
app.command()(remove)
app.command("list")(list_)
app.command()(show)
app.command()(check)
app.command()(install)
app.command()(uninstall)
app.command("wheels")(fetch)
app.command()(trust)
app.command()(restrict)


@app.callback()
def hosts(
    context: typer.Context,
    host: Hosts = None,
    exclude: Excludes = None,
    json: Annotated[bool, typer.Option("--json", help="The same as one JSON document.")] = False,
    config: ConfigFile = None,
    no_daemon: Annotated[
        bool, typer.Option("--no-daemon", help="Connect to every host, even if a daemon runs that would know.")
    ] = False,
) -> None:
    """Show how the link to each host does; add, check, trust hosts.

    Without a command: up, slow, stale or down, since when, and what is wrong with each. Exit codes as those of
    `fleet status`.
    """
    if context.invoked_subcommand is None:
        _show(host or [], exclude or [], config, json=json, no_daemon=no_daemon)


def _show(
    hosts: Sequence[str], excludes: Sequence[str], config: Path | None, *, json: bool, no_daemon: bool
) -> None:
    import time

    import msgspec

    from fleet.cli import status_by_daemon, status_direct
    from fleet.cli.options import FailOn
    from fleet.cli.outcome import exit_code
    from fleet.cli.terminal import paint, terminal, write
    from fleet.views.links import links

    query = status_by_daemon.Query(hosts, excludes, config, None, fresh=False)
    now = None if no_daemon else status_by_daemon.document(query)
    if now is None:
        now = status_direct.document_of(hosts, excludes, config)
    if json:
        parts = {"generated_at": now.generated_at, "hosts": now.hosts, "host_errors": now.host_errors}
        write(msgspec.json.format(msgspec.json.encode(parts), indent=2) + b"\n")
    else:
        to = terminal()
        write("".join(f"{line}\n" for line in paint(links(now, time.time(), to.width), to.colour)))
    raise typer.Exit(exit_code(len(now.host_errors), len(now.hosts), FailOn.ANY))
