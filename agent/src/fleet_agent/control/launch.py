"""How a supervisor comes to be: a process that outlives the SSH connection and whoever asked for the run.

`launch` starts `fleet-agent control-supervisor` with a `Job` on its stdin; `supervise` is that verb. Its stdout
tells `launch` about the start: a `Refused` if nothing could be started, and its end when there is something to
see in the store: the session has an id, the run has ended, or it takes too long.
"""

import asyncio
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

import msgspec

from fleet_agent.control import commands, supervisor
from fleet_agent.control.audit import Audit
from fleet_agent.control.driver import Driver, SpawnFailed
from fleet_agent.control.groups import Started
from fleet_agent.control.policy import BadPolicy
from fleet_agent.control.store import ID_VARIABLE, Entry, Facts, Store
from fleet_agent.control.wire import Refused, Start

VERB = "control-supervisor"
LAUNCH_S = supervisor.READY_S + 10.0  # for starting Python on a busy machine, too
MAX_REPORT_BYTES = 64 << 10


class Job(msgspec.Struct, frozen=True):
    """The run in `directory` of the store at `root`, as `start` says.

    `program`: the tool's, with its `release` where that is known.
    """

    root: str
    directory: str
    start: Start
    program: str
    release: str | None = None


def launch(job: Job, agent: Sequence[str], environ: Mapping[str, str]) -> Refused | None:
    """Start its supervisor, and wait until there is something to see of the run. `agent`: this very program."""
    process = subprocess.Popen(
        [*agent, VERB],
        env=_without_marks(environ),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process.stdout:
        with suppress(OSError), process.stdin:
            process.stdin.write(msgspec.json.encode(job))
        report = _read_to_end(process.stdout.fileno(), time.monotonic() + LAUNCH_S)
    try:
        code = process.wait(LAUNCH_S)
    except subprocess.TimeoutExpired:
        process.kill()
        return Refused("timeout", f"the run's supervisor did not start within {2 * LAUNCH_S:g} s")
    if code != 0:
        return Refused("internal", f"the run's supervisor did not start: exit status {code}")
    return msgspec.json.decode(report, type=Refused) if report else None


def supervise() -> int:
    """The verb: read the job, leave whoever started this, and stay with the run. The exit status."""
    job = msgspec.json.decode(sys.stdin.buffer.read(), type=Job)
    entry = Entry(job.directory)
    report = _Report(os.dup(1))
    watched = supervisor.Supervisor(entry, report.close)
    driver = _driver(job, entry.facts(), watched.spawned)
    if isinstance(driver, Refused):
        Store(job.root).delete(entry)
        report.refuse(driver)
        return 0
    if os.fork():
        return 0
    _leave()
    try:
        asyncio.run(watched.supervise(driver))
    except SpawnFailed as exc:
        if report.wanted:
            Store(job.root).delete(entry)
            report.refuse(Refused("tool_failed", exc.message, exc.hint))
        else:
            watched.give_up(exc)
    report.close()
    return 0


def _driver(job: Job, facts: Facts, spawned: Callable[[Started], None]) -> Driver | Refused:
    build = _app_server_driver if job.start.mode == "app-server" else _exec_driver
    try:
        return build(job, facts, spawned)
    except commands.NotPossible as exc:
        return exc.refused()
    except BadPolicy as exc:
        return Refused("not_possible", str(exc))


def _app_server_driver(job: Job, facts: Facts, spawned: Callable[[Started], None]) -> Driver:
    from fleet_agent.control.appserver.driver import driver

    environ = commands.environment(os.environ, commands.Command((job.program,), {}))
    audit = Audit(job.root, os.environ)
    return driver(job.start, job.program, job.release, environ, facts.marks, audit, spawned)


def _exec_driver(job: Job, facts: Facts, spawned: Callable[[Started], None]) -> Driver:
    from fleet_agent.control.exec import ExecDriver, parser

    command = commands.exec_command(job.start.tool, job.release, job.start, job.program)
    return ExecDriver(
        argv=command.argv,
        cwd=job.start.cwd or "/",
        environ={**commands.environment(os.environ, command), **facts.marks},
        prompt=command.stdin,
        parser=parser(job.start.tool),
        marks=facts.marks,
        spawned=spawned,
    )


def _leave() -> None:
    """Let go of all that belongs to the parent. Its session was left before; this is no leader of one."""
    os.chdir("/")
    nothing = os.open(os.devnull, os.O_RDWR)
    for fd in range(3):
        os.dup2(nothing, fd)
    os.close(nothing)
    # A function and not SIG_IGN: that would be handed on to the tool.
    signal.signal(signal.SIGHUP, lambda *_: None)


class _Report:
    """The parent's end of our stdout, until it has been told enough."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    @property
    def wanted(self) -> bool:
        """Whether the parent still waits to be told."""
        return self._fd >= 0 and not select.select([], [], [self._fd], 0)[2]

    def refuse(self, refused: Refused) -> None:
        with suppress(OSError):  # it has gone just now
            os.write(self._fd, msgspec.json.encode(refused))
        self.close()

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1


def _without_marks(environ: Mapping[str, str]) -> dict[str, str]:
    """For a supervisor that is started from inside another run: it does not belong to that one."""
    return {k: v for k, v in environ.items() if k not in (commands.RUN_VARIABLE, ID_VARIABLE)}


def _read_to_end(fd: int, until_s: float) -> bytes:
    read = b""
    while len(read) < MAX_REPORT_BYTES:
        ready, _, _ = select.select([fd], [], [], max(0.0, until_s - time.monotonic()))
        block = os.read(fd, MAX_REPORT_BYTES) if ready else b""
        if not block:
            break
        read += block
    return read
