"""A real `fleet daemon`: a process with its own runtime directory and configuration, asked over its socket."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from socket import SHUT_RDWR
from typing import Any, Self

import psutil

from fleet import client
from fleet.cli.daemon_events import Event, parsed
from lab import LabError, procs
from lab.inventory import write
from lab.waiting import wait_until

START_WITHIN_S = 20.0
_FLEET = (sys.executable, "-m", "fleet")
Entry = dict[str, Any]


class Fleetd:
    """The daemon of one fleet, running while it is entered.

    root     a directory of its own for hosts.toml and the log
    tables   of hosts.toml, as `lab.inventory` makes them
    environ  variables beside this process's own
    prefix   a command that starts it: `("setpriv", ...)`
    """

    def __init__(
        self,
        root: Path,
        tables: dict[str, Any],
        *,
        environ: Mapping[str, str] | None = None,
        prefix: Sequence[str] = (),
    ) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self.config = write(root / "hosts.toml", tables)
        self.log_file = root / "daemon.log"
        self.runtime = Path(tempfile.mkdtemp(prefix="fleetd-"))  # a test's own path may be long for a socket
        self.socket = self.runtime / "fleet.sock"
        self.environ = os.environ | {"FLEET_RUNTIME_DIR": str(self.runtime), "PYTHONUNBUFFERED": "1"}
        self.environ |= environ or {}
        self._prefix = tuple(prefix)
        self._started: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *exc: object) -> None:
        if self._started is not None and self._started.poll() is None:
            self.stop()
        shutil.rmtree(self.runtime, ignore_errors=True)

    # --- life ---

    def start(self) -> Self:
        """Start it, or start it anew; returns once it answers."""
        command = [*self._prefix, *_FLEET, "daemon", "--config", str(self.config)]
        with self.log_file.open("ab") as log:
            self._started = subprocess.Popen(
                command, env=self.environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        wait_until(self._answers, "the daemon answers", timeout_s=START_WITHIN_S)
        return self

    def stop(self, within_s: float = 10.0) -> int:
        """SIGTERM; its exit code."""
        self.signal(signal.SIGTERM)
        return self.ended(within_s)

    def signal(self, number: int) -> None:
        """Signal it."""
        self.process.send_signal(number)

    def ended(self, within_s: float) -> int:
        """The exit code, negative for a signal. A daemon that does not end in time is killed, and an error."""
        try:
            return self.process.wait(within_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise LabError(f"the daemon had not ended after {within_s:g} s:\n{self.log()[-2000:]}") from None

    @property
    def process(self) -> "subprocess.Popen[bytes]":
        """The process that was started last."""
        assert self._started is not None
        return self._started

    def log(self) -> str:
        """What it has logged, of all its runs."""
        return self.log_file.read_text(errors="replace")

    def _answers(self) -> bool:
        if self.process.poll() is not None:
            raise LabError(f"the daemon ended with {self.process.returncode}:\n{self.log()[-2000:]}")
        try:
            return client.ask("/healthz", socket_path=self.socket).status == 200
        except client.NoDaemon:
            return False

    # --- what it says ---

    def ask(self, path: str, method: str = "GET") -> client.Answer:
        """One request, whatever the answer."""
        return client.ask(path, method=method, socket_path=self.socket)

    def json(self, path: str, method: str = "GET") -> Any:
        """One request and the decoded answer, which must be a good one."""
        answer = self.ask(path, method)
        if answer.status >= 400:
            raise LabError(f"{method} {path}: {answer.status} {answer.body!r}")
        return json.loads(answer.body)

    def hosts(self) -> dict[str, Entry]:
        """Name -> entry of each host."""
        return {entry["name"]: entry for entry in self.json("/v1/hosts")["hosts"]}

    def errors(self) -> dict[str, Entry]:
        """Name -> entry of each host's error."""
        return {entry["host"]: entry for entry in self.json("/v1/hosts")["host_errors"]}

    def until(self, holds: Callable[[dict[str, Entry]], bool], what: str, timeout_s: float) -> dict[str, Entry]:
        """The hosts, as soon as it is so."""

        def look() -> dict[str, Entry] | None:
            hosts = self.hosts()
            return hosts if holds(hosts) else None

        try:
            return wait_until(look, what, timeout_s=timeout_s)
        except LabError as error:
            hosts = "\n".join(f"{name}: {entry['link']}" for name, entry in self.hosts().items())
            raise LabError(f"{error}\n{hosts}\n{self.log()[-2000:]}") from None

    def until_link(self, link: str, *names: str, timeout_s: float = 30.0) -> dict[str, Entry]:
        """The hosts, as soon as these (all, if none named) have this link."""
        return self.until(
            lambda hosts: all(hosts[name]["link"] == link for name in names or hosts),
            f"{', '.join(names) or 'all hosts'}: {link}",
            timeout_s,
        )

    def run(self, *arguments: str, timeout_s: float = 30.0) -> "subprocess.CompletedProcess[str]":
        """A command of `fleet` beside it, with its runtime directory."""
        command = [*_FLEET, *arguments]
        return subprocess.run(command, env=self.environ, capture_output=True, text=True, timeout=timeout_s)

    # --- what it costs ---

    def rss_bytes(self) -> int:
        """Its resident memory."""
        return int(psutil.Process(self.process.pid).memory_info().rss)

    def fds(self) -> int:
        """How many files and sockets it has open."""
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def threads(self) -> int:
        """How many threads it has."""
        return len(os.listdir(f"/proc/{self.process.pid}/task"))

    def children(self) -> list[procs.Process]:
        """The processes that it started."""
        return procs.family([self.process.pid])

    # --- what it tells ---

    @contextmanager
    def events(self, after: str | None = None, query: str = "") -> Iterator["Listener"]:
        """A client that collects its events, from now on or after that id."""
        listener = Listener(self.socket, after, query)
        try:
            yield listener
        finally:
            listener.close()


class Listener:
    """Collects events until the daemon ends, or it is closed."""

    def __init__(self, socket: Path, after: str | None, query: str) -> None:
        self.events: list[Event] = []
        self._open = ExitStack()
        self._socket = self._open.enter_context(client.connected(socket, None))
        headers = {"Last-Event-ID": after} if after else {}
        self._socket.sendall(client.request("GET", f"/v1/events{query}", headers))
        self._thread = threading.Thread(target=self._read, name="events", daemon=True)
        self._thread.start()
        wait_until(lambda: self.events, "the stream of events begins", timeout_s=10)

    def told(self, type_: str) -> list[Entry]:
        """What was told of this type, decoded, in the order in which it came."""
        return [json.loads(event.data) for event in self.events if event.type == type_]

    def seqs(self) -> list[int]:
        """The numbers of the events, in the order in which they came."""
        return [int(event.id.rpartition("-")[2]) for event in self.events]

    def ended(self, within_s: float) -> bool:
        """Whether the daemon ends the stream within this time."""
        self._thread.join(within_s)
        return not self._thread.is_alive()

    def close(self) -> None:
        """Listen no more."""
        with suppress(OSError):
            self._socket.shutdown(SHUT_RDWR)
        self._thread.join(5)
        self._open.close()

    def _read(self) -> None:
        with self._socket.makefile("rb") as lines, suppress(OSError):
            for line in lines:  # the head of the answer
                if line == b"\r\n":
                    break
            for event in parsed(lines):
                self.events.append(event)
