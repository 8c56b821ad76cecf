"""SSHFP records: the fingerprints of a machine's host keys that DNS publishes (RFC 4255), for a person to see.

Only SHA-256 fingerprints count (RFC 6594). A name is looked up as it stands, without search domains, as ssh
does.

An answer is authenticated when its resolver says that it has validated it by DNSSEC (the AD bit), and the way
to that resolver is safe: only who runs this machine knows that, and says so by `options trust-ad` in
resolv.conf(5), without which glibc, and so ssh, does not believe the bit either. systemd-resolved writes that
option by itself.
"""

import base64
import enum
import hashlib
from pathlib import Path
from typing import NamedTuple

import dns.asyncresolver
import dns.exception
import dns.flags
import dns.resolver
from dns.rdatatype import SSHFP

RESOLV_CONF = "/etc/resolv.conf"
PORT = 53
LOOKUP_S = 3.0
_SHA256 = 2  # RFC 6594, section 3.2
# The words of a public key -> its number: RFC 4255, section 3.1.1; RFC 6594; RFC 7479; RFC 8709
_ALGORITHMS = {"ssh-rsa": 1, "ecdsa-sha2-": 3, "ssh-ed25519": 4, "ssh-ed448": 6}


class Verdict(enum.Enum):
    """What DNS says of one key."""

    MATCHES = enum.auto()
    DIFFERS = enum.auto()  # there are fingerprints of keys of that kind, of others
    ABSENT = enum.auto()


class Published(NamedTuple):
    """What DNS publishes about the host keys of `name`: (number of the algorithm, SHA-256) of each.

    `failure` says why that could not be found out.
    """

    name: str
    fingerprints: frozenset[tuple[int, bytes]] = frozenset()
    is_authenticated: bool = False
    failure: str = ""

    def verdict(self, key: str) -> Verdict:
        """Of a public key, "ssh-ed25519 AAAA..."."""
        kind, _, blob = key.partition(" ")
        algorithm = next((number for word, number in _ALGORITHMS.items() if kind.startswith(word)), None)
        if algorithm not in {number for number, _ in self.fingerprints}:
            return Verdict.ABSENT
        digest = hashlib.sha256(base64.b64decode(blob)).digest()
        return Verdict.MATCHES if (algorithm, digest) in self.fingerprints else Verdict.DIFFERS


async def published(name: str) -> Published:
    """What DNS publishes about this host. Takes `LOOKUP_S` at most, and never raises for what DNS does."""
    try:
        resolver = dns.asyncresolver.Resolver(RESOLV_CONF)
        resolver.port = PORT
        resolver.use_edns(0, 0, 1232)  # octets over UDP: https://www.dnsflagday.net/2020/
        resolver.flags = dns.flags.RD | dns.flags.AD  # AD: we understand it (RFC 6840, section 5.7)
        answer = await resolver.resolve(name, SSHFP, raise_on_no_answer=False, lifetime=LOOKUP_S, search=False)
    except dns.resolver.NXDOMAIN:
        return Published(name)
    except dns.resolver.NoNameservers:
        return Published(name, failure="its servers failed, or its signatures are wrong")
    except dns.exception.Timeout:
        return Published(name, failure=f"nobody answered within {LOOKUP_S:g} s")
    except (dns.exception.DNSException, OSError) as exc:
        return Published(name, failure=str(exc))
    found = frozenset((r.algorithm, r.fingerprint) for r in answer.rrset or () if r.fp_type == _SHA256)
    is_validated = bool(answer.response.flags & dns.flags.AD)
    return Published(name, found, is_authenticated=is_validated and _trusts_ad(Path(RESOLV_CONF)))


def _trusts_ad(resolv_conf: Path) -> bool:
    lines = (line.split() for line in resolv_conf.read_text("utf-8", "replace").splitlines())
    return any("trust-ad" in words[1:] for words in lines if words and words[0] == "options")
