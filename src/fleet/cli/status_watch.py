"""`--watch`: the same view again and again, over open streams to every host."""

import asyncio
from collections.abc import Callable, Sequence

from fleet.config import HostSpec
from fleet.model import Fleet, Link
from fleet.streams import Streams


async def watch(specs: Sequence[HostSpec], every_s: float, show: Callable[[Fleet], bool]) -> None:
    """Give the newest state to `show` every `every_s` seconds until it returns False.

    The first time is when every host has answered or failed, but no later than the others would be.
    """
    async with Streams(every_s) as streams:
        streams.set_hosts(specs)
        try:
            async with asyncio.timeout(every_s):
                await _answered(streams)
        except TimeoutError:
            pass
        while show(streams.fleet):  # noqa: ASYNC110 - by the clock: ages grow even when nothing changes
            await asyncio.sleep(every_s)


async def _answered(streams: Streams) -> None:
    """Wait until every host has answered or failed."""
    while any(host.link is Link.PENDING for host in streams.fleet.hosts.values()):
        await streams.changed(streams.fleet.version)
