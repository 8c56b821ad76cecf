"""The options that several commands take, and the words that they take."""

import enum
from pathlib import Path
from typing import Annotated

import typer


class Format(enum.StrEnum):
    """How the state is printed."""

    TABLE = "table"
    JSON = "json"
    NDJSON = "ndjson"
    CSV = "csv"


class FailOn(enum.StrEnum):
    """Which failures of hosts the exit code tells of."""

    NONE = "none"
    ANY = "any"
    ALL = "all"


class Privacy(enum.StrEnum):
    """What may leave a host."""

    META = "meta"
    TITLE = "title"
    TEXT = "text"


class Goal(enum.StrEnum):
    """What `fleet wait` waits for."""

    IDLE = "idle"
    WAITING = "waiting"
    ENDED = "ended"
    ANY = "any"


Hosts = Annotated[
    list[str] | None,
    typer.Option(
        "--host",
        "-H",
        metavar="EXPR",
        envvar="FLEET_HOST",
        help="Hosts to read: all, NAME, @GROUP, node[1-9,12], !NAME to leave one out. Joined by commas, or the"
        " option repeated. [default: all]",
    ),
]
Excludes = Annotated[
    list[str] | None,
    typer.Option("--exclude", "-x", metavar="EXPR", envvar="FLEET_EXCLUDE", help="Hosts to leave out."),
]
_EXPRESSIONS = "Expressions as of --host: all, NAME, @GROUP, node[1-9,12], !NAME."
HostArguments = Annotated[list[str] | None, typer.Argument(metavar="[HOST]...", help=_EXPRESSIONS)]
NamedHosts = Annotated[list[str], typer.Argument(metavar="HOST...", help=_EXPRESSIONS)]
NoDaemon = Annotated[
    bool, typer.Option("--no-daemon", help="Log in to hosts, even if a daemon runs that is logged in already.")
]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Say how hosts are reached.")]
Json = Annotated[bool, typer.Option("--json", help="The same as JSON.")]
ConfigFile = Annotated[
    Path | None,
    # whether it can be read is for `fleet.config` to say, with the fix
    typer.Option(
        "--config", metavar="FILE", envvar="FLEET_CONFIG", readable=False, help="The hosts.toml to use."
    ),
]
