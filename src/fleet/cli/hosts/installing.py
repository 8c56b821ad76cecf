"""`fleet hosts install` and `fleet hosts uninstall`."""

from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from fleet.cli.options import ConfigFile, NamedHosts

if TYPE_CHECKING:
    from fleet.config import HostSpec
    from fleet.installing import Done


def install(hosts: NamedHosts, config: ConfigFile = None) -> None:
    """Put this fleet's agent on hosts now.

    Into ~/.cache/fleet/agent there, whatever is installed otherwise. `fleet status` does so by itself where no
    agent is found. Exit codes as those of `fleet status`.
    """
    from fleet import installing

    _run(hosts, config, installing.install, lambda done: f"this fleet's agent is there ({done.target})")


def uninstall(hosts: NamedHosts, config: ConfigFile = None) -> None:
    """Take away what fleet has put on hosts, also for `restrict`. An agent that was installed otherwise stays.

    Where `install` is "auto", the next reading puts it there again. Exit codes as those of `fleet status`.
    """
    from fleet import installing

    _run(hosts, config, installing.uninstall, lambda _: "nothing of fleet is in its cache directory")


def _run(
    hosts: Sequence[str],
    config: Path | None,
    act: "Callable[[Sequence[HostSpec]], Coroutine[Any, Any, list[Done]]]",
    told: "Callable[[Done], str]",
) -> None:
    from fleet import collector
    from fleet.cli.options import FailOn
    from fleet.cli.outcome import exit_code
    from fleet.config import load

    specs = [spec for spec in load(config).select(hosts) if not spec.is_local]
    if not specs:
        print("nothing to do: this machine runs the agent that is beside fleet")
        return
    results = collector.run(act(specs))
    for done in results:
        if done.error is None:
            print(f"{done.host}: {told(done)}")
        else:
            print(f"{done.host}: {done.error.kind} ({done.error.phase}): {done.error.message}")
            print(f"  hint: {done.error.hint}")
    raise typer.Exit(exit_code(sum(done.error is not None for done in results), len(results), FailOn.ANY))
