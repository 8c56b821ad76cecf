"""Prints docs/cli.md, the reference of the command line, from its own --help.

python scripts/cli_reference.py > docs/cli.md
"""

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


def reference() -> str:
    """The whole page."""
    names = [
        (command.name or command.callback.__name__,) for command in app.registered_commands if command.callback
    ]
    return HEAD + "".join(
        SECTION.format(command=" ".join(("fleet", *name)), text=_help(*name)) for name in [(), *names]
    )


if __name__ == "__main__":
    print(reference(), end="")
