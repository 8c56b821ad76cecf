"""Hosts that die, hang, flood and lie, seen by the daemon over real sshd."""

import asyncio
import signal
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from fleet import collector
from fleet.model import Link
from fleet.streams import Streams
from lab import inventory, procs
from lab.emitters import script, steady
from lab.fleetd import Entry, Fleetd
from lab.sshfleet import SshFleet, install_agent
from lab.waiting import wait_until

pytestmark = pytest.mark.sshd

HOSTILE = Path(__file__).parents[1] / "data" / "hostile"
INTERVAL_S = 0.5


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Fleetd]]:
    """Starts a daemon over a lab whose hosts are steady emitters, but for those named: `host=script`."""
    daemons: list[Fleetd] = []

    def start_one(lab: SshFleet, bad: dict[str, Path] | None = None, **defaults: Any) -> Fleetd:
        given = {"agent_command": str(steady(tmp_path / "steady")), "interval_s": INTERVAL_S}
        tables = inventory.tables(lab, **given | defaults)
        for name, agent in (bad or {}).items():
            tables["hosts"].setdefault(name, {})["agent_command"] = str(agent)
        daemons.append(Fleetd(tmp_path / f"daemon{len(daemons)}", tables))
        return daemons[-1].start()

    yield start_one
    for daemon in daemons:
        daemon.__exit__()


def test_a_host_that_goes_away_is_stale_and_comes_back(
    ssh_fleet: Callable[..., SshFleet], start: Callable[..., Fleetd]
) -> None:
    """Its last rows stay, marked; attempts and the next one's time are shown; others stay fresh."""
    lab = ssh_fleet(hosts=3)
    daemon = start(lab)
    before = daemon.until_link("up")["h0001"]
    lab.kill("h0001")
    stale = daemon.until_link("stale", "h0001")
    assert (stale["h0001"]["session_count"], stale["h0001"]["attempts"] > 0) == (1, True)
    assert stale["h0001"]["next_retry_at"] > stale["h0001"]["since_at"] > before["since_at"]
    (row,) = daemon.json("/v1/fleet?host=h0001")["sessions"]
    assert (row["key"], row["stale"]) == ("h0001:h0001-1", True)
    failed = daemon.until(lambda hosts: hosts["h0001"]["attempts"] >= 2, "a second attempt fails", 15)["h0001"]
    assert failed["error_kind"] == "unreachable"
    assert failed["since_at"] == stale["h0001"]["since_at"]
    assert fresh(daemon, "h0002", "h0003")
    lab.revive("h0001")
    assert daemon.ask("/v1/hosts/h0001/retry", "POST").status == 202
    back = daemon.until_link("up", "h0001", timeout_s=5)["h0001"]
    assert (back["attempts"], back["next_retry_at"], back["error_kind"]) == (0, None, None)
    assert daemon.ask("/v1/hosts/h0001/retry", "POST").status == 409


def test_a_host_that_falls_silent_is_slow_then_stale_then_back(
    ssh_fleet: Callable[..., SshFleet], start: Callable[..., Fleetd]
) -> None:
    """A frozen machine and a cut link: no frame, no reset. Slow first, stale by the deadline, then back."""
    lab = ssh_fleet(hosts=2, faults={"link": 1})
    daemon = start(lab)
    daemon.until_link("up")
    with daemon.events() as listener:
        silent_s = time.monotonic()
        lab.freeze("h0001")
        lab.link("link1", cut=True)
        daemon.until_link("slow", "h0001", "link1", timeout_s=5)
        daemon.until_link("stale", "h0001", "link1", timeout_s=20)
        assert time.monotonic() - silent_s < 6.5 + 6  # a sweep, and a busy machine
        error = daemon.errors()["link1"]
        assert (error["kind"], error["phase"]) == ("timeout", "idle")
        assert error["message"] == "no frame came within 6.5 s"
        assert fresh(daemon, "h0002")
        lab.thaw("h0001")
        lab.link("link1", cut=False)
        daemon.until_link("up", "h0001", "link1", timeout_s=30)
        told = listener.told("host")
    for name in ("h0001", "link1"):
        seen = [notice["entry"]["link"] for notice in told if notice["host"] == name]
        assert seen[:2] == ["slow", "stale"]
        assert seen[-1] == "up"
    wait_until(lambda: lab.sessions() == {"h0001": 1, "h0002": 1, "link1": 1}, "one each", timeout_s=10)


