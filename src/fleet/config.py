"""hosts.toml -> `Config`: every host with all its settings filled in.

Precedence for one setting: `[hosts.NAME]`, then `[defaults]`, then the default written in `Settings` below
(for `local`, first `LOCAL_DEFAULTS`).
The file is the one named by the caller (`--config`), else `$FLEET_CONFIG`, else
`$XDG_CONFIG_HOME/fleet/hosts.toml` (`~/.config`, on macOS too), else `/etc/fleet/hosts.toml`; with none of
these the fleet is this machine alone. A file is taken whole or not at all: the first thing wrong in it is a
`ConfigError` that names file, table, key, value and fix.
"""

import functools
import os
import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from fleet import hosts, paths
from fleet.errors import ConfigError, UsageError

LOCAL = "local"
# Whoever may run fleet here may run every tool here too: to forbid it would protect nobody.
LOCAL_DEFAULTS = {"control": True}
MAX_HOSTS = 10_000
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_HOP = re.compile(
    r"(?:ssh://)?(?:(?P<user>[^@\s]+)@)?(?:\[(?P<bracketed>[^\]\s]+)\]|(?P<host>[^:\s\[\]@-][^:\s\[\]@]*))"
    r"(?::(?P<port>\d{1,5}))?"
)
SSH_KEYS = ("address", "user", "port", "identity", "known_hosts", "jump", "ssh_config")

# The description of a type is the "fix" of its error message.
_Seconds = Annotated[float, Meta(gt=0, le=3600, description="a number of seconds, above 0 and at most 3600")]
_Word = Annotated[str, Meta(min_length=1, pattern=r"^\S+$", description="text without spaces")]
_Path = Annotated[str, Meta(min_length=1, description="a path; ~ is your home")]
_Words = Annotated[list[_Word], Meta(description='a list of words, like ["a", "b"]')]
_Port = Annotated[int, Meta(ge=1, le=65535, description="a number from 1 to 65535")]
_Command = Annotated[str, Meta(min_length=1, description="a command line, like /opt/fleet/bin/fleet-agent")]
_Privacy = Annotated[Literal["meta", "title", "text"], Meta(description='one of "meta", "title" and "text"')]
_Bool = Annotated[bool, Meta(description="true or false")]
_Install = Annotated[Literal["auto", "never"], Meta(description='"auto" or "never"')]
_Interval = Annotated[float, Meta(ge=0.2, le=3600, description="a number of seconds from 0.2 to 3600")]


class Timeouts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long each phase of reading a host may take, in seconds. A slow link wants more, per host."""

    dns_s: _Seconds = 5.0  # resolving the address
    connect_s: _Seconds = 5.0  # TCP
    auth_s: _Seconds = 15.0  # SSH: banner, key exchange, host key, login; from the start of the handshake
    install_s: _Seconds = 30.0  # putting the agent there, for each piece of it, and for unpacking
    hello_s: _Seconds = 10.0  # starting the agent, up to its first line
    snapshot_s: _Seconds = 10.0  # from the hello to a whole snapshot


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Every key of `[defaults]` and of `[hosts.NAME]`, with its default. hosts.example.toml explains each."""

    address: _Word | None = None
    user: _Word | None = None
    port: _Port | None = None
    identity: _Path | list[_Path] = msgspec.field(default_factory=list)
    known_hosts: _Path | list[_Path] = msgspec.field(default_factory=list)
    jump: _Word | None = None
    ssh_config: _Path = "~/.ssh/config"
    agent_command: _Command | None = None
    install: _Install = "auto"
    control: _Bool = False
    privacy: _Privacy = "meta"
    tags: _Words = msgspec.field(default_factory=list)
    interval_s: _Interval = 2.0
    timeouts: Timeouts = Timeouts()


class HostSpec(msgspec.Struct, frozen=True):
    """One configured host, ready to be read. Paths are absolute; empty means "what ssh would use".

    `address` None: the name itself is given to ssh_config and DNS, as `ssh NAME` would. `jump` is the host to
    go through, which may have a `jump` of its own. `ssh_config` None: ssh's configuration is not read.
    """

    name: str
    address: str | None = None
    user: str | None = None
    port: int | None = None
    identity: tuple[str, ...] = ()
    known_hosts: tuple[str, ...] = ()
    jump: "HostSpec | None" = None
    ssh_config: str | None = None
    agent_command: str | None = None
    install: str = "auto"
    control: bool = False
    privacy: str = "meta"
    tags: tuple[str, ...] = ()
    interval_s: float = 2.0
    timeouts: Timeouts = Timeouts()

    @property
    def is_local(self) -> bool:
        """Whether this is the machine that fleet runs on, which is read without SSH."""
        return self.name == LOCAL


