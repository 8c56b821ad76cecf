"""`fleet daemon`, `fleet daemon status`, `fleet daemon reload`, `fleet daemon stop`."""

from typing import Annotated

import typer

from fleet.cli.options import ConfigFile

app = typer.Typer(invoke_without_command=True, no_args_is_help=False)

_Listen = Annotated[
    str | None,
    typer.Option(
        "--listen",
        metavar="ADDRESS:PORT",
        envvar="FLEET_LISTEN",
        help="Serve over TCP too, to whoever shows the token; `127.0.0.1:7433` for this machine alone.",
    ),
]
_Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Log warnings and errors only.")]


@app.callback()
def daemon(
    context: typer.Context, config: ConfigFile = None, listen: _Listen = None, quiet: _Quiet = False
) -> None:
    """Keep a connection to every host, for answers at once.

    Without a command: run the daemon. It stays in the foreground, for systemd, launchd and containers, and logs
    to standard error. While it runs, `fleet status` answers from it at once. SIGHUP reads the configuration
    again. Exit code 6: another one runs.
    """
    if context.invoked_subcommand is not None:
        return
    from fleet.cli.serving import serve_forever

    serve_forever(config, listen, quiet=quiet)


@app.command()
def status() -> None:
    """Show whether a daemon runs, and how it does. Exit code 6 when there is none."""
    from fleet.cli.daemon_client import about

    for name, value in about().items():
        print(f"{name:<12}{value}")


@app.command()
def reload() -> None:
    """Have the daemon read its configuration again, whole or not at all."""
    from fleet.cli.daemon_client import told

    print(f"following {told('POST', '/v1/reload')['hosts']} hosts")


@app.command()
def stop(
    timeout: Annotated[
        float, typer.Option("--timeout", metavar="S", min=0.1, max=600, help="Wait this long.")
    ] = 10.0,
) -> None:
    """End the daemon, and wait until it has ended."""
    from fleet.cli.daemon_client import stopped

    print(f"daemon {stopped(timeout)} has ended")