def fresh(daemon: Fleetd, *names: str) -> bool:
    """Whether these were read lately."""
    hosts = daemon.hosts()
    return all(hosts[name]["link"] == "up" and hosts[name]["age_s"] < 2 * INTERVAL_S + 1 for name in names)


ENDLESS: dict[str, str] = {
    "flood": "exec tr '\\0' x </dev/zero",  # a line without an end
    "unknown": 'exec yes \'{"type":"novelty"}\'',
    "parts": 'exec yes \'{"type":"snapshot","seq":9,"now":1.0,"more":true}\'',
    "frames": 'exec yes \'{"type":"heartbeat","seq":2,"now":3}\'',
    "stderr": "yes Traceback >&2 & while heartbeat; do sleep 0.5; done",
    "drip": 'for ((;;)); do for c in \'{\' \'"\' t y p e; do printf "%s" "$c"; sleep 0.3; done; done',
}


def test_floods_drips_and_hostile_json_cost_little_and_delay_nobody(
    ssh_fleet: Callable[..., SshFleet], start: Callable[..., Fleetd], tmp_path: Path
) -> None:
    """Bounded memory, each its error, its last good rows kept; others stay fresh (PROMISES 1, 3, 5, 6)."""
    hostile = sorted(HOSTILE.glob("*.ndjson"))
    lab = ssh_fleet(hosts=2 + len(ENDLESS) + len(hostile))
    healthy, *names = lab.hosts
    second, *names = names
    good = 'snapshot "$(session idle good)"; sleep 1.5\n'
    bodies = {what: good + body for what, body in ENDLESS.items()}
    bodies |= {path.stem: f"{good}{said(path)}; sleep 60" for path in hostile}
    bad = dict(zip(names, bodies, strict=True))
    agents = {name: script(tmp_path / f"{what}.sh", bodies[what]) for name, what in bad.items()}
    daemon = start(lab, agents)
    daemon.until_link("up", healthy, second, timeout_s=20)
    before = daemon.rss_bytes()
    ages: list[float] = []
    expected = dict.fromkeys(bodies, "bad_output") | {"drip": "timeout"}
    del expected["truncated"]  # fails, one way or another
    seen: dict[str, set[str]] = {what: set() for what in bodies}

    def all_broken(hosts: dict[str, Entry]) -> bool:
        ages.append(max(hosts[name]["age_s"] for name in (healthy, second)))
        for name, error in daemon.errors().items():
            if name in bad:
                seen[bad[name]].add(error["kind"])
        return all(seen.values()) and all(kind in seen[what] for what, kind in expected.items())

    daemon.until(all_broken, "each has failed as it must", 40)
    time.sleep(1)
    assert all(entry["session_count"] == 1 for name, entry in daemon.hosts().items() if name in bad)
    assert daemon.rss_bytes() - before < 15 << 20
    assert max(ages) < 2 * INTERVAL_S + 2
    assert daemon.json("/v1/daemon")["loop_lag_s"] < 2


def said(path: Path) -> str:
    """Prints such a file: all of a bad hello, or what follows a good one, which was said already."""
    lines = path.read_bytes().count(b"\n")
    return f"tail -n +{min(2, lines)} {path}"


def test_who_asks_an_agent_that_has_just_died_gets_the_answers_of_the_others(
    ssh_fleet: Callable[..., SshFleet], tmp_path: Path
) -> None:
    """Its end is found while it is being asked: it does not answer, and nothing else goes wrong."""
    lab = ssh_fleet(hosts=2)
    specs = inventory.specs(lab, agent_command=str(steady(tmp_path / "steady")), interval_s=60)

    async def scene() -> None:
        async with asyncio.timeout(20), Streams() as streams:
            streams.set_hosts(specs)
            while any(host.link is not Link.UP for host in streams.fleet.hosts.values()):
                await streams.changed(streams.fleet.version)
            procs.end(lab.processes("h0001"))
            time.sleep(0.5)  # noqa: ASYNC251 - that of it reaches this machine, and the loop does not look
            assert await streams.refresh(lab.hosts, timeout_s=5) == {"h0002"}

    collector.run(scene())


