"""SshFleet: start the hosts, make trouble for them, and leave nothing behind."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Self

import msgspec

from lab import MARK, LabError, procs
from lab.procs import Process
from lab.sshfleet import config, faultd, files, machine
from lab.sshfleet.config import NOBODY, Host, Sshd, State
from lab.sshfleet.faults import FAULTS, By

OWN_SSHD_UP_TO = 64  # hosts; above that, 16 share one


class SshFleet:
    """A set of SSH hosts on loopback, running while it is entered. See the package's docstring.

    root          directory for everything it writes (created; must be new or an old fleet's)
    hosts         how many healthy hosts
    faults        {role: count}, see FAULTS
    net, port     first two octets of the addresses, and the SSH port of every host (`port + 1` is used behind
                  faultd); by default free ones are chosen, so that fleets do not meet
    per_sshd      hosts per sshd, 1..16 (default: 1 up to 64 hosts, 16 above)
    sshd_options  extra sshd_config lines, each instead of a built-in one of that keyword
    match         {host: sshd_config lines for that host alone}
    slow_s        delay of slow-banner, in seconds
    own_home      give every host its own $HOME (DIR/home/ALIAS)
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        hosts: int = 1,
        faults: Mapping[str, int] | None = None,
        net: str | None = None,
        port: int | None = None,
        per_sshd: int | None = None,
        sshd_options: Sequence[str] = (),
        match: Mapping[str, Sequence[str]] | None = None,
        slow_s: float = 5.0,
        own_home: bool = True,
    ) -> None:
        self.root = Path(root).absolute()
        if re.search(r"[\s\"'$%\\]", str(self.root)):
            raise LabError(f"{self.root}: sshd_config cannot hold this path; use a plainer one")
        if net is not None and not re.fullmatch(r"127\.\d{1,3}", net):
            raise LabError(f"net must be 127.x, not {net!r}")
        self._per_sshd = per_sshd or (1 if hosts <= OWN_SSHD_UP_TO else config.MAX_LISTEN)
        if not 1 <= self._per_sshd <= config.MAX_LISTEN:
            raise LabError(f"per_sshd must be 1..{config.MAX_LISTEN}")
        self._sshd_options = list(sshd_options)
        self._match = dict(match or {})
        planned, port = machine.free_place(hosts, dict(faults or {}), net, port)
        self._state = State(
            root=str(self.root),
            user=machine.account(),
            port=port,
            slow_s=slow_s,
            own_home=own_home,
            mark=os.environ.get(MARK, "-"),
            hosts=planned,
            sshds=config.plan_sshds(self.root, planned.values(), port, self._per_sshd),
        )
        self._pick(self._match)
        self._started: dict[int, subprocess.Popen[bytes]] = {}

    @classmethod
    def load(cls, root: str | os.PathLike[str]) -> Self:
        """The fleet that another process started under `root`."""
        fleet = cls(root, hosts=0)
        try:
            fleet._state = msgspec.json.decode(fleet._state_file.read_bytes(), type=State)
        except FileNotFoundError:
            raise LabError(f"{root}: no fleet here (no fleet.json)") from None
        return fleet

    # --- what it is ---

    @property
    def hosts(self) -> dict[str, Host]:
        """Name -> host, healthy ones first."""
        return self._state.hosts

    @property
    def sshds(self) -> list[Sshd]:
        """The sshds behind them."""
        return self._state.sshds

    @property
    def port(self) -> int:
        """The SSH port of every host."""
        return self._state.port

    @property
    def user(self) -> str:
        """The account to log in to: the one that runs this."""
        return self._state.user

    @property
    def key(self) -> Path:
        """The client's private key, accepted by all hosts but those with the role auth-failure."""
        return self.root / "id_ed25519"

    @property
    def known_hosts(self) -> Path:
        """One plain line per host; wrong only for hosts with the role wrong-host-key."""
        return self.root / "known_hosts"

    @property
    def ssh_config(self) -> Path:
        """A configuration for ssh, with one Host block per host."""
        return self.root / "ssh_config"

    def home(self, name: str) -> Path:
        """The $HOME of one host (put a .bashrc there, an agent, a rollout file)."""
        return self.root / "home" / self._pick([name])[0]

    def write_known_hosts(
        self,
        path: Path,
        *,
        unknown: Collection[str] = (),
        changed: Collection[str] = (),
        revoked: Collection[str] = (),
    ) -> Path:
        """A known_hosts file in which these hosts are missing, have another key, or are marked @revoked."""
        self._pick([*unknown, *changed, *revoked])
        other_key = files.public_key(self.root / "other_host_key")
        path.write_text(
            config.known_hosts(
                self._state, unknown=unknown, changed=changed, revoked=revoked, other_key=other_key
            )
        )
        return path

    # --- life ---

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def start(self, timeout_s: float = 60.0) -> Self:
        """Start every sshd and wait until all listen."""
        reason = machine.obstacle()
        if reason is not None:
            raise LabError(reason)
        if os.getuid() == 0:  # sshd insists on its chroot directory when it is root
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        if self._state_file.exists() and self._runs_elsewhere():
            raise LabError(f"{self.root}: a fleet is running here already")
        self._state.sshd_path = machine.sshd_path() or ""
        files.write(self._state, self._sshd_options, self._match)
        try:
            for sshd in self.sshds:
                self._start_sshd(sshd)
            self._start_faultd()
            self._save()
            self._wait_up(timeout_s, self.hosts)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """End every process of this fleet: listeners, sessions and their commands."""
        listeners = [sshd.listener for sshd in self.sshds if sshd.listener.alive()]
        sessions = procs.family(listener.pid for listener in listeners)
        procs.end([*listeners, *sessions, self._state.faultd])
        procs.end_carrying(SSHFLEET_ROOT=str(self.root))
        for pid in list(self._started):
            self._reap(pid)
        for sshd in self.sshds:
            sshd.listener = NOBODY
        self._state.faultd = NOBODY
        if self._state_file.exists():
            self._save()

    def running(self) -> int:
        """How many of its sshds run."""
        return sum(sshd.listener.alive() for sshd in self.sshds)

    # --- trouble ---

    def drop(self, *names: str) -> int:
        """Cut live sessions of these hosts (all, if none named); the hosts stay up. Returns how many."""
        return self._end_sessions(self._sessions(self._pick(names) or self.hosts))

    def kill(self, *names: str) -> None:
        """These hosts go away: listener, sessions and what these run. Each needs an sshd of its own."""
        for name in self._pick(names):
            sshd = self._own_sshd(name)
            sessions = self._sessions([name])
            procs.end([sshd.listener])
            self._reap(sshd.listener.pid)
            sshd.listener = NOBODY
            self._end_sessions(sessions)
            procs.end_carrying(SSHFLEET_ROOT=str(self.root), SSHFLEET_HOST=name)
        self._save()

    def revive(self, *names: str, timeout_s: float = 10.0) -> None:
        """These hosts come back."""
        for name in self._pick(names):
            sshd = self._own_sshd(name)
            if not sshd.listener.alive():
                self._start_sshd(sshd)
        self._save()
        self._wait_up(timeout_s, names)

    def freeze(self, *names: str) -> None:
        """Stop the host's processes: TCP stays up, nobody answers."""
        self._signal_hosts(names, signal.SIGSTOP)

    def thaw(self, *names: str) -> None:
        """Let them go on."""
        self._signal_hosts(names, signal.SIGCONT)

    def link(self, *names: str, delay_ms: float | None = None, cut: bool | None = None) -> None:
        """Set the one-way delay of a "link" host, or cut or heal it (bytes wait, nothing closes)."""
        for name in self._pick(names):
            if self.hosts[name].role != "link":
                raise LabError(f"{name} is not a link host")
            faultd.send_order(self.root, faultd.Order(name, delay_ms, cut))

    def sessions(self) -> dict[str, int]:
        """Name -> number of live connections, of the hosts that have any.

        Of hosts that share an sshd, only root can tell whose a connection is.
        """
        return {name: len(pids) for name, pids in self._sessions(self.hosts).items() if pids}

    def logins(self, name: str) -> int:
        """How many logins this host has let in so far. It needs an sshd of its own."""
        return Path(self._own_sshd(name).log).read_text(errors="replace").count("Accepted publickey")

    def processes(self, name: str) -> list[Process]:
        """Commands (agents, say) now on this host, also those without a session."""
        (name,) = self._pick([name])
        return procs.carrying(SSHFLEET_ROOT=str(self.root), SSHFLEET_HOST=name)

    # --- inside ---

    @property
    def _state_file(self) -> Path:
        return self.root / "fleet.json"

    def _runs_elsewhere(self) -> bool:
        with contextlib.suppress(msgspec.MsgspecError):  # an unreadable fleet.json is overwritten
            return type(self).load(self.root).running() > 0
        return False

    def _pick(self, names: Iterable[str]) -> list[str]:
        """The names, if there are such hosts."""
        for name in names:
            if name not in self.hosts:
                raise LabError(f"no host {name!r} in {self.root}")
        return list(names)

    def _own_sshd(self, name: str) -> Sshd:
        index = self.hosts[name].sshd
        if index is None:
            raise LabError(f"{name} ({self.hosts[name].role}) has no sshd behind it")
        if len(self.sshds[index].hosts) != 1:
            raise LabError(f"{name} shares an sshd: start the fleet with per_sshd=1")
        return self.sshds[index]

    def _sessions(self, names: Iterable[str]) -> dict[str, list[int]]:
        """Name -> pids of the processes, one a connection, that its sshd forked for its sessions."""
        found: dict[str, list[int]] = {name: [] for name in names}
        for sshd in self.sshds:
            ours = {self.hosts[name].address: name for name in sshd.hosts if name in found}
            for pid in procs.children(sshd.listener.pid) if ours else ():
                addresses = ours if len(sshd.hosts) == 1 else procs.local_addresses(pid) & ours.keys()
                for address in addresses:
                    found[ours[address]].append(pid)
        return found

    def _end_sessions(self, sessions: dict[str, list[int]]) -> int:
        pids = [pid for pids in sessions.values() for pid in pids]
        procs.end([*map(procs.process, pids), *procs.family(pids)])
        return len(pids)

    def _signal_hosts(self, names: Iterable[str], number: int) -> None:
        for name in self._pick(names):
            listener = self._own_sshd(name).listener
            for process in [*procs.family([listener.pid]), listener]:
                process.signal(number)

    def _start_sshd(self, sshd: Sshd) -> None:
        command = [self._state.sshd_path, "-D", "-e", "-f", sshd.config]
        sshd.listener = self._spawn(command, Path(sshd.log))

    def _start_faultd(self) -> None:
        played = [
            (host.name, host.address, host.role)
            for host in self.hosts.values()
            if host.role in FAULTS and FAULTS[host.role].by in (By.FAULTD, By.LINK)
        ]
        if played:
            plan = faultd.Plan(self.port, self._state.slow_s, played)
            (self.root / "faultd.json").write_bytes(msgspec.json.encode(plan))
            command = [sys.executable, "-m", "lab.sshfleet", "_faultd", str(self.root)]
            self._state.faultd = self._spawn(command, self._faultd_log)

    @property
    def _faultd_log(self) -> Path:
        return self.root / "log" / "faultd.log"

    def _spawn(self, command: list[str], log: Path) -> Process:
        environment = {
            "PATH": f"/usr/local/bin:/usr/bin:/bin:{machine.SBIN}",
            "PYTHONPATH": str(Path(__file__).parents[2]),  # where `lab` is
            MARK: self._state.mark,
        }
        with log.open("ab") as out:
            started = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd="/",
                env=environment,
                start_new_session=True,
            )
        self._started[started.pid] = started
        return procs.process(started.pid)

    def _reap(self, pid: int) -> None:
        started = self._started.pop(pid, None)
        if started is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                started.wait(5)

    def _wait_up(self, timeout_s: float, names: Iterable[str]) -> None:
        """Wait until every listener accepts; say which does not, and why."""
        until = time.monotonic() + timeout_s
        while self._state.faultd != NOBODY and not self._faultd_answers():
            _give_up_if("faultd", self._state.faultd, self._faultd_log, until)
        for host in (self.hosts[name] for name in names):
            if host.sshd is not None:
                sshd = self.sshds[host.sshd]
                while not machine.accepts(host.address, sshd.port):
                    _give_up_if(f"{host.name}: sshd", sshd.listener, Path(sshd.log), until)

    def _faultd_answers(self) -> bool:
        with contextlib.suppress(OSError):
            faultd.send_order(self.root, faultd.Order())
            return True
        return False

    def _save(self) -> None:
        temporary = self._state_file.with_suffix(".tmp")
        temporary.write_bytes(msgspec.json.format(msgspec.json.encode(self._state), indent=1))
        temporary.replace(self._state_file)


def _give_up_if(what: str, process: Process, log: Path, until: float) -> None:
    """Pause a little, or raise with the end of the log if the process died or the time is over."""
    if not process.alive() or time.monotonic() > until:
        raise LabError(f"{what} is not up:\n{log.read_text(errors='replace')[-500:]}")
    time.sleep(0.02)
