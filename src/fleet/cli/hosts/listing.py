"""`fleet hosts list` and `fleet hosts show`."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from fleet.cli.options import ConfigFile, HostArguments

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fleet.config import HostSpec

_GAP = "  "
_MIN_VALUE_CELLS = 20  # however narrow the terminal is
_Json = Annotated[bool, typer.Option("--json", help="The same as JSON, with more of each.")]


def list_(hosts: HostArguments = None, json: _Json = False, config: ConfigFile = None) -> None:
    """Print the names of the hosts, one a line, for scripts. Connects to none."""
    from fleet.cli.terminal import write
    from fleet.config import load

    loaded = load(config)
    specs = loaded.select(hosts or [])
    if not json:
        write("".join(f"{spec.name}\n" for spec in specs))
        return
    import msgspec

    groups = {s.name: [group for group, names in loaded.groups.items() if s.name in names] for s in specs}
    listed = [
        {
            "name": s.name,
            "address": s.address,
            "user": s.user,
            "port": s.port,
            "jump": s.jump.name if s.jump else None,
            "groups": groups[s.name],
        }
        for s in specs
    ]
    document = {"config": str(loaded.path) if loaded.path else None, "hosts": listed}
    write(msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n")


def show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A host of hosts.toml, or local.")],
    json: Annotated[bool, typer.Option("--json", help="The same as JSON.")] = False,
    config: ConfigFile = None,
) -> None:
    """Print every setting of a host, and where each comes from.

    Those that are in force now; it connects to nothing. The sources: [hosts.NAME] and [defaults] of hosts.toml;
    ssh, which is ssh_config as `ssh -G` reads it, with ssh's own defaults; and the defaults of fleet.
    """
    from fleet.cli.terminal import terminal, write
    from fleet.config import load
    from fleet.errors import UsageError

    loaded = load(config)
    if name not in loaded.hosts:
        raise UsageError(f"there is no host {name!r}; `fleet hosts list` names them all")
    tables: dict[str, Any] = {}
    if loaded.path:
        import tomllib

        tables = tomllib.loads(loaded.path.read_text("utf-8"))
    from fleet.inventory import settings

    found = settings(tables, name, _by_ssh(loaded.hosts[name]))
    if json:
        import msgspec

        listed = [{"key": key, "value": value, "source": source} for key, value, source in found]
        document = {"config": str(loaded.path) if loaded.path else None, "host": name, "settings": listed}
        write(msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n")
        return
    rows = [(key, _shown(value), source) for key, value, source in found]
    write("".join(f"{line}\n" for line in _aligned(rows, terminal().width)))


def _aligned(rows: "Sequence[tuple[str, str, str]]", width: int | None) -> "Iterator[str]":
    """A line a setting; a value that is too long for a terminal of `width` cells goes on below itself."""
    from fleet.views import cells

    first, second, third = (max(cells.width(row[i]) for row in rows) for i in range(3))
    if width is not None:
        second = min(second, max(_MIN_VALUE_CELLS, width - first - third - 2 * len(_GAP)))
    for key, value, source in rows:
        head, *rest = cells.wrap(value, second if width else None)
        yield _GAP.join((cells.ljust(key, first), cells.ljust(head, second), source))
        yield from (" " * first + _GAP + part for part in rest)


def _by_ssh(spec: "HostSpec") -> dict[str, Any]:
    if spec.is_local:
        return {}
    from fleet import transport
    from fleet.cli.hosts.named import done_with

    return done_with(spec, transport.by_ssh(spec))


def _shown(value: Any) -> str:
    if value is None or value == []:
        return "-"
    if isinstance(value, bool):
        return str(value).lower()
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
