"""Prints docs/cli.md, the reference of the command line, from its own --help.

python scripts/cli_reference.py > docs/cli.md
"""

from collections.abc import Iterator
from typing import Any

from typer.main import get_command
from typer.testing import CliRunner

from fleet.cli.app import app

HEAD = """\
# Command line

What `--help` says, for every command. `scripts/cli_reference.py` writes this page; a test keeps it current.
"""
SECTION = """
## {command}

```text
{text}
```
"""


def _help(*command: str) -> str:
    done = CliRunner().invoke(app, [*command, "--help"], prog_name="fleet", env={"COLUMNS": "100"})
    return done.stdout.strip()


def _paths(command: Any, *path: str) -> Iterator[tuple[str, ...]]:
    """The command itself, then its subcommands, at any depth."""
    yield path
    for name, below in getattr(command, "commands", {}).items():
        yield from _paths(below, *path, name)


def reference() -> str:
    """The whole page."""
    return HEAD + "".join(
        SECTION.format(command=" ".join(("fleet", *path)), text=_help(*path))
        for path in _paths(get_command(app))
    )


if __name__ == "__main__":
    print(reference(), end="")
