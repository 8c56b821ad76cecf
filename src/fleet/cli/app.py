"""The application: its commands, and what becomes of their errors."""

import os
import sys
from typing import Annotated

import typer

import fleet
from fleet.cli import daemon
from fleet.cli.hosts import links
from fleet.cli.schema import schema
from fleet.cli.sessions.attaching import attach, resume
from fleet.cli.sessions.deciding import answer, approvals, approve, deny
from fleet.cli.sessions.logs import logs
from fleet.cli.sessions.running import run
from fleet.cli.sessions.runs import delete, prune, ps
from fleet.cli.sessions.saying import interrupt, send, stop
from fleet.cli.status import status
from fleet.cli.watch import wait, watch

app = typer.Typer(
    name="fleet",
    help="Every coding-agent session on every machine you can reach over SSH, in one view.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(status)
app.command()(watch)
app.command()(wait)
for command in (
    run,
    ps,
    attach,
    logs,
    send,
    interrupt,
    approvals,
    approve,
    deny,
    answer,
    stop,
    delete,
    prune,
    resume,
):
    app.command()(command)
app.command()(schema)
app.add_typer(daemon.app, name="daemon")
app.add_typer(links.app, name="hosts")

_INTERRUPTED = 130  # what typer makes of Ctrl-C; `fleet.errors.ExitCode` has it too, and imports msgspec


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"fleet {fleet.__version__}")  # which flushes: what cannot be written is known here
        raise typer.Exit


def _open_standard_files() -> None:
    """Open what the caller closed (`<&-`): else a socket becomes standard output, or libuv aborts."""
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def _check_output() -> None:
    """Exit 1 if standard output, which may still hold a help text, cannot be written."""
    from fleet.cli.terminal import write

    write(b"")


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> None:
    """Every coding-agent session on every machine you can reach over SSH, in one view."""


def main() -> None:
    """Run the command line. Ends by `SystemExit`; any other exception is a bug of ours (exit code 1)."""
    _open_standard_files()
    try:
        app()
    except SystemExit as end:
        if end.code == _INTERRUPTED and sys.stderr.isatty():
            print(file=sys.stderr)  # the terminal has echoed ^C, and the cursor is behind it
        raise
    except OSError:
        _check_output()
        raise
    except Exception as exc:
        from fleet.errors import FleetError

        if not isinstance(exc, FleetError):
            raise
        print(f"fleet: {exc}", file=sys.stderr)
        sys.exit(exc.exit_code)
