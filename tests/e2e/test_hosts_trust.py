"""`fleet hosts trust` over real sshd: never silent, never in the place of another key unasked (PROMISES 7)."""

import os
import pty
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from lab import inventory
from lab.nameserver import nameserver
from lab.sshfleet import SshFleet, install_agent

pytestmark = pytest.mark.sshd

FLEET = [sys.executable, "-m", "fleet"]
Ran = subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshFleet]:
    with SshFleet(tmp_path_factory.mktemp("trust") / "fleet", hosts=2) as fleet:
        install_agent(fleet)
        yield fleet


def fingerprint(lab: SshFleet) -> str:
    listed = subprocess.run(["ssh-keygen", "-lf", lab.root / "host_key.pub"], capture_output=True, text=True)
    return listed.stdout.split()[1]


def write(lab: SshFleet, path: Path, known: Path, **host: str) -> Path:
    tables = inventory.tables(lab, known_hosts=str(known))
    tables["hosts"]["h0001"] |= host
    return inventory.write(path, tables)


def fleet(config: Path, *arguments: str, program: Sequence[str] = FLEET) -> Ran:
    command = [*program, *arguments, "--config", str(config)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)


def answered(config: Path, answer: str, *arguments: str, program: Sequence[str] = FLEET) -> Ran:
    """The same on a terminal, where somebody types the answer."""
    ours, theirs = pty.openpty()
    try:
        os.write(ours, f"{answer}\n".encode())
        command = [*program, *arguments, "--config", str(config)]
        return subprocess.run(command, stdin=theirs, capture_output=True, text=True, timeout=60)
    finally:
        os.close(ours)
        os.close(theirs)


@pytest.mark.parametrize("answer", ["", "y", "no", "YES"])
def test_only_an_explicit_yes_trusts(lab: SshFleet, tmp_path: Path, answer: str) -> None:
    """The fingerprint and the place are shown; anything else than `yes` changes nothing."""
    config = write(lab, tmp_path / "hosts.toml", tmp_path / "kh")
    ran = answered(config, answer, "hosts", "trust", "h0001")
    assert ran.returncode == 2
    assert fingerprint(lab) in ran.stdout
    assert f"in {tmp_path}/kh" in ran.stdout
    assert not (tmp_path / "kh").exists()


def test_a_host_that_is_trusted_can_be_read(lab: SshFleet, tmp_path: Path) -> None:
    """Unknown, trusted by a person, read; for ssh, too. Nobody to ask: nothing is trusted."""
    config = write(lab, tmp_path / "hosts.toml", tmp_path / "ssh" / "kh")
    unknown = fleet(config, "hosts", "check", "h0001")
    assert unknown.returncode == 5
    assert "fleet hosts trust h0001" in unknown.stdout
    assert "nobody can be asked" in fleet(config, "hosts", "trust", "h0001").stderr
    assert answered(config, "yes", "hosts", "trust", "h0001").returncode == 0
    assert fleet(config, "status", "--host", "h0001").returncode == 0
    assert fleet(config, "status", "--host", "h0002").returncode == 5  # one key at a time
    known = (tmp_path / "ssh" / "kh").read_text()
    assert known.startswith(f"[{lab.hosts['h0001'].address}]:{lab.port} ssh-ed25519 ")
    assert "trusted already" in fleet(config, "hosts", "trust", "h0001").stdout
    by_ssh = ["ssh", "-F", str(lab.ssh_config), "-o", f"UserKnownHostsFile={tmp_path}/ssh/kh", "h0001", "true"]
    assert subprocess.run(by_ssh, timeout=30).returncode == 0


def test_a_fingerprint_is_an_answer(lab: SshFleet, tmp_path: Path) -> None:
    """Scripts give the fingerprint that they have from elsewhere: the key that has it is trusted, no other."""
    config = write(lab, tmp_path / "hosts.toml", tmp_path / "kh")
    wrong = fleet(config, "hosts", "trust", "h0001", "--fingerprint", "SHA256:" + "A" * 43)
    assert wrong.returncode == 2
    assert f"it has ssh-ed25519 {fingerprint(lab)}" in wrong.stderr
    assert not (tmp_path / "kh").exists()
    assert fleet(config, "hosts", "trust", "h0001", "--fingerprint", fingerprint(lab)).returncode == 0
    assert fleet(config, "status", "--host", "h0001").returncode == 0


def test_a_changed_key_is_never_replaced_unasked(lab: SshFleet, tmp_path: Path) -> None:
    """Both keys are shown; only --replace, with a yes, puts the new one in the place of the old."""
    known = lab.write_known_hosts(tmp_path / "kh", changed=["h0001"])
    before = known.read_text()
    config = write(lab, tmp_path / "hosts.toml", known)
    for arguments in ((), ("--fingerprint", fingerprint(lab))):
        refused = answered(config, "yes", "hosts", "trust", "h0001", *arguments)
        assert refused.returncode == 2
        assert refused.stdout.count("SHA256:") == 2
        assert "add --replace" in refused.stderr
    assert known.read_text() == before
    assert answered(config, "yes", "hosts", "trust", "h0001", "--replace").returncode == 0
    assert fleet(config, "status", "--host", "h0001", "--host", "h0002").returncode == 0
    assert len(known.read_text().splitlines()) == len(before.splitlines())


