"""The directory of runs: what fleet started here, what it printed, how it ended.

    $XDG_STATE_HOME/fleet-agent/runs/NAME/     ~/.local/state without it; directories 0700, files 0600
        run.json         the facts: `Facts`
        events.ndjson.*  what it said: `wire.Said` lines (rotation.py)
        stderr.log.*     what it wrote to its standard error output
        outcome.json     how it ended: `Ended`; absent while it runs
        control.sock     its supervisor's, where that path is short enough for a socket

Files are replaced whole, directories come and go by renaming: a reader sees a run whole or not at all.
"""

import contextlib
import hashlib
import os
import secrets
import shutil
import stat
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

import msgspec

from fleet_agent.control import rotation
from fleet_agent.control.commands import RUN_VARIABLE
from fleet_agent.control.groups import Started, members
from fleet_agent.control.names import memorable
from fleet_agent.control.wire import Run
from fleet_agent.files import read_small
from fleet_agent.machine import boot_id

ID_VARIABLE = "FLEET_RUN_ID"  # beside the name, which another run may have had before
LEFT_S = 3600.0  # nobody takes that long to make or to remove a run
START_S = 15.0  # how long a run may be without a supervisor that has given its pid
MAX_SOCKET_PATH_BYTES = 100  # sun_path has 104 bytes on macOS, 108 on Linux: unix(4), unix(7)
MAX_FILE_BYTES = 256 << 10
_NEW, _GONE = ".new-", ".gone-"  # no name of a run begins with a dot
_CREATE_TRIES = 100
_RUNTIME_BYTES = 40  # that leaves room for the name of a socket

T = TypeVar("T")


