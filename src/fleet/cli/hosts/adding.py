"""`fleet hosts add` and `fleet hosts remove`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fleet.cli.options import ConfigFile

if TYPE_CHECKING:
    from fleet.config import HostSpec

_NewName = Annotated[
    str, typer.Argument(metavar="NAME", help="What the host is called: an alias of ssh_config needs no option.")
]
_KnownName = Annotated[str, typer.Argument(metavar="NAME", help="A host of hosts.toml.")]


def add(
    name: _NewName,
    address: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Its name or address, if not NAME.")
    ] = None,
    user: Annotated[str | None, typer.Option(metavar="USER", help="The user to log in as.")] = None,
    port: Annotated[int | None, typer.Option(metavar="PORT", help="The port of its sshd.")] = None,
    jump: Annotated[
        str | None,
        typer.Option(metavar="HOST", help="The host to go through: one of hosts.toml, or [user@]host[:port]."),
    ] = None,
    identity: Annotated[
        list[str] | None, typer.Option(metavar="FILE", help="The private key to offer; may be repeated.")
    ] = None,
    agent_command: Annotated[
        str | None, typer.Option("--agent-command", metavar="COMMAND", help="Where its fleet-agent is.")
    ] = None,
    group: Annotated[
        list[str] | None, typer.Option(metavar="GROUP", help="A group it joins; may be repeated.")
    ] = None,
    tag: Annotated[
        list[str] | None, typer.Option(metavar="TAG", help="A tag of its own; may be repeated.")
    ] = None,
    no_check: Annotated[bool, typer.Option("--no-check", help="Do not connect to it.")] = False,
    config: ConfigFile = None,
) -> None:
    """Add a host to hosts.toml, then check it.

    The file is made if there is none. Says what works, or exactly which step failed and what mends it; what is
    left out is what `ssh NAME` would do. A running daemon follows it at once. Exit codes: 0 it works; 5 it was
    added, and a step failed; 2 nothing was added.
    """
    settings = _given(
        address=address, user=user, port=port, jump=jump, identity=_one_or_more(identity),
        agent_command=agent_command, tags=tag,
    )  # fmt: skip
    added = _added(name, settings, group or [], config)
    if not no_check:
        _checked(added)


def remove(name: _KnownName, config: ConfigFile = None) -> None:
    """Take a host out of hosts.toml and of the groups that name it. Nothing is changed on the host itself."""
    from fleet import inventory
    from fleet.cli.hosts.editing import edit, edited_file

    path = edited_file(config)
    edit(path, lambda text, at: inventory.without_host(text, name, at))
    say_edited(f"{name} is no longer in {path}", path)


def say_edited(what: str, path: Path) -> None:
    """What was done to the file, and what the daemon makes of it."""
    from fleet.cli.hosts.editing import told_to_reload
    from fleet.cli.terminal import write

    told = told_to_reload(path)
    write(f"{what}\n{told}\n" if told else f"{what}\n")


def _given(**settings: Any) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if value is not None and value != []}


def _one_or_more(values: list[str] | None) -> str | list[str] | None:
    return values[0] if values and len(values) == 1 else values


def _added(name: str, settings: dict[str, Any], groups: list[str], config: Path | None) -> "HostSpec":
    from fleet import inventory
    from fleet.cli.hosts.editing import edit, edited_file
    from fleet.cli.terminal import write

    path = edited_file(config)
    accepted = edit(path, lambda text, at: inventory.with_hosts(text, {name: settings}, groups, at))
    say_edited(f"{name} is in {path}", path)
    for hop in str(settings.get("jump", "")).split(","):
        if hop and hop not in accepted.hosts:
            write(f"the jump {hop} is no host of that file: it is taken as an address\n")
    return accepted.hosts[name]


def _checked(spec: "HostSpec") -> None:
    from fleet import checking, collector
    from fleet.cli.hosts.checking import write_text
    from fleet.errors import ExitCode

    checks = collector.run(checking.check_fleet([spec]))
    write_text(checks)
    if checks[0].failed:
        raise typer.Exit(ExitCode.ALL_HOSTS_FAILED)
