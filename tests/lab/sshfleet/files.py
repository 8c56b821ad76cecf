"""The files of a fleet: keys, scripts, configurations for both sides."""

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from lab.sshfleet import config, machine
from lab.sshfleet.config import State
from lab.sshfleet.faults import FAULTS


def write(state: State, options: Sequence[str], match: Mapping[str, Sequence[str]]) -> None:
    """Everything that sshd and clients read, below `state.root`."""
    root = Path(state.root)
    for sub in ("log", "bin", "conf", "home", *(f"home/{name}" for name in state.hosts)):
        (root / sub).mkdir(parents=True, exist_ok=True)
    root.chmod(0o755)
    _write_keys(root, state)
    for role, fault in FAULTS.items():
        if fault.script is not None:
            (root / "bin" / f"{role}.sh").write_text(config.script(role, fault))
    version = machine.sshd_version(state.sshd_path)
    for sshd in state.sshds:
        text = config.sshd_config(state, sshd, version=version, options=options, match=match)
        Path(sshd.config).write_text(text)
    _write_client_files(root, state)


def public_key(path: Path) -> str:
    """`ssh-ed25519 AAAA...` of a key pair, which is made if it is not there."""
    if not path.exists():
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", path.stem, "-f", str(path)]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return " ".join(Path(f"{path}.pub").read_text().split()[:2])


def _write_keys(root: Path, state: State) -> None:
    state.host_key = public_key(root / "host_key")
    if any(sshd.host_key == "other_host_key" for sshd in state.sshds):
        public_key(root / "other_host_key")
    (root / "authorized_keys").write_text(public_key(root / "id_ed25519") + " sshfleet\n")


def _write_client_files(root: Path, state: State) -> None:
    healthy = [host for host in state.hosts.values() if host.role == "ok"]
    texts = {
        "ssh_config": config.ssh_config(state),
        "ssh_config.min": config.ssh_config_shared(state),
        "known_hosts": config.known_hosts(state),
        "known_hosts.hashed": config.known_hosts_hashed(state),
        "hosts": "".join(f"{host.name}\n" for host in healthy),
        "hosts.all": "".join(f"{name}\n" for name in state.hosts),
        "addresses": "".join(f"{host.address}\n" for host in healthy),
    }
    for name, text in texts.items():
        (root / name).write_text(text)
