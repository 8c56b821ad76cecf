"""Puts the agent on hosts that lack it, over the connection that is there already."""

import asyncio
import math
import os
import time
from typing import Any

import asyncssh

from fleet import paths
from fleet.bootstrap import bundle, outcome, probe, wheels
from fleet.bootstrap.probe import Report, Target
from fleet.config import HostSpec
from fleet.errors import ErrorKind, HostFailure, Phase
from fleet.launch import remove_command, report_command, unpack_command
from fleet.text import clean_tail
from fleet.transport.channel import Channel
from fleet.transport.commands import Ran, give, start
from fleet.transport.deadlines import Deadlines
from fleet.transport.turns import Turn

UPLOADS_AT_ONCE = 8
UPLOAD_TURN_S = 20.0  # then another host begins, too: a slow one delays nobody
LONGEST_S = 600.0  # of any command, also of one that goes on printing
TRY_AGAIN_S = 60.0  # after a bundle could not be made
_MAX_OUTPUT_BYTES = 64 << 10
# What the installed agent of a host says that cannot find what it requires.
_LACKS_MODULES = (b"ModuleNotFoundError", b"ImportError")


class Shipper:
    """Ships the agent. One for a fan-out or a daemon: each bundle is made once, a few are sent at a time."""

    def __init__(self) -> None:
        self._uploads = asyncio.Semaphore(UPLOADS_AT_ONCE)
        self._archives: dict[Target, tuple[float, asyncio.Task[bytes]]] = {}

    def close(self) -> None:
        """End what is being made."""
        for _, task in self._archives.values():
            task.cancel()

    @staticmethod
    def bundle_for(spec: HostSpec) -> str | None:
        """The name of the agent that fleet would ship to this host; None if it would not."""
        return None if spec.agent_command or spec.install == "never" else bundle.key()

    def would_mend(self, spec: HostSpec, failure: HostFailure, channel: Channel[Any]) -> bool:
        """Whether an agent of ours would do where this one failed."""
        if self.bundle_for(spec) is None:
            return False
        if failure.error.kind is ErrorKind.AGENT_FAILED and channel.stream.hello is None:
            return any(word in channel.error_output for word in _LACKS_MODULES)
        return failure.error.kind in (ErrorKind.AGENT_MISSING, ErrorKind.SCHEMA)

    async def ship(
        self, connection: asyncssh.SSHClientConnection, failure: HostFailure, told: bytes, deadlines: Deadlines
    ) -> None:
        """Put the agent there. `told` is what its host said when `failure` showed that it is missing.

        Raises `HostFailure`: that `failure` if the host says nothing of its Pythons.
        """
        report = probe.parse(told) or await _report(connection, deadlines)
        if report is None:
            raise failure
        await self._put(connection, probe.target(report), deadlines)

    async def install(self, connection: asyncssh.SSHClientConnection, deadlines: Deadlines) -> str:
        """Put the agent there, whatever is there. The name of what it is made for. Raises `HostFailure`."""
        report = await _report(connection, deadlines)
        if report is None:
            raise HostFailure(
                ErrorKind.REFUSED,
                Phase.INSTALL,
                "its sshd runs no command of ours",
                "a restricted key cannot install: use another `identity`, or install fleet-agent there",
            )
        target = probe.target(report)
        await self._put(connection, target, deadlines)
        return target.name

    async def _put(
        self, connection: asyncssh.SSHClientConnection, target: Target, deadlines: Deadlines
    ) -> None:
        async with deadlines.within(Phase.INSTALL, math.inf, lambda: "the agent's wheels were not here"):
            archive = await asyncio.shield(self._archive(target))
        async with Turn(self._uploads, deadlines, Phase.INSTALL, "be sent an agent") as turn:
            turn.lapse_after(UPLOAD_TURN_S)
            program = bundle.program(f"{bundle.key()}-{target.name}", archive)
            command = unpack_command(target.command, len(program))
            ran = await run(connection, command, program + archive, deadlines)
        if (failed := outcome.failure(ran.status, ran.out, ran.err)) is not None:
            raise failed

    def _archive(self, target: Target) -> "asyncio.Task[bytes]":
        """The making of it, which all hosts of that kind wait for. One that failed is soon begun anew."""
        begun_s, task = self._archives.get(target, (0.0, None))
        if task is None or (_failed(task) and time.monotonic() - begun_s > TRY_AGAIN_S):
            task = asyncio.create_task(_make(target), name=f"bundle {target.name}")
            self._archives[target] = time.monotonic(), task
        return task


async def _make(target: Target) -> bytes:
    cache, beside = paths.cache_directory(os.environ), paths.wheels_directory(os.environ)
    collected = await wheels.collect(target, cache, beside)
    return await asyncio.to_thread(bundle.archive, collected)


def _failed(task: "asyncio.Task[bytes]") -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)


async def remove(connection: asyncssh.SSHClientConnection, deadlines: Deadlines) -> None:
    """Take away every agent that fleet has shipped there. Raises `HostFailure`."""
    ran = await run(connection, remove_command(), b"", deadlines)
    if ran.status != 0:
        said = clean_tail(ran.err, 300)
        raise HostFailure(
            ErrorKind.AGENT_FAILED,
            Phase.INSTALL,
            f"the shipped agents could not be removed (exit status {ran.status}): {said}",
            "remove ~/.cache/fleet/agent there by hand",
        )


async def _report(connection: asyncssh.SSHClientConnection, deadlines: Deadlines) -> Report | None:
    return probe.parse((await run(connection, report_command(), b"", deadlines)).err)


async def run(
    connection: asyncssh.SSHClientConnection, command: str, stdin: bytes, deadlines: Deadlines
) -> Ran:
    """Run a command to its end. Its time begins anew whenever it prints something. Raises `HostFailure`."""
    session = _Session()
    async with deadlines.phase(Phase.INSTALL, lambda: "a command was not begun there"):
        channel = await start(connection, lambda: session, command)
    try:
        give(channel, stdin)
        async with deadlines.within(Phase.INSTALL, LONGEST_S, lambda: "a command there did not end"):
            while not session.ended:
                session.moved.clear()
                async with deadlines.phase(Phase.INSTALL, lambda: "a command there took no more"):
                    await session.moved.wait()
    finally:
        channel.abort()
    if session.is_cut:
        message, hint = "the connection was lost", "the network may be down; fleet connects again"
        raise HostFailure(ErrorKind.DISCONNECTED, Phase.INSTALL, message, hint)
    return Ran(session.status, bytes(session.out), bytes(session.err))


class _Session(asyncssh.SSHClientSession[bytes]):
    """Keeps the end of what a command prints, and tells when there is more."""

    def __init__(self) -> None:
        self.out, self.err = bytearray(), bytearray()
        self.status: int | None = None
        self.moved = asyncio.Event()
        self.ended = self.is_cut = False

    def data_received(self, data: bytes, datatype: asyncssh.DataType) -> None:
        kept = self.err if datatype == asyncssh.EXTENDED_DATA_STDERR else self.out
        kept += data
        del kept[:-_MAX_OUTPUT_BYTES]
        self.moved.set()

    def exit_status_received(self, status: int) -> None:
        self.status = status

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended, self.is_cut = True, exc is not None
        self.moved.set()
