"""known_hosts files (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT), edited as text. Pure."""

import base64
import binascii
import hmac
from collections.abc import Iterator

_HASHED = "|1|"
SALT_BYTES = 20


def line(name: str, key: str, salt: bytes | None) -> str:
    """The line for a host. `key`: "ssh-ed25519 AAAA..."; `salt`: 20 random bytes to have the name hashed.

    `name` is the host, or `[host]:port` if the port is not 22.
    """
    return f"{name if salt is None else _hashed(name, salt)} {key}\n"


def without(text: str, name: str) -> tuple[str, list[str]]:
    """The text without the keys of this host, and those keys ("ssh-ed25519 AAAA...").

    A name that shares its line with others is taken from that line; patterns, and lines that begin with a
    marker (`@cert-authority`, `@revoked`), are left as they are.
    """
    kept, keys = [], []
    for whole in text.splitlines(keepends=True):
        names, _, rest = whole.strip().partition(" ")
        others = list(_others(names.split(","), name))
        if names.startswith(("#", "@")) or len(others) == len(names.split(",")):
            kept.append(whole)
            continue
        keys.append(" ".join(rest.split()[:2]))
        if others:
            kept.append(f"{','.join(others)} {rest}\n")
    return "".join(kept), keys


def _others(names: list[str], name: str) -> Iterator[str]:
    for candidate in names:
        if candidate.startswith(_HASHED):
            if not _is_hash_of(candidate, name):
                yield candidate
        elif candidate.lower() != name.lower():
            yield candidate


def _is_hash_of(hashed: str, name: str) -> bool:
    try:
        salt = base64.b64decode(hashed.split("|")[2], validate=True)
    except (binascii.Error, IndexError):
        return False
    return hmac.compare_digest(hashed.encode(), _hashed(name, salt).encode())


def _hashed(name: str, salt: bytes) -> str:
    mac = hmac.digest(salt, name.lower().encode(), "sha1")
    return f"{_HASHED}{base64.b64encode(salt).decode()}|{base64.b64encode(mac).decode()}"
