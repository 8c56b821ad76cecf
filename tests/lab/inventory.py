"""hosts.toml for lab hosts."""

from pathlib import Path
from typing import Any

from fleet import config
from fleet.config import HostSpec
from lab.sshfleet import SshFleet

# Long enough for a busy machine of two cores, short enough for a test that waits for one to pass.
TIMEOUTS = {"dns_s": 5, "connect_s": 4, "auth_s": 6, "hello_s": 8, "snapshot_s": 8}


def tables(fleet: SshFleet, **defaults: Any) -> dict[str, Any]:
    """The tables of a hosts.toml with every host of the fleet by its address; no ssh_config is read."""
    common = {
        "user": fleet.user,
        "port": fleet.port,
        "identity": str(fleet.key),
        "known_hosts": str(fleet.known_hosts),
        "ssh_config": "none",
        "install": "never",  # a host without an agent stays one, but for the tests of shipping it
        "timeouts": TIMEOUTS,
    }
    return {
        "defaults": common | defaults,
        "hosts": {name: {"address": host.address} for name, host in fleet.hosts.items()},
    }


def specs(fleet: SshFleet, *names: str, **defaults: Any) -> list[HostSpec]:
    """These hosts (all, if none named), as the configuration has them."""
    hosts = config.parse(tables(fleet, **defaults), None).hosts
    return [hosts[name] for name in names or fleet.hosts]


def write(path: Path, given: dict[str, Any]) -> Path:
    """The tables as a file: one key a line, a value as TOML and JSON both write it."""
    lines = []
    sections = {"defaults": given["defaults"]} | {f"hosts.{n}": t for n, t in given["hosts"].items()}
    for section, table in sections.items():
        lines.append(f"[{section}]")
        lines += [f"{key} = {_toml(value)}" for key, value in table.items()]
    path.write_text("\n".join(lines) + "\n")
    return path


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml(v)}" for key, v in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return str(value).lower()
