"""Which host keys a machine has, and what known_hosts and DNS say of them: for a person to decide."""

import asyncio
from typing import NamedTuple

import asyncssh
from dns.inet import is_address

from fleet.config import HostSpec
from fleet.errors import HostFailure, Phase
from fleet.transport import failures
from fleet.transport.credentials import Credentials
from fleet.transport.deadlines import Deadlines
from fleet.transport.login import DEFAULT_PORT, Login
from fleet.transport.ssh import Dialer
from fleet.transport.sshfp import Published, published

# Asked for one by one, as ssh-keyscan does, in the order of preference.
_ALGORITHMS = (
    ["ssh-ed25519"],
    ["ecdsa-sha2-nistp256"],
    ["ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521"],
    ["rsa-sha2-512", "rsa-sha2-256"],
)


class HostKey(NamedTuple):
    """One public key: "ssh-ed25519 AAAA...", and its SHA256 fingerprint."""

    text: str
    algorithm: str
    fingerprint: str


class HostKeys(NamedTuple):
    """The keys that a machine shows, the preferred first, and those that known_hosts has for it.

    `name` is how known_hosts names it, `files` the files that are asked, the first of which takes new keys.
    `has_authority`: a certificate authority is trusted for it. `dns`: what DNS publishes, None of an address.
    """

    where: str
    name: str
    files: tuple[str, ...]
    shown: tuple[HostKey, ...]
    trusted: tuple[HostKey, ...]
    revoked: tuple[HostKey, ...]
    has_authority: bool
    hashes_names: bool
    dns: Published | None


async def host_keys(dialer: Dialer, spec: HostSpec, deadlines: Deadlines) -> HostKeys:
    """Ask the machine for its keys, through its jump hosts, without logging in. Raises `HostFailure`."""
    to = await dialer.login(spec, deadlines)
    tunnel = await dialer.jump(to, deadlines)
    tasks = [_shown(to, tunnel, algorithms, deadlines) for algorithms in _ALGORITHMS]
    found = await asyncio.gather(*tasks, return_exceptions=True)
    shown = tuple(key for key in found if isinstance(key, HostKey))
    for failure in found:
        if isinstance(failure, BaseException) and (not shown or not isinstance(failure, HostFailure)):
            raise failure
    known = Credentials().known_hosts(to.known_hosts)
    trusted, authorities, revoked = known(
        to.host_key_alias or to.host, "", None if to.port == DEFAULT_PORT else to.port
    )[:3]
    return HostKeys(
        to.where, to.known_as, to.known_hosts, shown, tuple(map(_key, trusted)), tuple(map(_key, revoked)),
        has_authority=bool(authorities), hashes_names=to.hashes_names,
        dns=None if is_address(to.host) else await published(to.host),
    )  # fmt: skip


async def _shown(
    to: Login, tunnel: asyncssh.SSHClientConnection | None, algorithms: list[str], deadlines: Deadlines
) -> HostKey:
    """The key of one kind. Raises `HostFailure`, also when the machine has none of that kind."""
    async with deadlines.phase(Phase.AUTH, lambda: f"{to.where} did not show its host key"):
        try:
            key = await asyncssh.get_server_host_key(
                to.host, to.port, tunnel=tunnel, config=None,
                client_version="fleet", server_host_key_algs=algorithms,
            )  # fmt: skip
        except failures.RESOLVE_ERRORS as exc:
            raise failures.resolving(to.host, exc) from None
        except asyncssh.ChannelOpenError as exc:
            raise failures.tunnel(to.where, exc) from None
        except asyncssh.Error as exc:
            raise failures.handshake(exc, to.where, to.where, "no key") from None
        except OSError as exc:
            raise failures.connecting(to.where, exc) from None
    if key is None:
        raise failures.handshake(asyncssh.ConnectionLost("no key"), to.where, to.where, "no key")
    return _key(key)


def _key(key: asyncssh.SSHKey) -> HostKey:
    text = key.export_public_key("openssh").decode("ascii").split()
    return HostKey(" ".join(text[:2]), text[0], key.get_fingerprint())
