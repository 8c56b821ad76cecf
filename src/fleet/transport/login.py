"""Where and how to log in to a host: hosts.toml over ssh_config over ssh's defaults."""

import getpass
import os
import pwd
import socket
from pathlib import Path

import msgspec

from fleet import config
from fleet.config import HostSpec
from fleet.errors import ConfigError, ErrorKind, HostFailure, Phase
from fleet.transport.credentials import DEFAULT_IDENTITIES, DEFAULT_KNOWN_HOSTS, agent_socket
from fleet.transport.sshconfig import Options
from fleet.transport.tokens import expand

DEFAULT_PORT = 22


class Login(msgspec.Struct, frozen=True):
    """Where and how to log in: hosts.toml over ssh_config over ssh's defaults."""

    host: str
    port: int
    user: str
    known_hosts: tuple[str, ...]
    identities: tuple[str, ...]
    named_identities: bool  # by the user, so that a missing file is an error
    certificates: tuple[str, ...]  # for any of these keys, beside those that lie next to them
    agent_socket: str | None
    identities_only: bool
    host_key_alias: str | None
    jump: HostSpec | None
    hashes_names: bool = False  # in known_hosts

    @property
    def where(self) -> str:
        """host, or host:port if the port is not the usual one."""
        return self.host if self.port == DEFAULT_PORT else f"{self.host}:{self.port}"

    @property
    def known_as(self) -> str:
        """The name under which known_hosts has the host."""
        name = self.host_key_alias or self.host
        return name if self.port == DEFAULT_PORT else f"[{name}]:{self.port}"


def login(spec: HostSpec, options: Options) -> Login:
    """How to log in to a host, given what ssh_config says about it. Raises `HostFailure`."""
    first = {keyword: values[0] for keyword, values in options.items()}
    if first.get("proxycommand", "none") != "none" and not spec.jump:
        raise HostFailure(
            ErrorKind.CONFIG,
            Phase.CONFIG,
            "its ssh_config has a ProxyCommand, which fleet does not run",
            "use `jump` in hosts.toml or ProxyJump in ssh_config",
        )
    host = first.get("hostname", spec.address or spec.name)
    port = spec.port or int(first.get("port", DEFAULT_PORT))
    user = spec.user or first.get("user") or getpass.getuser()
    named = spec.address or spec.name
    remote = {"h": host, "n": named, "p": str(port), "r": user, "k": first.get("hostkeyalias", named)}
    return Login(
        host=host,
        port=port,
        user=user,
        known_hosts=spec.known_hosts or _known_hosts_files(options),
        identities=spec.identity or _files(options, "identityfile", remote) or DEFAULT_IDENTITIES,
        named_identities=bool(spec.identity),
        certificates=_files(options, "certificatefile", remote),
        agent_socket=agent_socket(first.get("identityagent")),
        identities_only=bool(spec.identity) or first.get("identitiesonly") == "yes",
        host_key_alias=first.get("hostkeyalias"),
        jump=spec.jump or _proxy_jump(spec, first.get("proxyjump", "none")),
        hashes_names=first.get("hashknownhosts") == "yes",
    )


def _files(options: Options, keyword: str, remote: dict[str, str]) -> tuple[str, ...]:
    """The files that ssh_config names. `remote`: the tokens that tell of the host. Raises `HostFailure`."""
    given = options.get(keyword, ())
    if not any("%" in path or "$" in path for path in given):
        return given
    account, here = pwd.getpwuid(os.getuid()), socket.gethostname()
    local = {
        "d": str(Path.home()),
        "i": str(account.pw_uid),
        "u": account.pw_name,
        "l": here,
        "L": here.partition(".")[0],
    }
    return tuple(expand(path, remote | local, os.environ) for path in given)


def _known_hosts_files(options: Options) -> tuple[str, ...]:
    if "userknownhostsfile" not in options:
        return DEFAULT_KNOWN_HOSTS
    files = (*options["userknownhostsfile"], *options.get("globalknownhostsfile", ()))
    return tuple(name for value in files for name in value.split() if name != "none")


def _proxy_jump(spec: HostSpec, hops: str) -> HostSpec | None:
    """The last of ssh_config's jump hosts. One that is the host itself (under `Host *`) is passed over."""
    via: HostSpec | None = None
    for hop in () if hops == "none" else hops.split(","):
        try:
            parsed = config.parse_hop(hop, via, spec.ssh_config, spec.timeouts)
        except ConfigError as exc:
            raise HostFailure(ErrorKind.CONFIG, Phase.CONFIG, str(exc), "mend its ProxyJump") from None
        if parsed.address not in (spec.address, spec.name):
            via = parsed
    return via
