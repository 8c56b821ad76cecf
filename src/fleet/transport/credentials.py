"""Keys and known_hosts, loaded once, until they change, and shared by every connection.

asyncssh, given paths, reads and parses them anew for each connection, in the event loop: 11 ms a host with a
known_hosts of 1,000 lines (docs/benchmarks.md). The daemon runs for months, in which hosts get other keys, keys
are revoked, and certificates run out: a file that is not the one that was read is read again.
"""

import copy
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

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
    """Caches of key files and known_hosts files, each with the stamps of the files that it was read from."""

    def __init__(self) -> None:
        self._keys: dict[tuple[str, ...], tuple[_Stamps, Sequence[asyncssh.SSHKeyPair]]] = {}
        self._known_hosts: dict[tuple[str, ...], tuple[_Stamps, KnownHosts]] = {}

    def keys(
        self, paths: Sequence[str], certificates: Sequence[str] = (), *, must_exist: bool, has_agent: bool
    ) -> list[asyncssh.SSHKeyPair]:
        """The key pairs in these files, and with certificates: beside them, or named. Raises `HostFailure`.

        `must_exist`: a file that is not there is an error (the user named it), not passed over. An encrypted
        key is left to ssh-agent, and an error where there is none and the user named it.
        """
        found: list[asyncssh.SSHKeyPair] = []
        for path in paths:
            files, stamps = (path, *certificates), _stamps([path, f"{path}-cert.pub", *certificates])
            if files not in self._keys or self._keys[files][0] != stamps:
                pairs = _load_keys(path, must_exist=must_exist, has_agent=has_agent)
                self._keys[files] = (stamps, [*_certified(pairs, certificates), *pairs])
            found += self._keys[files][1]
        return found

    def known_hosts(self, paths: Sequence[str]) -> "KnownHosts":
        """All entries of these files. A file that is not there is an empty one."""
        key, stamps = tuple(paths), _stamps(paths)
        if key not in self._known_hosts or self._known_hosts[key][0] != stamps:
            self._known_hosts[key] = (stamps, KnownHosts(key))
        return self._known_hosts[key][1]


_Stamps = list[tuple[int, int, int] | None]


def _stamps(paths: Sequence[str]) -> _Stamps:
    """What changes with the content of these files; None for one that is not there."""
    return [_stamp(path) for path in paths]


def _stamp(path: str) -> tuple[int, int, int] | None:
    try:
        status = Path(path).expanduser().stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


class KnownHosts:
    """The entries of known_hosts files, in the form in which asyncssh asks for them."""

    def __init__(self, paths: Sequence[str]) -> None:
        self._entries = asyncssh.SSHKnownHosts()
        for path in paths:
            for line in _lines(path):
                try:
                    self._entries.load(line)
                except ValueError:
                    continue  # OpenSSH passes over a line that it cannot read, too

    def __call__(self, host: str, addr: str, port: int | None) -> tuple[Sequence[Any], ...]:
        """Trusted keys, trusted CA keys, revoked keys (and four lists about X.509); `port` None: the usual one.

        asyncssh, finding no key trusted for `[host]:port`, looks again without the port and forgets what was
        revoked there: that is put back.
        """
        found = self._entries.match(host, addr, port)
        if port is None:
            return found
        names = [f"[{name}]:{port}" for name in (host, addr) if name]
        revoked = [key for name in names for key in self._entries.match(name, "", None)[2]]
        return (*found[:2], [*found[2], *revoked], *found[3:])

    def has(self, host: str, port: int | None) -> bool:
        """Whether any key or CA is trusted for this host: then another key of it is a changed one."""
        return any(self(host, "", port)[:2])


def _lines(path: str) -> list[str]:
    try:
        return Path(path).expanduser().read_text("utf-8", "replace").splitlines()
    except OSError:
        return []


def left_to_agent(
    loaded: Sequence[asyncssh.SSHKeyPair], identities: Sequence[str], certificates: Sequence[str]
) -> list[bytes]:
    """The keys and certificates that an ssh-agent may be asked for, where only these identities are offered."""
    if sum(not pair.has_cert for pair in loaded) == len(identities):  # 500 hosts need not look for what is here
        return []
    have = {pair.public_data for pair in loaded}
    return [key for key in public_keys(identities, certificates) if key not in have]


def public_keys(identities: Sequence[str], certificates: Sequence[str] = ()) -> list[bytes]:
    """The public keys of identities, and their certificates.

    An identity may be the name of a public key, whose private one only ssh-agent has.
    """
    found = [key for identity in identities if (key := _public_key(f"{identity}.pub", identity))]
    beside = [f"{identity}-cert.pub" for identity in identities]
    return found + [certificate.public_data for certificate in _certificates([*beside, *certificates])]


def _public_key(*paths: str) -> bytes | None:
    """The first of these files that is a public key."""
    for path in paths:
        try:
            return asyncssh.read_public_key(Path(path).expanduser()).public_data
        except (OSError, asyncssh.KeyImportError):
            continue
    return None


def _certificates(paths: Sequence[str]) -> Iterator[asyncssh.SSHCertificate]:
    """Those that can be read; ssh passes over the others, too."""
    for path in paths:
        try:
            yield asyncssh.read_certificate(Path(path).expanduser())
        except (OSError, asyncssh.KeyImportError):
            continue


def _certified(
    pairs: Sequence[asyncssh.SSHKeyPair], certificates: Sequence[str]
) -> Iterator[asyncssh.SSHKeyPair]:
    """The pairs once more, each with every certificate that is for it."""
    for certificate in _certificates(certificates):
        for pair in pairs:
            if not pair.has_cert and pair.key_public_data == certificate.key.public_data:
                certified = copy.copy(pair)
                certified.set_certificate(certificate)
                yield certified


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
        return asyncssh.load_keypairs([str(Path(path).expanduser())])
    except FileNotFoundError:
        reason, hint = "no such file", "mend `identity`"
    except (OSError, asyncssh.KeyImportError, asyncssh.KeyEncryptionError, ValueError) as exc:
        reason = clean(getattr(exc, "strerror", None) or str(exc), 200)
        hint = f"see what `ssh-keygen -l -f {path}` says"
        if _is_locked(exc) or _public_key(path):
            if has_agent:
                return ()
            reason = "is encrypted, and no ssh-agent runs" if _is_locked(exc) else "is a public key"
            hint = f"start an ssh-agent and run `ssh-add {path.removesuffix('.pub')}`"
    if must_exist:
        raise HostFailure(ErrorKind.CONFIG, Phase.CONFIG, f"identity {path}: {reason}", hint)
    return ()


def _is_locked(exc: Exception) -> bool:
    """Whether a key was not read because it is encrypted: asyncssh has no one exception for that."""
    return isinstance(exc, asyncssh.KeyEncryptionError) or "Passphrase" in str(exc)
