"""The daemon over N open streams, beside bare asyncssh that reads the same bytes and drops them, in one run.

Usage: python bench/daemon.py [N ...] [--window S]        (default: 100 500 1000, windows of 20 s)

Every host is a real sshd with an emitter (bench/emitter.c) that sends a snapshot every 2 s, of 2 KiB or 16 KiB,
or heartbeats only. Clients run on processor 0, sshd and all that it starts on processor 1. Printed are:

  CPU       of the process in the window, microseconds a host and interval, and fleet's ratio to bare asyncssh
  RSS       of the daemon, and for each host what it has more than a daemon with one
  lag p99   of the daemon's event loop
  event     from the time that the host wrote into a snapshot to the event at a reader, p50 and p99
  fresh     POST /v1/refresh of all hosts: wall, and the daemon's CPU a host
  storm     all connections ended at once: until every host is up again
  status    `fleet status --json` over the daemon's socket, CPU as a ratio to `python -c pass`

Last, without SSH: 10,000 hosts with 3 sessions each through the model, what one update and one reading cost.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import psutil

import measure
from fanout import CLIENT_CPU, SERVER_CPU, hosts
from fleet import client, model
from fleet.changes import changes
from fleet.cli.daemon_events import parsed
from fleet.model import HostRead, Reading
from fleet.views.document import document, encode
from fleet.views.notices import notices
from fleet_agent.wire import SCHEMA, Hello, Session, Snapshot, Tokens
from lab import inventory
from lab.fleetd import Fleetd
from lab.sshfleet import SshFleet

BENCH = Path(__file__).parent
INTERVAL_S = 2.0
LOADS = {"2 KiB": (3, 1), "16 KiB": (26, 1), "idle": (3, 0)}  # sessions in a snapshot, whether it changes


def session(number: int, since: object) -> dict[str, Any]:
    """A session as an agent writes it, some 600 bytes."""
    one = Session(
        tool="codex", id=f"01a1fbf3-d4da-78f3-8f80-8b9a0611d5{number:02x}", state="working", detail="tool",
        reason="a tool call is open and its process lives", evidence="pending_call", confidence="strong",
        since_at=1.0, title=f"fix the parser, part {number}", cwd="/home/dev/project", branch="main",
        model="gpt-5.5", tokens=Tokens(1000, 500, 100, 10, 1100), context_used_tokens=1000,
        context_window_tokens=258400, pids=(4242,), last_activity_at=1.79e9,
        transcript="/home/dev/.codex/sessions/2026/11/21/rollout-2026-11-21T02-43-03.jsonl",
    )  # fmt: skip
    return {**msgspec.to_builtins(one), "since_at": since}


def write_emitter(root: Path, sessions: int, changing: int) -> str:
    """The emitter's command for a load. '@' stands for a number, then for times."""
    (root / "hello").write_bytes(msgspec.json.encode(Hello(schema=SCHEMA, now=time.time())) + b"\n")
    listed = [session(n, "@" if n == 0 else 1.79e9) for n in range(sessions)]
    line = json.dumps({"type": "snapshot", "seq": "@", "now": "@", "sessions": listed}, separators=(",", ":"))
    template = root / f"template-{sessions}-{changing}"
    template.write_text(line.replace('"@"', "@") + "\n")
    emit = root / f"emit-{sessions}-{changing}"
    emit.write_text(f"#!/bin/sh\nexec {root}/emitter {root}/hello {template} {INTERVAL_S} {changing}\n")
    emit.chmod(0o755)
    return str(emit)


@contextmanager
def daemon(fleet: SshFleet, emit: str) -> Iterator[Fleetd]:
    """A daemon on the client's processor, once all hosts are up."""
    tables = inventory.tables(
        fleet, agent_command=emit, interval_s=INTERVAL_S, timeouts={"auth_s": 120, "hello_s": 120}
    )
    tables["hosts"]["local"] = {"agent_command": emit, "interval_s": INTERVAL_S}
    pinned = ("taskset", "-c", str(CLIENT_CPU))
    with tempfile.TemporaryDirectory() as directory, Fleetd(Path(directory), tables, prefix=pinned) as running:
        until_up(running, len(fleet.hosts) + 1)
        time.sleep(2 * INTERVAL_S)
        yield running