def test_a_revoked_key_cannot_be_trusted(lab: SshFleet, tmp_path: Path) -> None:
    """Not even with --replace."""
    known = lab.write_known_hosts(tmp_path / "kh", revoked=["h0001"])
    config = write(lab, tmp_path / "hosts.toml", known)
    ran = fleet(config, "hosts", "trust", "h0001", "--replace", "--fingerprint", fingerprint(lab))
    assert ran.returncode == 2
    assert "@revoked" in ran.stderr


def test_names_are_hashed_where_ssh_would_hash_them(lab: SshFleet, tmp_path: Path) -> None:
    """HashKnownHosts of the user's ssh_config counts, and a hashed key is found again and replaced."""
    known = tmp_path / "kh"
    ssh_config = tmp_path / "config"
    ssh_config.write_text(f"Host *\n  HashKnownHosts yes\n  UserKnownHostsFile {known}\n")
    tables = inventory.tables(lab, ssh_config=str(ssh_config))
    del tables["defaults"]["known_hosts"]
    config = inventory.write(tmp_path / "hosts.toml", tables)
    assert fleet(config, "hosts", "trust", "h0001", "--fingerprint", fingerprint(lab)).returncode == 0
    assert known.read_text().startswith("|1|")
    assert fleet(config, "status", "--host", "h0001").returncode == 0
    name = f"[{lab.hosts['h0001'].address}]:{lab.port}"
    assert subprocess.run(["ssh-keygen", "-F", name, "-f", known], capture_output=True).returncode == 0


def test_a_host_behind_a_jump_host(lab: SshFleet, tmp_path: Path) -> None:
    """The key is asked for through the jump host, whose own key has to be trusted first."""
    known = tmp_path / "kh"
    config = write(lab, tmp_path / "hosts.toml", known, jump="h0002")
    refused = fleet(config, "hosts", "trust", "h0001", "--fingerprint", fingerprint(lab))
    assert refused.returncode == 2
    assert "jump host h0002" in refused.stderr
    assert fleet(config, "hosts", "trust", "h0002", "--fingerprint", fingerprint(lab)).returncode == 0
    before = lab.logins("h0002")
    assert fleet(config, "hosts", "trust", "h0001", "--fingerprint", fingerprint(lab)).returncode == 0
    assert lab.logins("h0002") == before + 1
    assert fleet(config, "status", "--host", "h0001").returncode == 0


# The command as it is, but with a nameserver of the test's own: /etc/resolv.conf is the machine's.
ASKING = """
import sys
from fleet.transport import sshfp
sshfp.RESOLV_CONF, sshfp.PORT = sys.argv[1], int(sys.argv[2])
from fleet.cli.app import main
sys.argv[1:3] = []
main()
"""


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshFleet]:
    """A host with a name, for DNS has no fingerprints of an address: localhost."""
    with SshFleet(tmp_path_factory.mktemp("named") / "fleet", hosts=1, net="127.0") as fleet:
        yield fleet


@pytest.mark.parametrize(
    ("publishes", "is_signed", "says"),
    [
        (True, True, "matches an SSHFP record of localhost, signed (DNSSEC)"),
        (True, False, "matches, but DNS is not signed"),
        (False, True, "DIFFERS: localhost has SSHFP records"),
        (None, True, "has no SHA-256 SSHFP record"),
    ],
)
def test_what_dns_publishes_is_shown_and_decides_nothing(
    named: SshFleet, tmp_path: Path, publishes: bool | None, is_signed: bool, says: str
) -> None:
    """Signed or not, a person is asked; a key that is not the published one needs its fingerprint named."""
    key = named.root / "host_key" if publishes else tmp_path / "other"
    if not publishes:
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    told = subprocess.run(["ssh-keygen", "-r", "localhost", "-f", f"{key}.pub"], capture_output=True, text=True)
    known = tmp_path / "kh"
    config = write(named, tmp_path / "hosts.toml", known, address="localhost")
    with nameserver() as server:
        if publishes is not None:
            server.records["localhost."] = [line.partition(" SSHFP ")[2] for line in told.stdout.splitlines()]
        server.signed = is_signed
        resolv_conf = server.resolv_conf(tmp_path / "resolv.conf", trust_ad=True)
        program = [sys.executable, "-c", ASKING, str(resolv_conf), str(server.port)]
        unasked = fleet(config, "hosts", "trust", "h0001", program=program)
        assert says in unasked.stdout
        assert unasked.returncode == 2
        yes = answered(config, "yes", "hosts", "trust", "h0001", program=program)
        assert yes.returncode == (2 if publishes is False else 0)
        assert known.exists() is (publishes is not False)
        if publishes is False:
            assert "--fingerprint" in yes.stderr
            given = ("hosts", "trust", "h0001", "--fingerprint", fingerprint(named))
            assert fleet(config, *given, program=program).returncode == 0
        assert set(server.asked) == {"udp localhost."}
