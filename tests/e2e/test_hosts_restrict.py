"""`fleet hosts restrict` over real sshd: a key that can observe, and can do nothing else (PROMISES 9)."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psutil
import pytest

from fake_codex import rollout_path, sample, thread_id
from fleet import collector
from fleet.launch import report_command, unpack_command
from lab import inventory
from lab.sshfleet import SshFleet, install_agent
from lab.waiting import wait_until

pytestmark = pytest.mark.sshd

FLEET = [sys.executable, "-m", "fleet"]
OPTIONS = ["AllowAgentForwarding yes", "AllowTcpForwarding yes", "X11Forwarding yes", "GatewayPorts yes"]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshFleet]:
    """One host, whose sshd would forward whatever it is asked for."""
    with SshFleet(tmp_path_factory.mktemp("restrict") / "fleet", hosts=1, sshd_options=OPTIONS) as fleet:
        install_agent(fleet)
        yield fleet


@pytest.fixture(scope="module")
def observer(lab: SshFleet) -> Path:
    """A key that `fleet hosts restrict --install` has restricted."""
    key = lab.root / "observer"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    config = inventory.write(lab.root / "hosts.toml", inventory.tables(lab))
    before = (lab.root / "authorized_keys").read_text()
    ran = restrict(lab, config, "--key", str(key), "--install", "--yes")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    after = (lab.root / "authorized_keys").read_text()
    assert after.startswith(before)  # others' lines are as they were
    assert after.count("\n") == before.count("\n") + 1
    assert (lab.root / "authorized_keys.fleet-backup").read_text() == before
    again = restrict(lab, config, "--key", str(key), "--install", "--yes")
    assert "has the line already" in again.stdout
    assert (lab.root / "authorized_keys").read_text() == after
    assert not list(lab.root.glob("*fleet-new*"))
    return key


def restrict(lab: SshFleet, config: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    file = ("--file", str(lab.root / "authorized_keys"))
    command = [*FLEET, "hosts", "restrict", "h0001", *file, "--config", str(config), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)


def ssh(lab: SshFleet, key: Path, *arguments: str, program: str = "ssh") -> "subprocess.CompletedProcess[str]":
    options = ["-F", str(lab.ssh_config), "-o", f"IdentityFile={key}"]
    if program == "ssh":
        options += ["-o", "ExitOnForwardFailure=yes"]
    shared = [line for line in lab.ssh_config.read_text().splitlines() if "IdentityFile" not in line]
    config = lab.root / "ssh_config.observer"
    config.write_text("\n".join(shared) + "\n")
    options[1] = str(config)
    return subprocess.run(
        [program, *options, *arguments], capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL
    )


@pytest.mark.parametrize(
    "command",
    [
        (),
        ("id",),
        ("sh -c id",),
        ("fleet-agent snapshot; id",),
        ("fleet-agent snapshot\nid",),
        ("fleet-agent snapshot --privacy meta --privacy text",),
        ("fleet-agent stream --interval 1 --home /",),
        ("fleet-agent hooks install",),
        ("fleet-agent serve --privacy text",),
        ("fleet-agent --version",),
        ("exec /bin/sh -c 'x' fleet-agent snapshot '' 'id'",),
        (report_command(),),
        (unpack_command("python3", 1),),
    ],
)
def test_nothing_else_can_be_run(lab: SshFleet, observer: Path, command: tuple[str, ...]) -> None:
    """Shells, other commands, other verbs and flags, what ships an agent: refused, and nothing is run."""
    ran = ssh(lab, observer, "h0001", *command)
    assert ran.returncode == 2
    assert "this key may only observe" in ran.stderr + ran.stdout
    assert "uid=" not in ran.stdout


def test_there_is_no_terminal(lab: SshFleet, observer: Path) -> None:
    """A terminal is refused before anything else."""
    assert "PTY allocation request failed" in ssh(lab, observer, "-tt", "h0001").stderr


def test_what_stands_before_the_arguments_is_not_run(lab: SshFleet, observer: Path, tmp_path: Path) -> None:
    """The collector's search script is passed over, so another one in its place does nothing."""
    ran = ssh(lab, observer, "h0001", f"exec /bin/sh -c 'touch {tmp_path}/planted' fleet-agent probe")
    assert ran.stdout.endswith("probed=yes\n")
    assert not (tmp_path / "planted").exists()


