"""One ssh_config, two clients: where ssh gets in, fleet does, and nowhere else. Over real sshd."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet import collector
from fleet.config import HostSpec
from fleet.errors import ErrorKind
from lab.sshfleet import SshFleet, install_agent
from lab.waiting import wait_until

pytestmark = pytest.mark.sshd


def keygen(*arguments: str | Path) -> None:
    subprocess.run(["ssh-keygen", "-q", *arguments], check=True, stdin=subprocess.DEVNULL)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("authority") / "ca"
    keygen("-t", "ed25519", "-N", "", "-f", path)
    return path


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, authority: Path) -> Iterator[SshFleet]:
    """Two hosts, which show a certificate, and let in whom the authority has signed, and nobody else."""
    host_key = authority.with_name("host")
    keygen("-t", "ed25519", "-N", "", "-f", host_key)
    keygen("-s", authority, "-I", "host", "-h", "-n", "gpu.example.org", f"{host_key}.pub")
    options = [
        f"HostKey {host_key}",
        f"HostCertificate {host_key}-cert.pub",
        f"TrustedUserCAKeys {authority}.pub",
        "AuthorizedKeysFile none",
        "AllowTcpForwarding yes",
    ]
    with SshFleet(tmp_path_factory.mktemp("certs") / "fleet", hosts=2, sshd_options=options) as fleet:
        known = " ".join(host_key.with_suffix(".pub").read_text().split()[:2])
        fleet.known_hosts.write_text(
            "".join(f"[{h.address}]:{fleet.port} {known}\n" for h in fleet.hosts.values())
        )
        install_agent(fleet)
        yield fleet


@pytest.fixture(scope="module")
def signed(lab: SshFleet, authority: Path) -> Path:
    """A key with its certificate beside it."""
    key = authority.with_name("id")
    keygen("-t", "ed25519", "-N", "", "-f", key)
    keygen("-s", authority, "-I", "test", "-n", lab.user, f"{key}.pub")
    return key


def write_config(lab: SshFleet, path: Path, lines: str) -> Path:
    address = lab.hosts["h0001"].address
    path.write_text(
        f"Host h0001\n  HostName {address}\nHost h0002\n  HostName {lab.hosts['h0002'].address}\n"
        f"Host *\n  Port {lab.port}\n  User {lab.user}\n  IdentitiesOnly yes\n{lines}"
        f"  UserKnownHostsFile {lab.known_hosts}\n"
    )
    return path


def logins(config: Path, but: ErrorKind = ErrorKind.AUTH) -> tuple[bool, bool]:
    """Whether ssh gets in, and whether fleet does, and if not, why."""
    by_ssh = subprocess.run(
        ["ssh", "-F", config, "-o", "BatchMode=yes", "h0001", "true"], capture_output=True, timeout=30
    )
    state = collector.run(collector.read_fleet([HostSpec("h0001", ssh_config=str(config))])).hosts["h0001"]
    assert state.error is None or state.error.kind is but, state.error
    return by_ssh.returncode == 0, state.error is None


def test_a_certificate_anywhere(
    lab: SshFleet, authority: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CertificateFile with tokens and a variable; without it both are refused, with the same key."""
    monkeypatch.setenv("FLEET_TEST_KEYS", str(tmp_path))
    key = tmp_path / f"id-{lab.user}"
    keygen("-t", "ed25519", "-N", "", "-f", key)
    keygen("-s", authority, "-I", "test", "-n", lab.user, f"{key}.pub")
    (tmp_path / f"{key.name}-cert.pub").rename(tmp_path / f"h0001-{lab.port}.signed")
    plain = "  IdentityFile ${FLEET_TEST_KEYS}/id-%r\n"
    signed = plain + f"  CertificateFile /none\n  CertificateFile {tmp_path}/%n-%p.signed\n"
    assert logins(write_config(lab, tmp_path / "plain", plain)) == (False, False)
    assert logins(write_config(lab, tmp_path / "signed", signed)) == (True, True)


def test_a_certificate_that_an_agent_holds(
    lab: SshFleet, signed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key file is encrypted, or only its public half is named: that key of the agent is offered."""
    key, encrypted = signed, tmp_path / "encrypted"
    for end in ("", ".pub"):
        Path(f"{encrypted}{end}").write_bytes(Path(f"{key}{end}").read_bytes())
    encrypted.chmod(0o600)
    keygen("-p", "-P", "", "-N", "secret", "-f", encrypted)
    socket = tmp_path / "agent"
    running = subprocess.Popen(["ssh-agent", "-D", "-a", socket], stdout=subprocess.DEVNULL)
    try:
        wait_until(socket.exists, "ssh-agent listens", timeout_s=20)
        monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
        others = [tmp_path / f"other{number}" for number in range(7)]  # more than sshd lets anybody try
        for other in others:
            keygen("-t", "ed25519", "-N", "", "-f", other)
        subprocess.run(["ssh-add", "-q", *others, key], check=True, env=os.environ, stdin=subprocess.DEVNULL)
        for identity in (encrypted, f"{key}.pub"):
            lines = f"  IdentityFile {identity}\n  CertificateFile {key}-cert.pub\n"
            assert logins(write_config(lab, tmp_path / "config", lines)) == (True, True)
        assert logins(write_config(lab, tmp_path / "config", "  IdentityFile /none\n")) == (False, False)
    finally:
        running.terminate()
        running.wait()


def test_a_hosts_certificate(lab: SshFleet, authority: Path, signed: Path, tmp_path: Path) -> None:
    """@cert-authority: a host whose name it has signed is known; another name, or authority, is not."""
    ours, other = (" ".join(Path(f"{p}.pub").read_text().split()[:2]) for p in (authority, lab.key))
    known = tmp_path / "known_hosts"
    lines = f"  IdentityFile {signed}\n  UserKnownHostsFile {known}\n  HostKeyAlias "
    named = write_config(lab, tmp_path / "named", f"{lines}gpu.example.org\n")
    unnamed = write_config(lab, tmp_path / "unnamed", f"{lines}web.example.org\n")
    known.write_text(f"@cert-authority *.example.org {ours}\n")
    assert logins(named) == (True, True)
    assert logins(unnamed, ErrorKind.HOST_KEY) == (False, False)
    known.write_text(f"@cert-authority *.example.org {other}\n")
    assert logins(named, ErrorKind.HOST_KEY) == (False, False)


def test_a_proxy_jump(lab: SshFleet, signed: Path, tmp_path: Path) -> None:
    """The alias of the jump host is looked up in the same file."""
    lines = f"  IdentityFile {signed}\nMatch originalhost h0001\n  ProxyJump h0002\nHost *\n"
    before = lab.logins("h0002")
    assert logins(write_config(lab, tmp_path / "config", lines)) == (True, True)
    assert lab.logins("h0002") == before + 2
