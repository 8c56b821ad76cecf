"""Checks hosts, all at once: the reading that `fleet status` makes, and what a probe says beside it."""

import asyncio
import contextlib
import time
from collections.abc import Sequence

from fleet.checks import Check, Probe, failed, passed, probed
from fleet.collector import first_reading, host_error
from fleet.config import HostSpec
from fleet.errors import HostFailure
from fleet.launch import snapshot_arguments
from fleet.transport import Transport
from fleet.transport.deadlines import Deadlines


async def check_fleet(specs: Sequence[HostSpec], timeout_s: float | None = None) -> list[Check]:
    """The check of each host, in their order. Never raises for a host."""
    async with Transport() as transport:
        return list(await asyncio.gather(*(_Checking(transport, spec, timeout_s).run() for spec in specs)))


class _Checking:
    """One host. What the probe said is kept when what comes after it fails."""

    def __init__(self, transport: Transport, spec: HostSpec, timeout_s: float | None) -> None:
        self._transport, self._spec = transport, spec
        self._deadlines = Deadlines(spec.timeouts, timeout_s)
        self._started_s = time.monotonic()
        self._probe: Probe | None = None

    async def run(self) -> Check:
        try:
            return await (self._local() if self._spec.is_local else self._remote())
        except Exception as exc:
            error = host_error(self._spec, exc)
            return failed(self._spec.name, error, self._probe, is_local=self._spec.is_local)

    async def _local(self) -> Check:
        arguments = snapshot_arguments(self._spec)
        async with self._transport.agent(self._spec, arguments, self._deadlines) as channel:
            reading = await first_reading(channel, self._deadlines, self._started_s)
        return passed(self._spec.name, reading, None, is_local=True)

    async def _remote(self) -> Check:
        async with self._transport.remote(self._spec, self._deadlines) as remote:
            with contextlib.suppress(HostFailure):  # the agent, over the same connection, will say it better
                self._probe = probed((await remote.probe()).out)
            async with remote.agent(snapshot_arguments(self._spec)) as channel:
                reading = await first_reading(channel, self._deadlines, self._started_s)
        return passed(self._spec.name, reading, self._probe)
