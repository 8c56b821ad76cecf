"""hosts.toml, edited: a host more or less, with every comment and blank line where it was. Pure.

A change is made only if it is all that changes: what comes out is read back and compared with what was meant,
and has to be a configuration that `fleet.config` accepts.
"""

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError

from fleet import config
from fleet.config import LOCAL, Config
from fleet.errors import ConfigError, UsageError

Tables = dict[str, Any]


def with_hosts(
    text: str, added: Mapping[str, Mapping[str, Any]], groups: Sequence[str], path: Path
) -> tuple[str, Config]:
    """The text with these hosts (name -> settings) at the end of its hosts, and in `groups`; and what it says.

    Raises `UsageError` for a name that is taken, `ConfigError` for what `fleet.config` refuses.
    """
    before = _tables(text, path)
    for name in added:
        if name == LOCAL or name in before.get("hosts", {}):
            fix = "choose another name, or change it in the file"
            raise UsageError(f"{path}: there is a host {name!r} already; {fix}")
    meant = {**before, "hosts": {**before.get("hosts", {}), **{n: dict(s) for n, s in added.items()}}}
    if groups:
        joined = {group: [*before.get("groups", {}).get(group, []), *added] for group in groups}
        meant["groups"] = {**before.get("groups", {}), **joined}
    accepted = config.parse(meant, path)
    document = tomlkit.parse(text)
    for name, settings in added.items():
        _table(document, "hosts", is_super=True)[name] = _section(settings)
    for group in groups:
        table = _table(document, "groups")
        if group not in table:
            table[group] = []
        for name in added:
            table[group].append(name)
    return _same(document, meant, path), accepted


def without_host(text: str, name: str, path: Path) -> tuple[str, Config]:
    """The text without this host, and without its name in groups. Raises `UsageError`, `ConfigError`.

    A host that others jump through stays: without it their `jump` would be the address of some other machine.
    """
    before = _tables(text, path)
    hosts = before.get("hosts", {})
    if name not in hosts:
        raise UsageError(f"{path}: there is no host {name!r}; `fleet hosts list` names them all")
    if behind := _jumping_through(before, name):
        raise UsageError(f"{path}: {name!r} is the jump of {', '.join(behind)}; change those first")
    meant = {**before, "hosts": {other: settings for other, settings in hosts.items() if other != name}}
    groups = {
        group: [term for term in terms if term not in (name, f"!{name}")]
        for group, terms in before.get("groups", {}).items()
    }
    if "groups" in before:
        meant["groups"] = groups
    accepted = config.parse(meant, path)
    document: Any = tomlkit.parse(text)
    del document["hosts"][name]
    for group, terms in groups.items():
        for at in reversed(range(len(document["groups"][group]))):
            if document["groups"][group][at] not in terms:
                del document["groups"][group][at]
    return _same(document, meant, path), accepted


def settings(tables: Tables, name: str, by_ssh: Mapping[str, Any]) -> list[tuple[str, Any, str]]:
    """Every setting of a host that has a value: key, value, and where it comes from.

    `by_ssh`: what ssh_config, or ssh's own default, says where the file says nothing.
    """
    own, defaults = tables.get("hosts", {}).get(name, {}), tables.get("defaults", {})
    found: list[tuple[str, Any, str]] = []
    for key in config.Settings.__struct_fields__:
        if key == "timeouts":
            found += _timeouts(own, defaults, name)
        elif key in own:
            found.append((key, own[key], f"[hosts.{name}]"))
        elif key in defaults and not (name == LOCAL and key in config.SSH_KEYS):
            found.append((key, defaults[key], "[defaults]"))
        elif key in by_ssh:
            found.append((key, by_ssh[key], "ssh"))
        elif name == LOCAL and key in config.LOCAL_DEFAULTS:
            found.append((key, config.LOCAL_DEFAULTS[key], "default"))
        elif name != LOCAL or key not in config.SSH_KEYS:
            found.append((key, _default(config.Settings, key), "default"))
    return found


def _timeouts(own: Tables, defaults: Tables, name: str) -> Iterable[tuple[str, Any, str]]:
    for key in config.Timeouts.__struct_fields__:
        label = f"timeouts.{key}"
        if key in own.get("timeouts", {}):
            yield label, own["timeouts"][key], f"[hosts.{name}]"
        elif key in defaults.get("timeouts", {}):
            yield label, defaults["timeouts"][key], "[defaults]"
        else:
            yield label, _default(config.Timeouts, key), "default"


def _default(kind: Any, key: str) -> Any:
    return getattr(kind(), key)


def _tables(text: str, path: Path) -> Tables:
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise ConfigError(f"{path}: is not TOML: {exc}; mend it first") from None
    config.parse(tables, path)
    return tables


def _jumping_through(tables: Tables, name: str) -> list[str]:
    default = tables.get("defaults", {}).get("jump", "")
    jumps = {host: own.get("jump", default) for host, own in tables["hosts"].items() if host != name}
    return [host for host, jump in jumps.items() if name in jump.split(",")]


def _table(document: Any, key: str, *, is_super: bool = False) -> Any:
    if key not in document:
        if document:
            document.add(tomlkit.nl())
        document[key] = tomlkit.table(is_super_table=is_super)
    return document[key]


def _section(settings: Mapping[str, Any]) -> Any:
    section = tomlkit.table()
    for key, value in settings.items():
        section[key] = value
    return section


def _same(document: Any, meant: Tables, path: Path) -> str:
    """The document as text, if it says what was meant: tomlkit cannot edit all that can be written."""
    try:
        text = tomlkit.dumps(document)
        if tomllib.loads(text) == meant:
            return text
    except (TOMLKitError, tomllib.TOMLDecodeError):
        pass
    raise ConfigError(f"{path}: cannot be edited without changing something else in it; edit it by hand")