def test_kill_9_of_the_daemon_leaves_nothing_on_any_host(
    ssh_fleet: Callable[..., SshFleet], start: Callable[..., Fleetd]
) -> None:
    """No remote process after 3 s, nor the local agent: real ones, and others (PROMISES 11)."""
    lab = ssh_fleet(hosts=6)
    real = install_agent(lab, "h0001", "h0002")
    daemon = start(lab, {"h0001": real[0], "h0002": real[1], "local": real[0]})
    daemon.until_link("up")
    remote = [process for name in lab.hosts for process in lab.processes(name)]
    assert len(remote) >= 6
    everything = [*remote, *daemon.children()]
    daemon.signal(signal.SIGKILL)
    daemon.ended(5)
    assert procs.wait_gone(everything, timeout_s=3) == []


def test_what_the_user_mends_outside_of_hosts_toml_counts(
    ssh_fleet: Callable[..., SshFleet], start: Callable[..., Fleetd], tmp_path: Path
) -> None:
    """Refused logins and keys wait a minute and more (PROMISES 14); a key file or known_hosts that is mended is
    read at the next attempt, and a reload begins one for what nothing else would."""
    lab = ssh_fleet(hosts=3, faults={"auth-failure": 1})
    known_hosts = lab.write_known_hosts(tmp_path / "known_hosts", unknown=["h0001"])
    daemon = start(lab, known_hosts=str(known_hosts))
    tables = inventory.tables(lab, known_hosts=str(known_hosts), agent_command=str(tmp_path / "steady"))
    tables["hosts"]["h0002"]["identity"] = str(tmp_path / "id_new")
    inventory.write(daemon.config, tables)
    daemon.json("/v1/reload", "POST")
    daemon.until_link("down", "h0001", "h0002", "auth-failure1")
    errors = daemon.errors()
    kinds = {name: error["kind"] for name, error in errors.items()}
    assert kinds == {"h0001": "host_key", "h0002": "config", "auth-failure1": "auth"}
    assert errors["h0002"]["next_retry_at"] is None
    for name in ("h0001", "auth-failure1"):
        waits = [datetime.fromisoformat(errors[name][key]) for key in ("since_at", "next_retry_at")]
        assert 60 <= (waits[1] - waits[0]).total_seconds() <= 90
    known_hosts.write_text(lab.known_hosts.read_text())
    (tmp_path / "id_new").write_bytes(lab.key.read_bytes())
    (tmp_path / "id_new").chmod(0o600)
    assert daemon.ask("/v1/hosts/h0001/retry", "POST").status == 202
    assert daemon.ask("/v1/reload", "POST").status == 200
    daemon.until_link("up", "h0001", "h0002", timeout_s=10)


def test_one_machine_under_two_names_counts_once(
    ssh_fleet: Callable[..., SshFleet], start: Callable[..., Fleetd], tmp_path: Path
) -> None:
    """Its sessions are listed under the first name that is up, also after that one failed (PROMISES 16)."""
    lab = ssh_fleet(hosts=2)
    body = steady(tmp_path / "x").read_text().replace("host=${SSHFLEET_HOST:-local}", "host=twin")
    twin = tmp_path / "twin"
    twin.write_text(body)
    twin.chmod(0o755)
    daemon = start(lab, {"h0001": twin, "h0002": twin})
    daemon.until_link("up")
    assert keys(daemon) == ["h0001:twin-1"]
    lab.kill("h0001")
    daemon.until_link("stale", "h0001")
    assert keys(daemon) == ["h0002:twin-1"]


def keys(daemon: Fleetd) -> list[str]:
    return [row["key"] for row in daemon.json("/v1/fleet?host=h000[1-2]")["sessions"]]
