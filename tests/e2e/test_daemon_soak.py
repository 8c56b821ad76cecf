"""The daemon for longer, with a fault every moment: at the end all is as it was at the beginning.

FLEET_SOAK_S (20), FLEET_SOAK_HOSTS (10) and FLEET_SOAK_SEED (1) say how long, over how many hosts, and which
faults; `make soak` takes half an hour and 100 hosts.
"""

import heapq
import os
import random
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from fleet import client
from fleet.journal import MAX_EVENTS
from lab import inventory, procs
from lab.emitters import restless, steady
from lab.fleetd import Fleetd
from lab.sshfleet import SshFleet
from lab.waiting import wait_until

pytestmark = pytest.mark.sshd

DURATION_S = float(os.environ.get("FLEET_SOAK_S", "20"))
HOSTS = int(os.environ.get("FLEET_SOAK_HOSTS", "10"))
SEED = int(os.environ.get("FLEET_SOAK_SEED", "1"))
WARM_UP_S = max(3.0, DURATION_S / 10)
STORMS = int(min(20.0, max(2.0, DURATION_S / 18)))  # memory levels off after a thousand reconnections or so
FAULTS_PER_S = 0.25 * HOSTS**0.5
MAX_GROWTH = 0.05
FILL = 400  # sessions that all change at each of the first readings, until the journal of events is full


