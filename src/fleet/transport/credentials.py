"""Keys and known_hosts, loaded once and shared by every connection.

asyncssh, given paths, reads and parses them anew for each connection, in the event loop: 15 ms a host with a
known_hosts of 1,000 lines (docs/benchmarks.md).
"""

import os
from collections.abc import Sequence
from pathlib import Path

import asyncssh

from fleet.errors import ErrorKind, HostFailure, Phase
from fleet.text import clean

DEFAULT_IDENTITIES = ("~/.ssh/id_ed25519", "~/.ssh/id_ecdsa", "~/.ssh/id_rsa")
DEFAULT_KNOWN_HOSTS = (
    "~/.ssh/known_hosts",
    "~/.ssh/known_hosts2",
    "/etc/ssh/ssh_known_hosts",
    "/etc/ssh/ssh_known_hosts2",
)


class Credentials:
    """Caches of key files and known_hosts files."""

    def __init__(self) -> None:
        self._keys: dict[str, Sequence[asyncssh.SSHKeyPair]] = {}
        self._known_hosts: dict[tuple[str, ...], asyncssh.SSHKnownHosts] = {}

    def keys(self, paths: Sequence[str], *, must_exist: bool, has_agent: bool) -> list[asyncssh.SSHKeyPair]:
        """The key pairs in these files, certificates beside them included. Raises `HostFailure`.

        `must_exist`: a file that is not there is an error (the user named it), not passed over. An encrypted
        key is left to ssh-agent, and an error where there is none and the user named it.
        """
        found: list[asyncssh.SSHKeyPair] = []
        for path in paths:
            if path not in self._keys:
                self._keys[path] = _load_keys(path, must_exist=must_exist, has_agent=has_agent)
            found += self._keys[path]
        return found

    def known_hosts(self, paths: Sequence[str]) -> asyncssh.SSHKnownHosts:
        """All entries of these files. A file that is not there is an empty one."""
        key = tuple(paths)
        if key not in self._known_hosts:
            self._known_hosts[key] = _load_known_hosts(key)
        return self._known_hosts[key]


def agent_socket(identity_agent: str | None) -> str | None:
    """The ssh-agent to ask, by ssh_config's IdentityAgent and the environment."""
    if identity_agent == "none":
        return None
    if identity_agent is None or identity_agent == "SSH_AUTH_SOCK":
        return os.environ.get("SSH_AUTH_SOCK") or None
    if identity_agent.startswith("$"):
        return os.environ.get(identity_agent[1:].strip("{}")) or None
    return str(Path(identity_agent).expanduser())


def _load_keys(path: str, *, must_exist: bool, has_agent: bool) -> Sequence[asyncssh.SSHKeyPair]:
    try:
        return asyncssh.load_keypairs([path])
    except FileNotFoundError:
        if not must_exist:
            return ()
        raise _bad_key(path, "no such file", "mend `identity`") from None
    except asyncssh.KeyEncryptionError:
        if has_agent or not must_exist:
            return ()
        raise _bad_key(
            path, "is encrypted and no ssh-agent is running", f"start one and run `ssh-add {path}`"
        ) from None
    except (OSError, asyncssh.KeyImportError, ValueError) as exc:
        if not must_exist:
            return ()
        raise _bad_key(path, clean(str(exc), 200), "see `ssh-keygen -l -f` of it") from None


def _bad_key(path: str, reason: str, hint: str) -> HostFailure:
    return HostFailure(ErrorKind.CONFIG, Phase.CONFIG, f"identity {path}: {reason}", hint)


def _load_known_hosts(paths: Sequence[str]) -> asyncssh.SSHKnownHosts:
    known = asyncssh.SSHKnownHosts()
    for path in paths:
        try:
            text = Path(path).expanduser().read_text("utf-8", "replace")
        except OSError:
            continue
        for line in text.splitlines():
            try:
                known.load(line)
            except ValueError:
                continue  # OpenSSH passes over a line that it cannot read, too
    return known
