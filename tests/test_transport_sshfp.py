"""fleet.transport.sshfp: what DNS publishes about host keys, asked for over real packets."""

import asyncio
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import dns.rcode
import pytest

from fleet.transport import sshfp
from fleet.transport.sshfp import Published, Verdict, published
from lab.nameserver import Nameserver, nameserver

NAME = "gpu01.example.org"
KINDS = (("ed25519", "256"), ("ecdsa", "256"), ("ecdsa", "521"), ("rsa", "2048"))


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Host keys of every kind."""
    at = tmp_path_factory.mktemp("keys")
    made = [at / f"{kind}{bits}" for kind, bits in KINDS]
    for path, (kind, bits) in zip(made, KINDS, strict=True):
        subprocess.run(["ssh-keygen", "-q", "-t", kind, "-b", bits, "-N", "", "-f", path], check=True)
    return made


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Nameserver]:
    with nameserver() as running:
        monkeypatch.setattr(sshfp, "RESOLV_CONF", str(running.resolv_conf(tmp_path / "resolv.conf")))
        monkeypatch.setattr(sshfp, "PORT", running.port)
        yield running


def records(*keys: Path) -> list[str]:
    """What an administrator publishes: by ssh-keygen, SHA-1 and SHA-256."""
    lines = []
    for key in keys:
        said = subprocess.run(
            ["ssh-keygen", "-r", NAME, "-f", f"{key}.pub"], capture_output=True, text=True, check=True
        )
        lines += [line.partition(" SSHFP ")[2] for line in said.stdout.splitlines()]
    return lines


def public(key: Path) -> str:
    return " ".join(Path(f"{key}.pub").read_text().split()[:2])


def ask() -> Published:
    return asyncio.run(published(NAME))


def test_each_kind_of_key_is_found_again(server: Nameserver, keys: list[Path]) -> None:
    """What ssh-keygen publishes of a key matches that key and no other of its kind."""
    for key in keys:
        server.records = {f"{NAME}.": records(key)}
        verdicts = {other.name: ask().verdict(public(other)) for other in keys}
        assert verdicts[key.name] is Verdict.MATCHES
        assert [v for v in verdicts.values() if v is Verdict.MATCHES] == [Verdict.MATCHES]
        of_its_kind = {name for name in verdicts if name[:5] == key.name[:5]} - {key.name}
        assert {name for name, v in verdicts.items() if v is Verdict.DIFFERS} == of_its_kind


def test_sha1_does_not_count(server: Nameserver, keys: list[Path]) -> None:
    """Neither for a key nor against it."""
    server.records = {f"{NAME}.": [line for line in records(keys[0]) if line.split()[1] == "1"]}
    assert ask() == Published(NAME)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("trust_ad", [False, True])
def test_only_a_trusted_resolver_can_vouch(
    server: Nameserver, keys: list[Path], tmp_path: Path, signed: bool, trust_ad: bool
) -> None:
    """The AD bit counts where resolv.conf says `trust-ad`, as for glibc; records alone prove nothing."""
    server.resolv_conf(tmp_path / "resolv.conf", trust_ad=trust_ad)
    server.records, server.signed = {f"{NAME}.": records(keys[0])}, signed
    found = ask()
    assert found.verdict(public(keys[0])) is Verdict.MATCHES
    assert found.is_authenticated is (signed and trust_ad)


def test_many_records_come_over_tcp(server: Nameserver, keys: list[Path]) -> None:
    """An answer that a datagram cannot hold is asked for again."""
    others = [f"4 2 {number:064x}" for number in range(100)]
    server.records = {f"{NAME}.": [*others, *records(keys[0])]}
    assert ask().verdict(public(keys[0])) is Verdict.MATCHES
    assert server.asked == [f"udp {NAME}.", f"tcp {NAME}."]


def test_no_name_and_no_record_are_no_failure(server: Nameserver) -> None:
    """Most hosts have none."""
    assert ask() == Published(NAME)
    server.records = {f"{NAME}.": []}
    assert ask() == Published(NAME)
    assert server.asked == [f"udp {NAME}."] * 2  # no search domain is tried


def test_a_bogus_signature_is_a_failure(server: Nameserver) -> None:
    """A validating resolver answers SERVFAIL for it: nothing is known then, and that is said."""
    server.code = dns.rcode.SERVFAIL
    assert "signatures" in ask().failure


def test_a_dead_server_costs_seconds(server: Nameserver, monkeypatch: pytest.MonkeyPatch) -> None:
    """The question is given up, and the person is asked without it."""
    monkeypatch.setattr(sshfp, "LOOKUP_S", 0.3)
    server.silent = True
    begun_s = time.monotonic()
    assert "nobody answered" in ask().failure
    assert time.monotonic() - begun_s < 3


@pytest.mark.parametrize("name", ["a..b", "x" * 64, "\N{SNOWMAN}" * 70])
def test_a_name_that_is_none(server: Nameserver, name: str) -> None:
    """Whatever was configured as an address: a reason, not an exception."""
    assert asyncio.run(published(name)).failure
    assert server.asked == []


def test_no_resolv_conf(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine without DNS trusts as before."""
    monkeypatch.setattr(sshfp, "RESOLV_CONF", str(tmp_path / "none"))
    assert ask().failure