class Config(msgspec.Struct, frozen=True):
    """All hosts in the order of the file (`local` first unless the file places it), and the groups."""

    hosts: Mapping[str, HostSpec]
    groups: Mapping[str, tuple[str, ...]]
    path: Path | None = None  # None: there is no configuration file

    @property
    def fingerprint(self) -> str:
        """The same for two that have the same hosts with the same settings, else another."""
        from hashlib import blake2b  # which loads OpenSSL

        return blake2b(msgspec.json.encode(tuple(self.hosts.values())), digest_size=16).hexdigest()

    def select(self, expressions: Sequence[str], excludes: Sequence[str] = ()) -> tuple[HostSpec, ...]:
        """The hosts that expressions name, as `fleet.hosts.select`. Raises `UsageError`."""
        return hosts.select(expressions, excludes, self.hosts, self.groups)


def load(path: Path | None = None) -> Config:
    """The configuration, from `path` or from where it is looked for. Raises `ConfigError`."""
    found = path or paths.config_file(os.environ)
    if found is None:
        return parse({}, None)
    import tomllib  # 10 ms that a machine without a configuration file need not pay

    try:
        tables = tomllib.loads(found.read_text("utf-8"))
    except FileNotFoundError:
        raise ConfigError(
            f"{found}: there is no such file; make it, or name another by --config or FLEET_CONFIG"
        ) from None
    except OSError as exc:
        raise ConfigError(
            f"{found}: cannot be read: {exc.strerror}; mend that, or name another by --config or FLEET_CONFIG"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{found}: is not TOML: {exc}") from None
    return parse(tables, found)


def parse(tables: Mapping[str, Any], path: Path | None) -> Config:
    """The configuration in the tables of a TOML document. Raises `ConfigError`."""
    where = str(path or "hosts.toml")
    _known_keys(where, "the file", tables, ("defaults", "hosts", "groups"))
    defaults = _checked(where, "[defaults]", _table(where, "defaults", tables), Settings)
    own_tables = _table(where, "hosts", tables)
    if LOCAL not in own_tables:
        own_tables = {LOCAL: {}, **own_tables}
    if len(own_tables) > MAX_HOSTS:
        raise ConfigError(f"{where}: {len(own_tables)} hosts; at most {MAX_HOSTS} can be in one file")
    settings = {name: _host_settings(where, name, table, defaults) for name, table in own_tables.items()}
    specs = _specs(where, settings, path.parent if path else Path.cwd())
    return Config(specs, _groups(where, _table(where, "groups", tables), specs), path)


def is_name(text: str) -> bool:
    """Whether a host may be called so."""
    return _NAME.fullmatch(text) is not None and text not in (hosts.ALL, LOCAL)


def parse_hop(text: str, jump: HostSpec | None, ssh_config: str | None, timeouts: Timeouts) -> HostSpec:
    """One `[user@]host[:port]` of a jump, as ssh's ProxyJump writes it. Raises `ConfigError`."""
    match = _HOP.fullmatch(text)
    if match is None:
        raise ConfigError(f"jump {text!r}: must be a host of hosts.toml or [user@]host[:port]")
    host = match["bracketed"] or match["host"]
    port = int(match["port"]) if match["port"] else None
    return HostSpec(text, host, match["user"], port, jump=jump, ssh_config=ssh_config, timeouts=timeouts)


def _table(where: str, key: str, tables: Mapping[str, Any]) -> dict[str, Any]:
    value = tables.get(key, {})
    if not isinstance(value, dict):
        raise ConfigError(f"{where}: {key} = {value!r}: is not a table; write [{key}] on a line of its own")
    return value


def _known_keys(where: str, label: str, table: Mapping[str, Any], keys: tuple[str, ...]) -> None:
    for key in table:
        if key not in keys:
            near = get_close_matches(key, keys, 1)
            fix = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(keys)}"
            raise ConfigError(f"{where}: {label} has an unknown key {key!r}; {fix}")


def _checked(where: str, label: str, table: Mapping[str, Any], kind: type[msgspec.Struct]) -> dict[str, Any]:
    types = _types(kind)
    _known_keys(where, label, table, tuple(types))
    checked = {}
    for key, value in table.items():
        if types[key] is Timeouts and isinstance(value, dict):
            checked[key] = _checked(where, f"{label} timeouts", value, Timeouts)
            continue
        try:
            checked[key] = msgspec.convert(value, types[key])
        except msgspec.ValidationError:
            raise ConfigError(f"{where}: {label} {key} = {value!r}: must be {_wanted(types[key])}") from None
    return checked


@functools.cache
def _types(kind: type[msgspec.Struct]) -> dict[str, Any]:
    """Key -> type of its value. Resolving annotations takes 0.3 ms: once, not once for each of 500 hosts."""
    return {field.name: field.type for field in msgspec.structs.fields(kind)}