@pytest.mark.parametrize("program", ["sftp", "scp"])
def test_no_file_can_be_copied(lab: SshFleet, observer: Path, tmp_path: Path, program: str) -> None:
    """Neither by the sftp subsystem nor by the old scp protocol."""
    if program == "sftp":
        attempts = [("-b", "/dev/null", "h0001")]
    else:
        attempts = [(*old, "h0001:/etc/passwd", str(tmp_path / "copy")) for old in ((), ("-O",))]
    for attempt in attempts:
        assert ssh(lab, observer, *attempt, program=program).returncode != 0
    assert not (tmp_path / "copy").exists()


def test_nothing_is_forwarded(lab: SshFleet, observer: Path, tmp_path: Path) -> None:
    """-R is refused, and -L, which -W is without a port of its own, carries nothing; a free key may do both."""
    remote = ("-N", "-R", "0:127.0.0.1:1", "h0001")
    assert "forwarding failed" in ssh(lab, observer, *remote).stderr
    through = ("-W", f"{lab.hosts['h0001'].address}:{lab.port}", "h0001")
    assert "SSH-2.0" in ssh(lab, lab.key, *through).stdout
    refused = ssh(lab, observer, *through)
    assert "SSH-2.0" not in refused.stdout
    assert "stdio forwarding failed" in refused.stderr


def test_status_and_stream_work(lab: SshFleet, observer: Path) -> None:
    """A collector with this key reads the host, once and on end, and its check passes."""
    spec = msgspec.structs.replace(inventory.specs(lab, "h0001")[0], identity=(str(observer),), privacy="text")
    state = collector.run(collector.read_fleet([spec])).hosts["h0001"]
    assert state.error is None
    stream = ssh(lab, observer, "h0001", "fleet-agent stream --interval 0.2")  # its stdin has ended
    assert stream.stdout.startswith('{"type":"hello"')
    config = inventory.write(lab.root / "observed.toml", inventory.tables(lab, identity=str(observer)))
    command = [*FLEET, "hosts", "check", "h0001", "--config", str(config)]
    checked = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert checked.returncode == 0, checked.stdout


def test_privacy_cannot_be_raised(lab: SshFleet, observer: Path) -> None:
    """The line on the host says `meta`: a collector that asks for titles gets none (PROMISES 13)."""
    home = lab.home("h0001") / ".codex"
    rollout = rollout_path(home, thread_id())
    rollout.write_bytes(sample("exec_tool"))
    free = msgspec.structs.replace(inventory.specs(lab, "h0001")[0], privacy="title")
    restricted = msgspec.structs.replace(free, identity=(str(observer),))
    sources = []
    for spec in (free, restricted):
        reading = collector.run(collector.read_fleet([spec])).hosts["h0001"].reading
        assert reading is not None
        sources.append({s.title_source for s in reading.snapshot.sessions if s.home == str(home)})
    assert sources == [{"prompt"}, {"directory"}]


def test_neither_agent_nor_display_is_forwarded(lab: SshFleet, observer: Path, tmp_path: Path) -> None:
    """Asked for both, sshd gives neither to the agent: it sees no socket and no display."""
    ssh_agent = subprocess.Popen(["ssh-agent", "-D", "-a", str(tmp_path / "a")], stdout=subprocess.DEVNULL)
    stream = None
    try:
        wait_until((tmp_path / "a").exists, "ssh-agent listens", timeout_s=20)
        stream = subprocess.Popen(
            ["ssh", "-F", str(lab.ssh_config), "-o", f"IdentityFile={observer}",
             "-o", f"IdentityAgent={tmp_path}/a", "-A", "-X", "h0001", "fleet-agent stream"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "DISPLAY": ":0"},
        )  # fmt: skip
        assert stream.stdout is not None
        assert "hello" in stream.stdout.readline()
        environs = [psutil.Process(process.pid).environ() for process in lab.processes("h0001")]
        seen = [e for e in environs if e.get("SSH_ORIGINAL_COMMAND") == "fleet-agent stream"]
        assert seen
        assert not any(name in e for e in seen for name in ("SSH_AUTH_SOCK", "DISPLAY"))
    finally:
        if stream:
            stream.communicate(timeout=10)
        ssh_agent.terminate()
        ssh_agent.wait(5)


def test_a_key_with_options_of_its_own_is_left_alone(lab: SshFleet, tmp_path: Path) -> None:
    """`from=` may be there for a reason: the file is not changed, and the message says why."""
    key = tmp_path / "other"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    own = tmp_path / "keys"
    own.write_text(f'from="10.0.0.0/8" {Path(f"{key}.pub").read_text()}')
    config = inventory.write(tmp_path / "hosts.toml", inventory.tables(lab))
    ran = restrict(lab, config, "--key", str(key), "--install", "--yes", "--file", str(own))
    assert ran.returncode == 2
    assert 'options of its own (from="10.0.0.0/8")' in ran.stderr
    assert own.read_text().startswith("from=")
