"""What a fleet is made of, and the text of the files that sshd and ssh read. Pure."""

import base64
import hashlib
import hmac
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from lab import MARK, LabError
from lab.procs import Process
from lab.sshfleet.faults import FAULTS, PRELUDE, By, Fault

MAX_LISTEN = 16  # sshd.c: MAX_LISTEN_SOCKS
HOSTS_A_SUBNET = 250
NOBODY = Process(0, 0)


class Host(msgspec.Struct):
    """One host: an alias, a loopback address, a role ("ok" or a fault), and the sshd behind it, if any."""

    name: str
    address: str
    role: str = "ok"
    sshd: int | None = None  # index into State.sshds


class Sshd(msgspec.Struct):
    """One sshd: its files, the hosts that it plays, and its listener."""

    config: str
    log: str
    port: int
    host_key: str
    hosts: list[str]
    listener: Process = NOBODY


class State(msgspec.Struct):
    """A whole fleet, as fleet.json keeps it for programs and for a later `load`."""

    root: str
    user: str
    port: int
    slow_s: float
    own_home: bool
    mark: str
    hosts: dict[str, Host]
    sshds: list[Sshd]
    faultd: Process = NOBODY
    sshd_path: str = ""
    host_key: str = ""  # the public key that known_hosts has for every host


def plan_hosts(healthy: int, faults: dict[str, int], net: str) -> dict[str, Host]:
    """Names and addresses: h0001... for healthy hosts, `ROLE1...` for faulty ones."""
    width = max(4, len(str(healthy)))
    names = [(f"h{i:0{width}d}", "ok") for i in range(1, healthy + 1)]
    for role, count in faults.items():
        if role not in FAULTS:
            raise LabError(f"unknown fault {role!r}; known: {', '.join(FAULTS)}")
        names += [(f"{role}{i}", role) for i in range(1, count + 1)]
    if len(names) > HOSTS_A_SUBNET**2:
        raise LabError("too many hosts for one 127.x/16")
    return {
        name: Host(name, f"{net}.{i // HOSTS_A_SUBNET}.{i % HOSTS_A_SUBNET + 1}", role)
        for i, (name, role) in enumerate(names)
    }


def plan_sshds(root: Path, hosts: Iterable[Host], port: int, per_sshd: int) -> list[Sshd]:
    """Deal hosts out to sshds and write into each host which one is behind it.

    A host key cannot be chosen by a Match block, so a wrong one needs an sshd of its own kind; what is behind
    faultd listens one port higher.
    """
    shards: dict[tuple[int, str], list[Host]] = {}
    for host in hosts:
        fault = FAULTS.get(host.role)
        host_key = "other_host_key" if host.role == "wrong-host-key" else "host_key"
        if fault is None or fault.by is By.SSHD:
            shards.setdefault((port, host_key), []).append(host)
        elif fault.by is By.LINK:
            shards.setdefault((port + 1, host_key), []).append(host)
    sshds: list[Sshd] = []
    for (listen, host_key), shard in shards.items():
        per = 1 if listen != port else per_sshd
        for group in (shard[at : at + per] for at in range(0, len(shard), per)):
            name = f"sshd_{len(sshds):04d}"
            for host in group:
                host.sshd = len(sshds)
            names = [host.name for host in group]
            sshds.append(
                Sshd(str(root / "conf" / name), str(root / "log" / f"{name}.log"), listen, host_key, names)
            )
    return sshds


