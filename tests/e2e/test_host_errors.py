"""Every way in which a host can fail, produced by its real cause over real sshd."""

import asyncio
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fleet import collector, config
from fleet.config import HostSpec
from fleet.errors import ErrorKind, HostError, Phase
from fleet.model import Fleet, Link
from lab import inventory
from lab.sshfleet import FAULTS, SshFleet, install_agent

pytestmark = pytest.mark.sshd

K, P = ErrorKind, Phase
# role -> kind, phase, words of the message, words of the hint
CAUSES: dict[str, tuple[ErrorKind, Phase, str, str]] = {
    "refused": (K.UNREACHABLE, P.CONNECT, "Connection refused", "nothing listens there"),
    "blackhole": (K.TIMEOUT, P.AUTH, "sent no SSH banner within 6 s", "timeouts.auth_s"),
    "synhole": (K.TIMEOUT, P.CONNECT, "did not answer within 4 s", "timeouts.connect_s"),
    "not-ssh": (K.REFUSED, P.AUTH, "closed the connection during the SSH", "whether that port is sshd's"),
    "banner-only": (K.TIMEOUT, P.AUTH, "within 6 s", "timeouts.auth_s"),
    "drip-banner": (K.TIMEOUT, P.AUTH, "sent no SSH banner within 6 s", "timeouts.auth_s"),
    "wrong-host-key": (K.HOST_KEY, P.AUTH, "is not the one in known_hosts", "ssh-keygen -R"),
    "auth-failure": (K.AUTH, P.AUTH, "permission denied for", "authorized_keys"),
    "command-missing": (K.AGENT_MISSING, P.HELLO, "exit status 127", "agent_command"),
    "no-shell": (K.AGENT_FAILED, P.HELLO, "This account is currently not available", "by hand"),
    "crash": (K.AGENT_FAILED, P.HELLO, "exit status 3: Traceback", "by hand"),
    "garbage": (K.BAD_OUTPUT, P.HELLO, "no hello of a fleet agent", "agent_command"),
    "silent": (K.BAD_OUTPUT, P.HELLO, "the output ended and no hello", "agent_command"),
    "hang": (K.TIMEOUT, P.HELLO, "said no hello within 8 s", "timeouts.hello_s"),
    "schema": (K.SCHEMA, P.HELLO, "speaks wire schema 999", "upgrade fleet on this machine"),
    "hello-only": (K.TIMEOUT, P.SNAPSHOT, "sent no whole snapshot within 8 s", "timeouts.snapshot_s"),
    "endless-lines": (K.BAD_OUTPUT, P.HELLO, "201 lines came and no hello", "login scripts"),
    "endless-line": (K.BAD_OUTPUT, P.SNAPSHOT, "a line of more than 1 MiB", "agent_command"),
    "endless-snapshot": (K.BAD_OUTPUT, P.SNAPSHOT, "a snapshot in more than 16 parts", "agent_command"),
    "stderr-flood": (K.TIMEOUT, P.SNAPSHOT, "sent no whole snapshot", "timeouts.snapshot_s"),
    "die-midline": (K.AGENT_FAILED, P.SNAPSHOT, "was killed by signal KILL", "by hand"),
    "drop-midline": (K.DISCONNECTED, P.SNAPSHOT, "the connection was lost", "sshd log"),
}  # fmt: skip
READABLE = ("slow-banner", "noise", "stubborn", "stall", "link")
EITHER = ("reset",)  # the reset may come while the connection is made, or after it


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshFleet]:
    """One host of every fault and three healthy ones."""
    root = tmp_path_factory.mktemp("errors") / "fleet"
    with SshFleet(root, hosts=3, faults=dict.fromkeys(FAULTS, 1), slow_s=1.5) as fleet:
        install_agent(fleet)
        yield fleet


@pytest.fixture(scope="module")
def seen(lab: SshFleet) -> Fleet:
    """All of them, read at once."""
    return collector.run(collector.read_fleet(inventory.specs(lab)))