def _wanted(kind: Any) -> str:
    """What a value of this type looks like, from the description of its first alternative."""
    if kind is Timeouts:
        return "a table, like { connect_s = 10 }"
    schema = msgspec.json.schema(kind)
    schema = next(iter(schema.get("anyOf", [schema])))
    return str(schema.get("description", schema.get("type")))


def _host_settings(where: str, name: str, table: Any, defaults: dict[str, Any]) -> Settings:
    """All settings of one host: its own table over the defaults."""
    label = f"[hosts.{name}]"
    if not _NAME.fullmatch(name) or name == hosts.ALL:
        raise ConfigError(
            f"{where}: {label}: {name!r} cannot be a host's name; use letters, digits, '.', '-' and '_'"
            f" (and not {hosts.ALL!r})"
        )
    if not isinstance(table, dict):
        raise ConfigError(f"{where}: hosts.{name}: is not a table; write {label} on a line of its own")
    own = _checked(where, label, table, Settings)
    if name == LOCAL and (wrong := next((key for key in own if key in SSH_KEYS), None)):
        raise ConfigError(
            f"{where}: {label} {wrong}: {LOCAL!r} is this machine, read without ssh; name the host otherwise"
        )
    timeouts = {**defaults.get("timeouts", {}), **own.get("timeouts", {})}
    built_in = LOCAL_DEFAULTS if name == LOCAL else {}
    return msgspec.convert({**built_in, **defaults, **own, "timeouts": timeouts}, Settings)


def _specs(where: str, settings: Mapping[str, Settings], base: Path) -> dict[str, HostSpec]:
    """Every host with its jump hosts found. A jump that leads back to itself is refused."""
    done: dict[str, HostSpec] = {}

    def spec(name: str, path: tuple[str, ...]) -> HostSpec:
        if name in path:
            raise ConfigError(f"{where}: [hosts.{name}] jump goes in a circle: {' -> '.join((*path, name))}")
        if name not in done:
            jump = None if name == LOCAL else chain(settings[name], (*path, name))
            done[name] = _spec(name, settings[name], jump, base)
        return done[name]

    def chain(s: Settings, path: tuple[str, ...]) -> HostSpec | None:
        via: HostSpec | None = None
        for hop in s.jump.split(",") if s.jump else ():
            if hop in settings:
                named = spec(hop, path)
                via = msgspec.structs.replace(named, jump=via) if via else named
            else:
                via = parse_hop(hop, via, _ssh_config(s, base), s.timeouts)
        return via

    for name in settings:
        try:
            spec(name, ())
        except ConfigError as exc:
            if str(exc).startswith(where):
                raise
            raise ConfigError(f"{where}: [hosts.{name}] {exc}") from None
    return {name: done[name] for name in settings}


def _spec(name: str, s: Settings, jump: HostSpec | None, base: Path) -> HostSpec:
    ssh = name != LOCAL
    return HostSpec(
        name=name,
        address=s.address if ssh else None,
        user=s.user if ssh else None,
        port=s.port if ssh else None,
        identity=_paths(s.identity, base),
        known_hosts=_paths(s.known_hosts, base),
        jump=jump,
        ssh_config=_ssh_config(s, base),
        agent_command=s.agent_command,
        install=s.install,
        control=s.control,
        privacy=s.privacy,
        tags=tuple(s.tags),
        interval_s=s.interval_s,
        timeouts=s.timeouts,
    )


def _ssh_config(s: Settings, base: Path) -> str | None:
    return None if s.ssh_config == "none" else _paths(s.ssh_config, base)[0]


def _paths(given: str | list[str], base: Path) -> tuple[str, ...]:
    """Absolute paths; a relative one is meant from the file that says it."""
    given = [given] if isinstance(given, str) else given
    return tuple(str(base / paths.expanded(p)) for p in given)


def _groups(where: str, table: dict[str, Any], specs: Mapping[str, HostSpec]) -> dict[str, tuple[str, ...]]:
    """Group -> names of its hosts; tags are groups too. Groups may name groups, in any order."""
    raw: dict[str, list[str]] = {}
    for spec in specs.values():
        for tag in spec.tags:
            raw.setdefault(tag, []).append(spec.name)
    for name, expressions in table.items():
        if not _NAME.fullmatch(name):
            raise ConfigError(f"{where}: [groups] {name!r}: use letters, digits, '.', '-' and '_'")
        try:
            raw[name] = raw.get(name, []) + msgspec.convert(expressions, list[str])
        except msgspec.ValidationError:
            raise ConfigError(
                f"{where}: [groups] {name} = {expressions!r}: must be a list of host expressions,"
                ' like ["gpu[01-04]", "@other"]'
            ) from None
    try:
        return hosts.resolve_groups(raw, specs)
    except UsageError as exc:
        raise ConfigError(f"{where}: [groups] {exc}") from None