def sshd_config(
    state: State,
    sshd: Sshd,
    *,
    version: tuple[int, ...],
    options: Sequence[str],
    match: Mapping[str, Sequence[str]],
) -> str:
    """The sshd_config of one sshd. `options` go before ours, `match[name]` before ours of that host.

    For most keywords sshd keeps the first value it sees, for MaxStartups the last, so an option also takes the
    place of ours.
    """
    hosts = [state.hosts[name] for name in sshd.hosts]
    given = {option.split()[0].lower() for option in options}
    ours = [
        f"HostKey {state.root}/{sshd.host_key}",
        f"AuthorizedKeysFile {state.root}/authorized_keys",
        "PidFile none",
        f"AllowUsers {state.user}",
        "PermitRootLogin prohibit-password",
        "PubkeyAuthentication yes",
        "PasswordAuthentication no",
        "KbdInteractiveAuthentication no",
        "UsePAM no",
        "StrictModes no",
        "UseDNS no",
        "PrintMotd no",
        "PrintLastLog no",
        "X11Forwarding no",
        "MaxStartups 10000",
        "MaxSessions 1000",
        "MaxAuthTries 6",
        "LoginGraceTime 60",
        "AcceptEnv LANG LC_* FLEET_*",
        "Subsystem sftp internal-sftp",
    ]
    if version >= (9, 8):
        ours.append("PerSourcePenalties no")
    lines = [f"ListenAddress {host.address}:{sshd.port}" for host in hosts]
    lines += [*options, *(line for line in ours if line.split()[0].lower() not in given)]
    for host in hosts:
        lines += _match_block(state, host, match.get(host.name, ()))
    return "\n".join(lines) + "\n"


def _match_block(state: State, host: Host, extra: Sequence[str]) -> list[str]:
    environment = [f"SSHFLEET_HOST={host.name}", f"SSHFLEET_ROOT={state.root}", f"{MARK}={state.mark}"]
    if state.own_home:
        environment.append(f"HOME={state.root}/home/{host.name}")
    lines = [f"Match LocalAddress {host.address}", *extra, f"SetEnv {' '.join(environment)}"]
    if host.role in FAULTS and FAULTS[host.role].script is not None:
        lines.append(f"ForceCommand exec /bin/sh {state.root}/bin/{host.role}.sh")
    if host.role == "auth-failure":
        lines.append("AuthorizedKeysFile none")
    return lines


def script(role: str, fault: Fault) -> str:
    """The forced command of a role, run by /bin/sh with the client's command in SSH_ORIGINAL_COMMAND."""
    return f"#!/bin/sh\n# lab role {role}: {fault.sees}\n{PRELUDE}{fault.script}"


def ssh_config(state: State) -> str:
    """A client's configuration: one Host block per host, and what they share."""
    blocks = [f"Host {host.name}\n  HostName {host.address}\n" for host in state.hosts.values()]
    return "".join(blocks) + ssh_config_shared(state)


def ssh_config_shared(state: State) -> str:
    """One `Host *` block: with bare addresses it is enough, and the cheapest for ssh."""
    return (
        "Host *\n"
        f"  User {state.user}\n  Port {state.port}\n  IdentityFile {state.root}/id_ed25519\n"
        f"  IdentitiesOnly yes\n  UserKnownHostsFile {state.root}/known_hosts\n"
        "  GlobalKnownHostsFile /dev/null\n  BatchMode yes\n  LogLevel ERROR\n"
        "  StrictHostKeyChecking yes\n  UpdateHostKeys no\n"
    )


def known_hosts(
    state: State,
    *,
    unknown: Collection[str] = (),
    changed: Collection[str] = (),
    revoked: Collection[str] = (),
    other_key: str = "",
) -> str:
    """One line per host; hosts of these names are left out, have `other_key`, or are marked @revoked."""
    lines = []
    for host in state.hosts.values():
        key = other_key if host.name in changed else state.host_key
        if host.name not in unknown:
            lines.append(f"{'@revoked ' if host.name in revoked else ''}{_label(state, host)} {key}\n")
    return "".join(lines)


def known_hosts_hashed(state: State) -> str:
    """The same as known_hosts with every name hashed, as `HashKnownHosts yes` writes it (sshd(8))."""
    lines = []
    for host in state.hosts.values():
        salt = hashlib.sha1(host.address.encode()).digest()
        mac = hmac.digest(salt, _label(state, host).encode(), "sha1")
        pair = "|".join(base64.b64encode(part).decode() for part in (salt, mac))
        lines.append(f"|1|{pair} {state.host_key}\n")
    return "".join(lines)


def _label(state: State, host: Host) -> str:
    return host.address if state.port == 22 else f"[{host.address}]:{state.port}"
