"""`fleet hosts wheels`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from fleet.bootstrap.probe import Target


def fetch(
    directory: Annotated[
        Path | None,
        typer.Argument(
            metavar="[DIRECTORY]",
            help="Where they are put. [default: where fleet looks for them, ~/.config/fleet/wheels]",
            show_default=False,
        ),
    ] = None,
    for_: Annotated[
        list[str] | None,
        typer.Option("--for", metavar="KIND", help="A kind of host, like x86_64-cp311-gnu; may be repeated."),
    ] = None,
) -> None:
    """Fetch what the shipped agent needs, for use without internet.

    The wheels of every kind of host (CPython 3.10 to 3.14; Linux with glibc or musl, macOS; x86-64, ARM 64),
    checked by their hashes: 14 MB. Run it where there is internet, and copy the directory to
    ~/.config/fleet/wheels of the machine that fleet runs on. Connects to no host. Exit codes: 0; 4 some kinds
    could not be had; 5 none.
    """
    import os

    from fleet import collector, paths
    from fleet.bootstrap import wheels
    from fleet.cli.options import FailOn
    from fleet.cli.outcome import exit_code
    from fleet.errors import UsageError

    targets = _chosen(for_ or [])
    into = paths.expanded(directory or paths.wheels_directory(os.environ)).absolute()
    try:
        into.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise UsageError(f"{into}: cannot be made: {exc.strerror}; name another directory") from None
    failures = collector.run(wheels.fetch(targets, into))
    for target, failure in zip(targets, failures, strict=True):
        print(f"{target.name}: {failure or 'ok'}")
    files = list(into.glob("*.whl"))
    size_mb = sum(file.stat().st_size for file in files) / 1e6
    print(f"{len(files)} wheels, {size_mb:.1f} MB, are in {into}")
    raise typer.Exit(exit_code(sum(f is not None for f in failures), len(targets), FailOn.ANY))


def _chosen(names: list[str]) -> "list[Target]":
    from fleet.bootstrap.probe import common
    from fleet.errors import UsageError

    kinds = {target.name: target for target in common()}
    for name in names:
        if name not in kinds:
            raise UsageError(f"--for {name}: no such kind of host; there are {', '.join(kinds)}")
    return [target for name, target in kinds.items() if not names or name in names]