class Cost(NamedTuple):
    """What the daemon takes while all hosts are up and nobody asks it anything."""

    rss_bytes: int
    fds: int
    threads: int
    children: int


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshFleet]:
    """A fifth of the hosts are behind links that can be cut; each has an sshd of its own."""
    links = max(1, HOSTS // 5)
    root = tmp_path_factory.mktemp("soak") / "fleet"
    with SshFleet(root, hosts=HOSTS - links, faults={"link": links}, per_sshd=1) as fleet:
        yield fleet


@pytest.mark.timeout(DURATION_S + 300)
def test_after_many_faults_nothing_is_lost_and_nothing_is_left(lab: SshFleet, tmp_path: Path) -> None:
    """Every host is up, memory is flat (< 5 %), no fd, thread, process or connection is left over."""
    tables = inventory.tables(lab, agent_command=str(steady(tmp_path / "steady")), interval_s=1)
    tables["hosts"]["local"] = {
        "agent_command": str(restless(tmp_path / "restless", FILL, MAX_EVENTS // FILL + 20))
    }
    with Fleetd(tmp_path / "daemon", tables) as daemon:
        wait_until(lambda: number_of_events(daemon) > MAX_EVENTS, "the journal is full", timeout_s=60)
        faults = Faults(lab, daemon, random.Random(SEED))
        faults.run(WARM_UP_S)
        for _ in range(STORMS):
            procs.end(procs.family(sshd.listener.pid for sshd in lab.sshds))
            before = settled(lab, daemon)
        faults.run(DURATION_S)
        after = settled(lab, daemon)
        print(f"\n{dict(faults.done)}\nbefore {before}\nafter  {after}\n{number_of_events(daemon)} events")
        assert after.rss_bytes < before.rss_bytes * (1 + MAX_GROWTH)
        assert after.fds <= before.fds
        assert after.threads <= max(before.threads, 12)  # asyncio.to_thread keeps a few
        assert after.children == before.children
        assert Counter(hosts_of_processes(lab)) == dict.fromkeys(lab.hosts, 1)
        assert lab.sessions() == dict.fromkeys(lab.hosts, 1)
        assert "Traceback" not in daemon.log()
        assert daemon.stop(within_s=5) == 0
    wait_until(lambda: not list(hosts_of_processes(lab)), "all agents end", timeout_s=3)


def number_of_events(daemon: Fleetd) -> int:
    return int(daemon.json("/v1/daemon")["event_id"].rpartition("-")[2])


def settled(lab: SshFleet, daemon: Fleetd) -> Cost:
    """What it costs once every host is up, with one connection and one agent each."""

    def look() -> bool:
        hosts = daemon.hosts()
        for name, host in hosts.items():
            if host["next_retry_at"]:
                daemon.ask(f"/v1/hosts/{name}/retry", "POST")
        is_up = all(host["link"] == "up" for host in hosts.values())  # maybe lost, which it will see soon
        return is_up and lab.sessions() == dict.fromkeys(lab.hosts, 1)

    wait_until(look, "every host is up, with one session", timeout_s=80)
    time.sleep(1)
    return Cost(daemon.rss_bytes(), daemon.fds(), daemon.threads(), len(daemon.children()))


def hosts_of_processes(lab: SshFleet) -> Iterator[str]:
    """The host of each process that runs on one."""
    for process in procs.carrying(SSHFLEET_ROOT=str(lab.root)):
        for variable in procs.environ(process.pid):
            name, _, value = variable.partition(b"=")
            if name == b"SSHFLEET_HOST":
                yield value.decode()


class Faults:
    """Makes trouble at random, each for a while, and mends it."""

    def __init__(self, lab: SshFleet, daemon: Fleetd, chance: random.Random) -> None:
        self._lab, self._daemon, self._chance = lab, daemon, chance
        self._links = [name for name, host in lab.hosts.items() if host.role == "link"]
        self._troubled: set[str] = set()
        self._mending: list[tuple[float, int, str, Callable[[str], object]]] = []
        self.done: Counter[str] = Counter()

    def run(self, duration_s: float) -> None:
        """Faults for so long, and all of them mended."""
        until = time.monotonic() + duration_s
        while time.monotonic() < until:
            self._begin()
            self._mend(time.monotonic())
            time.sleep(self._chance.expovariate(FAULTS_PER_S))
        self._mend(float("inf"))

    def _begin(self) -> None:
        fault = self._chance.choice(
            (self._kill, self._freeze, self._cut, self._drop, self._crash, self._reload, self._clients)
        )
        self.done[fault.__name__.strip("_")] += 1
        fault()

    def _mend(self, now_s: float) -> None:
        while self._mending and self._mending[0][0] <= now_s:
            _, _, name, mend = heapq.heappop(self._mending)
            mend(name)
            self._troubled.discard(name)

    def _for_a_while(self, trouble: Callable[[str], object], mend: Callable[[str], object], name: str) -> None:
        if name in self._troubled:
            return
        self._troubled.add(name)
        trouble(name)
        mend_at = time.monotonic() + self._chance.uniform(0.5, 10)
        heapq.heappush(self._mending, (mend_at, self.done.total(), name, mend))

    def _any(self) -> str:
        return self._chance.choice(list(self._lab.hosts))

    def _kill(self) -> None:
        self._for_a_while(self._lab.kill, self._lab.revive, self._any())

    def _freeze(self) -> None:
        self._for_a_while(self._lab.freeze, self._lab.thaw, self._any())

    def _cut(self) -> None:
        def cut(name: str) -> None:
            self._lab.link(name, cut=True)

        def heal(name: str) -> None:
            self._lab.link(name, cut=False)

        self._for_a_while(cut, heal, self._chance.choice(self._links))

    def _drop(self) -> None:
        """The connections of some hosts, which come back at once."""
        names = self._chance.sample(list(self._lab.hosts), max(1, len(self._lab.hosts) // 4))
        self._lab.drop(*(name for name in names if name not in self._troubled))

    def _crash(self) -> None:
        """An agent dies under its connection."""
        procs.end(self._lab.processes(self._any()))

    def _reload(self) -> None:
        self._daemon.signal(signal.SIGHUP)

    def _clients(self) -> None:
        """Some who come and go, one of them without reading a word."""
        with self._daemon.events(), deaf(self._daemon):
            for path in ("/v1/fleet", "/metrics", "/v1/hosts"):
                assert self._daemon.ask(path).status == 200
            assert self._daemon.ask("/v1/refresh?timeout_s=0.5", "POST").status == 200


@contextmanager
def deaf(daemon: Fleetd) -> Iterator[None]:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(daemon.socket))
        sock.sendall(client.request("GET", "/v1/events"))
        yield