def error_of(fleet: Fleet, host: str) -> HostError:
    error = fleet.hosts[host].error
    assert error is not None
    return error


def read(*specs: HostSpec) -> Fleet:
    return collector.run(collector.read_fleet(specs))


def test_the_table_is_whole(lab: SshFleet) -> None:
    """No fault of the lab is left out of this file."""
    assert set(CAUSES) | set(READABLE) | set(EITHER) == set(FAULTS)


@pytest.mark.parametrize("role", CAUSES)
def test_each_cause_has_its_kind_phase_message_and_hint(seen: Fleet, role: str) -> None:
    """The error names what happened, how far the reading had come, and what mends it."""
    kind, phase, message, hint = CAUSES[role]
    error = error_of(seen, f"{role}1")
    assert (error.kind, error.phase) == (kind, phase), error
    assert message in error.message
    assert hint in error.hint
    assert seen.hosts[f"{role}1"].link is Link.DOWN


@pytest.mark.parametrize("host", ["h0001", "h0002", "h0003", *(f"{role}1" for role in READABLE)])
def test_what_can_be_read_is_read(seen: Fleet, host: str) -> None:
    """A slow banner, a chatty shell, or a neighbour that fails do not cost a host its reading."""
    state = seen.hosts[host]
    assert state.error is None
    assert state.link is Link.UP
    assert state.reading is not None


def test_a_reset_connection_is_an_error_of_the_network(seen: Fleet) -> None:
    """Reset while connecting, or in the handshake: both say so."""
    error = error_of(seen, "reset1")
    assert error.kind in (K.UNREACHABLE, K.REFUSED)
    assert any(word in error.message.lower() for word in ("reset", "refused", "lost"))


def test_noise_is_noted(seen: Fleet) -> None:
    """A MOTD in front of the hello is a warning with what mends it."""
    reading = seen.hosts["noise1"].reading
    assert reading is not None
    assert "Welcome to Debian" in reading.notes[0]


def test_dead_hosts_cost_one_timeout_together(ssh_fleet: Callable[..., SshFleet]) -> None:
    """Forty dead hosts take as long as one, and a healthy one does not wait for them (PROMISES 6)."""
    lab = ssh_fleet(hosts=1, faults={"blackhole": 20, "synhole": 20})
    install_agent(lab, "h0001")
    specs = inventory.specs(lab, timeouts={"connect_s": 3, "auth_s": 3, "hello_s": 20, "snapshot_s": 20})
    started_s = time.monotonic()
    fleet = read(*specs)
    elapsed_s = time.monotonic() - started_s
    assert elapsed_s < 2 * (3 + 3)  # one after the other they would take two minutes
    reading = fleet.hosts["h0001"].reading
    assert reading is not None
    assert sum(h.error is not None and h.error.kind is K.TIMEOUT for h in fleet.hosts.values()) == 40


def test_the_whole_time_can_be_bounded(lab: SshFleet) -> None:
    """`--timeout` is over all phases, and the message says that it was it."""
    started_s = time.monotonic()
    fleet = collector.run(collector.read_fleet(inventory.specs(lab, "hang1", "blackhole1"), timeout_s=1.5))
    assert time.monotonic() - started_s < 5
    assert all(h.error is not None and h.error.kind is K.TIMEOUT for h in fleet.hosts.values())
    assert "before --timeout 1.5 had passed" in error_of(fleet, "blackhole1").message


def test_a_deadline_can_be_one_hosts_own(lab: SshFleet, tmp_path: Path) -> None:
    """Per-phase deadlines are overridable per host."""
    tables = inventory.tables(lab)
    tables["hosts"]["blackhole1"]["timeouts"] = {"auth_s": 0.7}
    spec = config.load(inventory.write(tmp_path / "hosts.toml", tables)).hosts["blackhole1"]
    assert "within 0.7 s" in error_of(read(spec), "blackhole1").message


