"""`fleet hosts check`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from fleet.cli.options import ConfigFile, FailOn, HostArguments

if TYPE_CHECKING:
    from fleet.checks import Check


def check(
    hosts: HostArguments = None,
    json: Annotated[bool, typer.Option("--json", help="Every step of every host, as JSON.")] = False,
    fail_on: Annotated[
        FailOn, typer.Option("--fail-on", help="Exit with 4 or 5 when any host failed, all failed, or never.")
    ] = FailOn.ANY,
    timeout: Annotated[
        float | None,
        typer.Option("--timeout", metavar="S", min=0.1, max=3600, help="Seconds for each host in all."),
    ] = None,
    config: ConfigFile = None,
) -> None:
    """Walk to each host, and say which step fails, and its fix.

    To all at once. The steps: config, resolve, tcp, ssh, host_key, auth, python, agent, hello, snapshot, tools,
    clock. It connects by itself, whether a daemon runs or not. Exit codes as those of `fleet status`.
    """
    from fleet import checking, collector
    from fleet.cli.outcome import exit_code
    from fleet.config import load

    checks = collector.run(checking.check_fleet(load(config).select(hosts or []), timeout))
    if json:
        write_json(checks)
    else:
        write_text(checks)
    raise typer.Exit(exit_code(sum(c.failed is not None for c in checks), len(checks), fail_on))


def write_text(checks: "Sequence[Check]") -> None:
    """A table; of one host, its steps."""
    from fleet.cli.terminal import paint, terminal, write
    from fleet.views.checks import steps, table

    to = terminal()
    lines = steps(checks[0], to.width) if len(checks) == 1 else table(checks, to.width)
    write("".join(f"{line}\n" for line in paint(lines, to.colour)))


def write_json(checks: "Sequence[Check]") -> None:
    """One document; `failed` names the first step that failed."""
    import time

    import msgspec

    from fleet.cli.terminal import write
    from fleet.views.units import rfc3339

    found = [
        {"host": c.host, "failed": c.failed.name if c.failed else None, "steps": c.steps, "error": c.error}
        for c in checks
    ]
    document = {"generated_at": rfc3339(time.time()), "checks": found}
    write(msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n")