class Facts(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is known of a run, beside how it ended. `run` has no state: that is worked out from what lives.

    `mark`: what no other run has in the environment of all that it starts. `tool_pid`, `tool_ticks`: its tool's
    process. `socket`: where its supervisor listens. `boot_id`: pids and ticks mean something until the machine
    starts again. `prompt_digest`: of a terminal, what its first prompt is told by again (identity.py).
    """

    run: Run
    mark: str
    boot_id: str
    socket: str = ""
    tool_pid: int | None = None
    tool_ticks: int | None = None
    prompt_digest: str = ""

    @property
    def leader(self) -> Started | None:
        """The process of the tool, as it was started."""
        known = self.tool_pid is not None and self.tool_ticks is not None and self.boot_id == boot_id()
        return Started(self.tool_pid or 0, self.tool_ticks or 0) if known else None

    @property
    def supervisor(self) -> Started | None:
        """The process that stays with it (tmux: the program in the pane)."""
        run = self.run
        known = run.pid is not None and run.started_ticks is not None and self.boot_id == boot_id()
        return Started(run.pid or 0, run.started_ticks or 0) if known else None

    def processes(self) -> list[Started]:
        """All that belongs to it now, but for its supervisor.

        Of a terminal UI not by their marks: Codex's daemon has those of the first terminal that needed it.
        """
        return members(self.supervisor, {}) if self.run.mode == "tmux" else members(self.leader, self.marks)

    @property
    def marks(self) -> dict[str, str]:
        """What all its processes have in their environment."""
        return {RUN_VARIABLE: self.run.name, ID_VARIABLE: self.mark}


class Ended(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a run ended: outcome.json. Times are epoch seconds of this host."""

    ended_at: float
    exit_code: int | None = None
    signal: int | None = None


class NameTaken(Exception):
    """There is a run of that name."""


class Store:
    """The runs of this user. `root` holds `runs/` and what lies beside it; made when something is written."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.runs = os.path.join(root, "runs")

    def create(self, make: Callable[[str], Facts], name: str | None) -> "Entry":
        """A new run, of the name given or a memorable one. `make`: name -> its facts. Raises `NameTaken`.

        The name is this run's alone from the moment that its directory is there.
        """
        private_directory(self.root)
        private_directory(self.runs)
        for _ in range(1 if name else _CREATE_TRIES):
            chosen = name or memorable(set(self.names()))
            with contextlib.suppress(FileExistsError):
                return self._create(chosen, make(chosen))
        raise NameTaken(name or "")

    def _create(self, name: str, facts: Facts) -> "Entry":
        temporary = os.path.join(self.runs, f"{_NEW}{secrets.token_hex(8)}")
        os.mkdir(temporary, 0o700)
        try:
            write_json(os.path.join(temporary, "run.json"), facts)
            entry = Entry(os.path.join(self.runs, name))
            _rename_new(temporary, entry.directory)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        return entry

    def names(self) -> list[str]:
        """The names of all runs."""
        try:
            return [name for name in os.listdir(self.runs) if not name.startswith(".")]
        except FileNotFoundError:
            return []

    def entry(self, name: str) -> "Entry | None":
        """The run of this name."""
        entry = Entry(os.path.join(self.runs, name))
        return entry if os.path.isdir(entry.directory) else None

    def entries(self) -> list["Entry"]:
        """All runs, newest first."""
        found = [Entry(os.path.join(self.runs, name)) for name in self.names()]
        return sorted(found, key=lambda entry: (-entry.facts().run.created_at, entry.name))

    def delete(self, entry: "Entry") -> None:
        """Forget a run. Raises `FileNotFoundError` if somebody else just did."""
        gone = os.path.join(self.runs, f"{_GONE}{secrets.token_hex(8)}")
        socket = entry.facts().socket
        os.rename(entry.directory, gone)
        if socket:
            with contextlib.suppress(OSError):
                os.unlink(socket)
        shutil.rmtree(gone, ignore_errors=True)

    def sweep(self, now: float) -> None:
        """Remove what was left half made, or half removed, by somebody who was killed."""
        for name in os.listdir(self.runs) if os.path.isdir(self.runs) else ():
            path = os.path.join(self.runs, name)
            with contextlib.suppress(OSError):
                if name.startswith((_NEW, _GONE)) and os.lstat(path).st_mtime < now - LEFT_S:
                    shutil.rmtree(path)


class Entry:
    """One run in the store."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self.name = os.path.basename(directory)

    @property
    def events_path(self) -> str:
        """The log of what it said."""
        return os.path.join(self.directory, "events.ndjson")

    @property
    def stderr_path(self) -> str:
        """The log of its standard error output."""
        return os.path.join(self.directory, "stderr.log")

    def facts(self) -> Facts:
        """What is known of it. Of a run whose facts cannot be read, that it is there."""
        found = _read_json(os.path.join(self.directory, "run.json"), Facts)
        if found is not None and found.run.name == self.name:
            return found
        try:
            created_at = os.stat(self.directory).st_mtime
        except OSError:
            created_at = 0.0
        return Facts(Run(self.name, "unknown", "exec", "lost", created_at), mark="", boot_id="")

    def write_facts(self, facts: Facts) -> None:
        """Replace what is known of it."""
        write_json(os.path.join(self.directory, "run.json"), facts)

    def ended(self) -> Ended | None:
        """How it ended; None while it runs, and of a run whose end nobody saw."""
        return _read_json(os.path.join(self.directory, "outcome.json"), Ended)

    def write_ended(self, ended: Ended) -> None:
        """It has ended."""
        write_json(os.path.join(self.directory, "outcome.json"), ended)

    def run(self, now: float | None = None) -> Run:
        """The run as it is now, with its state and the sizes of its logs."""
        facts = self.facts()
        ended = self.ended()  # after the facts: it is written last
        state = state_of(facts, ended, time.time() if now is None else now)
        return msgspec.structs.replace(
            facts.run,
            state=state,
            ended_at=ended.ended_at if ended else None,
            exit_code=ended.exit_code if ended else None,
            signal=ended.signal if ended else None,
            out_bytes=rotation.total_bytes(self.events_path),
            err_bytes=rotation.total_bytes(self.stderr_path),
        )


def prompt_digest(prompt: str, mark: str) -> str:
    """What a prompt is told by again, and which says nothing of it. `mark`: of the run."""
    return hashlib.blake2b(prompt.strip().encode(), key=mark.encode(), digest_size=16).hexdigest()


def state_of(facts: Facts, ended: Ended | None, now: float) -> str:
    """running | exited | lost. A run that is just being started has no supervisor yet, and is no lost one."""
    if ended is not None:
        return "exited"
    if facts.supervisor is not None:
        return "running" if facts.supervisor.lives() else "lost"
    starting = facts.run.pid is None and 0 <= now - facts.run.created_at < START_S
    return "running" if starting and facts.boot_id == boot_id() else "lost"


def state_root(environ: Mapping[str, str]) -> str:
    """Where all this is kept. XDG_STATE_HOME counts if it is absolute (XDG Base Directory Specification)."""
    state = environ.get("XDG_STATE_HOME", "")
    if not os.path.isabs(state):
        state = os.path.join(environ.get("HOME") or os.path.expanduser("~"), ".local/state")
    return os.path.join(state, "fleet-agent")


def private_directory(path: str) -> None:
    """A directory of this user's alone, made if need be. Raises `OSError` if it is anybody else's."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, 0o700)
    found = os.lstat(path)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise PermissionError(f"{path} is not a directory of this user: remove it")
    if found.st_mode & 0o077:
        os.chmod(path, 0o700)


def write_json(path: str, value: msgspec.Struct) -> None:
    """Replace a file of this user's alone, whole, and on the disk when this returns."""
    temporary = f"{path}.{os.getpid()}"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with open(fd, "wb") as file:
            file.write(msgspec.json.encode(value))
            file.flush()
            os.fsync(fd)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _read_json(path: str, kind: type[T]) -> T | None:
    try:
        return msgspec.json.decode(read_small(path, MAX_FILE_BYTES), type=kind)
    except (OSError, ValueError, RecursionError):
        return None


def _rename_new(source: str, target: str) -> None:
    """Rename a directory to a name that nothing has. A target with something in it makes rename(2) fail."""
    try:
        os.rename(source, target)
    except OSError as exc:
        if os.path.lexists(target):
            raise FileExistsError(target) from exc
        raise


def socket_path(directory: str, environ: Mapping[str, str]) -> str:
    """Where the supervisor of the run in this directory listens: there, or in a short directory of ours."""
    path = os.path.join(directory, "control.sock")
    if len(os.fsencode(path)) <= MAX_SOCKET_PATH_BYTES:
        return path
    runtime = environ.get("XDG_RUNTIME_DIR", "")
    if not os.path.isdir(runtime) or not os.path.isabs(runtime) or len(os.fsencode(runtime)) > _RUNTIME_BYTES:
        runtime = "/tmp"  # noqa: S108 - what is made there is 0700, and refused if it is not this user's
    short = os.path.join(runtime, f"fleet-agent-{os.geteuid()}")
    private_directory(short)
    digest = hashlib.blake2b(os.fsencode(path), digest_size=16).hexdigest()
    return os.path.join(short, f"{digest}.sock")