def test_host_keys_unknown_changed_and_revoked_are_told_apart(lab: SshFleet, tmp_path: Path) -> None:
    """None of them is logged in to; the message says which it is, with the fingerprint (PROMISES 7)."""
    known = lab.write_known_hosts(tmp_path / "kh", unknown=["h0001"], changed=["h0002"], revoked=["h0003"])
    before = [lab.logins(name) for name in ("h0001", "h0002", "h0003")]
    fleet = read(*inventory.specs(lab, "h0001", "h0002", "h0003", known_hosts=str(known)))
    assert [lab.logins(name) for name in ("h0001", "h0002", "h0003")] == before
    words = {"h0001": "is not in known_hosts", "h0002": "is not the one in known_hosts", "h0003": "@revoked"}
    for host, expected in words.items():
        error = error_of(fleet, host)
        assert (error.kind, error.phase) == (K.HOST_KEY, P.AUTH)
        assert expected in error.message
    assert "SHA256:" in error_of(fleet, "h0001").message


def test_a_wrong_user_is_an_error_of_the_login(lab: SshFleet) -> None:
    """The message names the login and what was offered."""
    error = error_of(read(*inventory.specs(lab, "h0001", user="nobody-here")), "h0001")
    assert error.kind is K.AUTH
    assert "nobody-here@" in error.message
    assert str(lab.key) in error.message


def test_a_name_that_does_not_resolve(lab: SshFleet) -> None:
    """The reserved .invalid domain never does."""
    spec = HostSpec("x", address="no-such-host.invalid", ssh_config=None)
    error = error_of(read(spec), "x")
    assert (error.kind, error.phase) == (K.UNREACHABLE, P.DNS)
    assert error.message == "no-such-host.invalid: Name or service not known"


def test_a_key_that_is_not_there_is_an_error_of_the_configuration(lab: SshFleet, tmp_path: Path) -> None:
    """Found before anything is sent."""
    error = error_of(read(*inventory.specs(lab, "h0001", identity=str(tmp_path / "nope"))), "h0001")
    assert (error.kind, error.phase) == (K.CONFIG, P.CONFIG)
    assert "no such file" in error.message


def test_an_encrypted_key_without_an_agent(
    lab: SshFleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """fleet never asks for a passphrase; it says how ssh-agent takes the key."""
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    key = tmp_path / "id_locked"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "secret", "-f", key], check=True)
    error = error_of(read(*inventory.specs(lab, "h0001", identity=str(key))), "h0001")
    assert error.kind is K.CONFIG
    assert f"ssh-add {key}" in error.hint


def test_no_agent_on_a_real_host(ssh_fleet: Callable[..., SshFleet]) -> None:
    """A host with nothing installed says so, and how to install it."""
    lab = ssh_fleet(hosts=1)
    command = "/bin/sh -c 'PATH=/nowhere; command -v fleet-agent || exit 127'"
    error = error_of(read(*inventory.specs(lab, agent_command=command)), "h0001")
    assert error.kind is K.AGENT_MISSING
    assert "pipx install fleet-sessions-agent" in error.hint


def test_a_bug_of_ours_stops_no_other_host(
    lab: SshFleet, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An unexpected exception is that host's `internal` error, logged with its traceback."""
    good, bad = inventory.specs(lab, "h0001", "h0002")
    real = collector._read

    async def faulty(spec: HostSpec, *rest: object) -> object:
        if spec.name == "h0002":
            raise ZeroDivisionError("planted")
        return await real(spec, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(collector, "_read", faulty)
    fleet = asyncio.run(collector.read_fleet([good, bad]))
    assert fleet.hosts["h0001"].reading is not None
    error = error_of(fleet, "h0002")
    assert (error.kind, error.message) == (K.INTERNAL, "ZeroDivisionError: planted")
    assert "Traceback" in caplog.text
