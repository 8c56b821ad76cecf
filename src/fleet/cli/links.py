"""`fleet hosts`."""

from typing import Annotated

import typer

from fleet.cli.options import ConfigFile, Excludes, Hosts


def hosts(
    host: Hosts = None,
    exclude: Excludes = None,
    json: Annotated[bool, typer.Option("--json", help="The same as one JSON document.")] = False,
    config: ConfigFile = None,
    no_daemon: Annotated[
        bool, typer.Option("--no-daemon", help="Connect to every host, even if a daemon runs that would know.")
    ] = False,
) -> None:
    """Show how the link to each host does: up, slow, stale or down, since when, and what is wrong with it.

    Exit codes as those of `fleet status`.
    """
    import time

    import msgspec

    from fleet.cli import asked, direct
    from fleet.cli.options import FailOn
    from fleet.cli.outcome import exit_code
    from fleet.cli.terminal import paint, terminal, write
    from fleet.views.links import links

    query = asked.Query(host or [], exclude or [], config, None, fresh=False)
    now = None if no_daemon else asked.document(query)
    if now is None:
        now = direct.document_of(host or [], exclude or [], config)
    if json:
        parts = {"generated_at": now.generated_at, "hosts": now.hosts, "host_errors": now.host_errors}
        write(msgspec.json.format(msgspec.json.encode(parts), indent=2) + b"\n")
    else:
        to = terminal()
        write("".join(f"{line}\n" for line in paint(links(now, time.time(), to.width), to.colour)))
    raise typer.Exit(exit_code(len(now.host_errors), len(now.hosts), FailOn.ANY))