def until_up(running: Fleetd, count: int, within_s: float = 300) -> float:
    """Seconds until so many hosts are up."""
    started_s = time.monotonic()
    while sum(host["link"] == "up" for host in running.json("/v1/hosts")["hosts"]) < count:
        if time.monotonic() - started_s > within_s:
            sys.exit(f"not all of {count} hosts are up:\n{running.log()[-2000:]}")
        time.sleep(0.2)
    return time.monotonic() - started_s


def cpu_s(pid: int) -> float:
    """CPU seconds of a process, to the nanosecond (psutil has hundredths)."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def bare(fleet: SshFleet, emit: str, window_s: float) -> float:
    """CPU seconds of bare asyncssh in a window."""
    login = [str(fleet.port), fleet.user, str(fleet.key), str(fleet.known_hosts)]
    argv = [
        sys.executable,
        str(BENCH / "bare_streams.py"),
        str(fleet.root / "addresses"),
        *login,
        emit,
        str(window_s),
    ]
    cost = measure.run(argv, cpu=CLIENT_CPU, timeout_s=600)
    if cost.status != 0:
        sys.exit(f"bare_streams: {cost.stderr.decode()[-1000:]}")
    return float(json.loads(cost.stdout)["cpu_s"])


def event_delays(running: Fleetd, for_s: float) -> list[float]:
    """Seconds from the time that a host wrote into its snapshot to the event that tells of it."""
    delays: list[float] = []
    lines = client.stream("/v1/events", {}, until_s=time.monotonic() + for_s, socket_path=running.socket)
    with suppress(TimeoutError):
        for event in parsed(lines):
            now = time.time()
            if event.type == "session":
                delays.append(now - _epoch(json.loads(event.data)["entry"]["since_at"]))
    return sorted(delays)


def _epoch(text: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(text).timestamp()


def run(count: int, window_s: float, one_rss: int) -> None:
    """Measure N hosts and print."""
    print(f"\n{count} hosts")
    with hosts(count) as fleet:
        shutil.copy(compiled(), fleet.root / "emitter")
        for name, (sessions, changing) in LOADS.items():
            emit = write_emitter(fleet.root, sessions, changing)
            floor_s = bare(fleet, emit, window_s)
            with daemon(fleet, emit) as running:
                before_s = cpu_s(running.process.pid)
                time.sleep(window_s)
                used_s = cpu_s(running.process.pid) - before_s
                rss = psutil.Process(running.process.pid).memory_info().rss
                lag_s = running.json("/v1/daemon")["loop_lag_p99_s"]
                us = 1e6 / (count * window_s / INTERVAL_S)
                print(f"  {name:7} CPU {used_s * us:6.0f} us a frame, bare {floor_s * us:6.0f}", end=" ")
                print(
                    f"({used_s / floor_s:.2f}), {used_s / window_s:.1%} of a core; RSS {rss >> 20} MiB,",
                    end=" ",
                )
                print(f"{(rss - one_rss) / count / 1024:.0f} KiB a host; lag p99 {lag_s * 1e3:.1f} ms")
                if changing:
                    delays = event_delays(running, window_s)
                    p99 = delays[int(len(delays) * 0.99)] if delays else 0
                    print(
                        f"          event p50 {statistics.median(delays) * 1e3:.1f} ms, p99 {p99 * 1e3:.1f} ms"
                    )
                else:
                    fresh(running, count)
                    print(f"          status --json: {status_ratio(running):.1f} x python -c pass")
                    fleet.drop()
                    time.sleep(0.5)
                    print(f"          storm: all back after {until_up(running, count + 1):.1f} s")


def fresh(running: Fleetd, count: int) -> None:
    """All agents asked anew, three times; the quickest."""
    walls, cpus = [], []
    for _ in range(3):
        before_s, started_s = cpu_s(running.process.pid), time.perf_counter()
        answer = running.json("/v1/refresh?timeout_s=30", method="POST")
        walls.append(time.perf_counter() - started_s)
        cpus.append(cpu_s(running.process.pid) - before_s)
        if len(answer["answered"]) < count:
            print(f"          {len(answer['silent'])} did not answer")
    print(f"          fresh: {min(walls):.3f} s, {min(cpus) / count * 1e3:.3f} ms of CPU a host")


def status_ratio(running: Fleetd) -> float:
    """CPU of `fleet status --json` through the daemon, to that of `python -c pass`."""
    environ = os.environ | {"FLEET_RUNTIME_DIR": str(running.runtime)}
    floor = [measure.run([sys.executable, "-c", "pass"], cpu=CLIENT_CPU).cpu_s for _ in range(9)]
    asked = [
        measure.run([sys.executable, "-m", "fleet", "status", "--json"], cpu=SERVER_CPU, env=environ).cpu_s
        for _ in range(9)
    ]
    return statistics.median(asked) / statistics.median(floor)


def compiled() -> Path:
    """The emitter, compiled."""
    into = Path(tempfile.gettempdir()) / f"fleet-bench-emitter-{os.getpid()}"
    if not into.exists():
        subprocess.run(["cc", "-O2", "-o", into, BENCH / "emitter.c"], check=True)
    return into


def rss_of_one() -> int:
    """RSS of a daemon that follows one host over SSH: what does not grow with the hosts."""
    with hosts(1) as fleet:
        shutil.copy(compiled(), fleet.root / "emitter")
        with daemon(fleet, write_emitter(fleet.root, 3, 0)) as running:
            return int(psutil.Process(running.process.pid).memory_info().rss)


def simulate(count: int = 10_000, sessions: int = 3) -> None:
    """The model alone: updates in batches of 100, as they would be published, and one whole reading."""
    hello = Hello(schema=SCHEMA)
    listed = tuple(msgspec.convert(session(n, 1.79e9), Session) for n in range(sessions))
    names = [f"h{n:05}" for n in range(count)]
    fleet = model.apply(
        model.empty(names),
        *(HostRead(n, Reading(hello, Snapshot(1, 1.79e9, listed), 1.79e9, 0.0, 0.1)) for n in names),
    )
    changed = (msgspec.structs.replace(listed[0], state="idle", detail="turn_done"), *listed[1:])
    update = Reading(hello, Snapshot(2, 1.79e9, changed), 1.79e9, 0.0, 0.1)
    batch = [HostRead(name, update) for name in names[:100]]
    updates = []
    for _ in range(20):
        started_s = time.perf_counter()
        after = model.apply(fleet, *batch)
        told = list(notices(changes(fleet, after, {e.host for e in batch}), 1.79e9, 0.0))
        updates.append((time.perf_counter() - started_s) / len(batch))
        assert len(told) == len(batch)
    started_s = time.perf_counter()
    body = encode(document(fleet, 1.79e9, 0.0), indent=False)
    read_s = time.perf_counter() - started_s
    print(f"\n{count} hosts, {count * sessions} sessions, no SSH:")
    print(f"  {min(updates) * 1e6:.0f} us an update that changes a session")
    us = read_s / count / sessions * 1e6
    print(f"  one reading {read_s:.2f} s, {us:.0f} us a session, {len(body) >> 20} MiB")


def main() -> None:
    """Parse the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("counts", nargs="*", type=int, default=[100, 500, 1000], metavar="N")
    parser.add_argument("--window", type=float, default=20.0)
    arguments = parser.parse_args()
    if len(os.sched_getaffinity(0)) < 2:
        sys.exit("bench/daemon.py needs two processors: one for the client, one for the servers")
    if shutil.which("cc") is None:
        sys.exit("bench/daemon.py needs a C compiler (cc) for its emitter")
    simulate()
    one_rss = rss_of_one()
    try:
        for count in arguments.counts:
            run(count, arguments.window, one_rss)
    finally:
        compiled().unlink(missing_ok=True)


if __name__ == "__main__":
    main()
