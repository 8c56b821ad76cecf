"""`fleet hosts import`."""

import sys
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated

import typer

from fleet import paths
from fleet.cli.options import ConfigFile

_USERS_OWN = Path("~/.ssh/config")


def import_(
    patterns: Annotated[
        list[str] | None, typer.Argument(metavar="[PATTERN]...", help="Aliases to take: gpu01, 'gpu*'.")
    ] = None,
    from_: Annotated[Path, typer.Option("--from", metavar="FILE", help="The ssh_config to read.")] = _USERS_OWN,
    everything: Annotated[bool, typer.Option("--all", help="Take every alias.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be added, and add nothing.")
    ] = False,
    config: ConfigFile = None,
) -> None:
    """Add hosts of your ssh_config to hosts.toml.

    You choose on the terminal, by patterns, or all of them. Files that it includes are read, too. `Host`
    patterns are no hosts, and what hosts.toml has already stays as it is. Connects to none: `fleet hosts check`
    does. Exit code 2: nothing was added.
    """
    from fleet import inventory
    from fleet.aliases import aliases
    from fleet.cli.hosts.adding import say_edited
    from fleet.cli.hosts.editing import edit, edited_file
    from fleet.config import is_name, load
    from fleet.errors import UsageError

    source, path = paths.expanded(from_).absolute(), edited_file(config)
    known = load(path).hosts if path.is_file() else {}
    found = aliases(source)
    new = [name for name in found if name not in known and is_name(name)]
    chosen = new if everything else _chosen(new, patterns or []) if new else []
    if not chosen:
        raise UsageError(f"{source}: {len(found)} aliases, none of them new and chosen; {path} is as it was")
    settings = {} if from_ == _USERS_OWN else {"ssh_config": str(source)}
    if dry_run:
        print(f"would add to {path}:\n" + "\n".join(chosen))
        return
    edit(path, lambda text, at: inventory.with_hosts(text, dict.fromkeys(chosen, settings), [], at))
    say_edited(f"{len(chosen)} host{'s' if len(chosen) > 1 else ''} more in {path}: {', '.join(chosen)}", path)


def _chosen(names: Sequence[str], patterns: Sequence[str]) -> list[str]:
    from fleet.errors import UsageError

    if not patterns:
        if not sys.stdin.isatty():
            raise UsageError("nobody can be asked here; name the hosts ('gpu*'), or take them with --all")
        print("\n".join(names))
        patterns = input("Which of them? Names or patterns like gpu*, * for all: ").replace(",", " ").split()
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise UsageError(f"{pattern!r}: no new alias is named so; new: {', '.join(names)}")
    return [name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns)]
