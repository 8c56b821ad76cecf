"""One-shot fan-out: `fleet status` over N real sshd hosts, beside what else reads N hosts, in one run.

Usage: python bench/fanout.py [N ...] [--repeat R]        (default: 50 200 500, three times)

Every host prints the same 8 KiB snapshot (a shell script with one `cat`); fleet decodes and merges it, the
others throw it away. Clients run one after another, in turn within each repetition, on processor 0; sshd and
all that it starts on processor 1. Printed are medians, and ratios pair by pair of one repetition:

  fleet         fleet status --json
  asyncssh      bench/bare_asyncssh.py: the floor, tuned like fleet, nothing decoded
  clush         ClusterShell, 64 at a time, key exchange forced to curve25519 (7 times cheaper than the default)
  clush-default the same with OpenSSH's own choice of key exchange
  parallel-ssh  libssh2, where it is installed; it does not check host keys

Wall time against real sshd is mostly the server's (one processor plays all the hosts): compare CPU.
"""

import argparse
import importlib.util
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

import measure
from fleet_agent.wire import SCHEMA, Hello, Session, Snapshot, Tokens
from lab import inventory
from lab.sshfleet import SshFleet

BENCH = Path(__file__).parent
CLIENT_CPU, SERVER_CPU = 0, 1
FANOUT = 64
SESSIONS = 14  # make 8 KiB


@dataclass(frozen=True)
class Client:
    """A command, and how many hosts it says it read."""

    name: str
    argv: Sequence[str]
    read: Callable[[measure.Cost], int]


def snapshot() -> bytes:
    """What each host prints: the two lines of an agent with 14 sessions."""
    sessions = tuple(
        Session(
            tool="codex", id=f"01a1fbf3-d4da-78f3-8f80-8b9a0611d5{i:02x}", state="working", detail="tool",
            reason="a tool call is open and its process lives", evidence="pending_call", confidence="strong",
            since_at=1.79e9, title=f"fix the parser, part {i}", cwd="/home/dev/project", branch="main",
            model="gpt-5.5", tokens=Tokens(1000, 500, 100, 10, 1100), context_used_tokens=1000,
            context_window_tokens=258400, pids=(4242,), last_activity_at=1.79e9,
            transcript="/home/dev/.codex/sessions/2026/11/21/rollout-2026-11-21T02-43-03.jsonl",
        )
        for i in range(SESSIONS)
    )  # fmt: skip
    frames = (Hello(schema=SCHEMA, agent_version="0.1.0", now=1.79e9), Snapshot(1, 1.79e9, sessions))
    return b"".join(msgspec.json.encode(frame) + b"\n" for frame in frames)


@contextmanager
def hosts(count: int) -> Iterator[SshFleet]:
    """The fleet, with its servers on their own processor, and the emitter in its root."""
    with tempfile.TemporaryDirectory(prefix="fleet-bench-") as directory:
        here = os.sched_getaffinity(0)
        fleet = SshFleet(Path(directory) / "lab", hosts=count)
        os.sched_setaffinity(0, {SERVER_CPU})
        try:
            fleet.start()
        finally:
            os.sched_setaffinity(0, here)
        try:
            (fleet.root / "snapshot.ndjson").write_bytes(snapshot())
            emitter = fleet.root / "emit"
            emitter.write_text(f"#!/bin/sh\nexec cat {fleet.root}/snapshot.ndjson\n")
            emitter.chmod(0o755)
            yield fleet
        finally:
            fleet.stop()


def clients(fleet: SshFleet) -> list[Client]:
    """Those that are installed here."""
    emit = str(fleet.root / "emit")
    config = fleet.root / "hosts.toml"
    inventory.write(config, inventory.tables(fleet, agent_command=emit, timeouts={"auth_s": 60, "hello_s": 60}))
    status = ["-m", "fleet", "status", "--config", str(config), "-x", "local", "--json"]
    login = [str(fleet.port), fleet.user, str(fleet.key), str(fleet.known_hosts)]
    bare = [str(BENCH / "bare_asyncssh.py"), str(fleet.root / "addresses"), *login, emit]
    found = [
        Client("fleet", [sys.executable, *status], _read_by_fleet),
        Client("asyncssh", [sys.executable, *bare], _printed),
    ]
    if importlib.util.find_spec("ClusterShell") and shutil.which("ssh"):
        found += [
            _clush("clush", fleet, emit, "-o KexAlgorithms=curve25519-sha256"),
            _clush("clush-default", fleet, emit),
        ]
    if importlib.util.find_spec("pssh"):
        argv = [sys.executable, str(BENCH / "parallel_ssh.py"), str(fleet.root / "addresses"), *login[:3], emit]
        found.append(Client("parallel-ssh", argv, _printed))
    return found


def _clush(name: str, fleet: SshFleet, emit: str, more: str = "") -> Client:
    addresses = ",".join(host.address for host in fleet.hosts.values())
    ssh = f"-F {fleet.root}/ssh_config.min {more}".strip()
    argv = [
        sys.executable,
        "-m",
        "ClusterShell.CLI.Clush",
        "-S",
        "-f",
        str(FANOUT),
        "-o",
        ssh,
        "-w",
        addresses,
        emit,
    ]
    return Client(name, argv, lambda cost: cost.stdout.count(b'"hello"'))


def _read_by_fleet(cost: measure.Cost) -> int:
    document = msgspec.json.decode(cost.stdout)
    return sum(host["link"] == "up" for host in document["hosts"])


def _printed(cost: measure.Cost) -> int:
    return int(cost.stdout or b"0")


def run(count: int, repeat: int) -> None:
    """Measure N hosts and print the table."""
    costs: dict[str, list[measure.Cost]] = {}
    with hosts(count) as fleet:
        found = clients(fleet)
        measure.run(found[1].argv, cpu=CLIENT_CPU)  # the first logins to fresh servers take longer
        for number in range(repeat):
            for client in found[number % len(found) :] + found[: number % len(found)]:
                cost = measure.run(client.argv, cpu=CLIENT_CPU)
                read = client.read(cost) if cost.status == 0 else 0
                if read != count:
                    sys.exit(f"{client.name} read {read} of {count} hosts: {cost.stderr[-500:].decode()}")
                costs.setdefault(client.name, []).append(cost)
    print(f"\n{count} hosts, {repeat} times   fleet's ratio to it in brackets")
    print(f"{'':14}{'client CPU, ms/host':>24}{'wall, s':>18}{'peak memory, MB':>20}")
    for name in costs:
        cells = [
            _cell(costs, name, field, scale)
            for field, scale in (("cpu_s", 1000 / count), ("wall_s", 1), ("memory_mb", 1))
        ]
        print(f"{name:14}{cells[0]:>24}{cells[1]:>18}{cells[2]:>20}")


def _cell(costs: dict[str, list[measure.Cost]], name: str, field: str, scale: float) -> str:
    values = [getattr(cost, field) for cost in costs[name]]
    ratios = [getattr(f, field) / v for f, v in zip(costs["fleet"], values, strict=True) if v]
    ratio = f"({statistics.median(ratios):.2f})" if ratios else "(-)"
    return f"{statistics.median(values) * scale:.2f} {ratio:>7}"


def main() -> None:
    """Parse the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("counts", nargs="*", type=int, default=[50, 200, 500], metavar="N")
    parser.add_argument("--repeat", type=int, default=3)
    arguments = parser.parse_args()
    if len(os.sched_getaffinity(0)) < 2:
        sys.exit("bench/fanout.py needs two processors: one for the client, one for the servers")
    for count in arguments.counts:
        run(count, arguments.repeat)


if __name__ == "__main__":
    main()
