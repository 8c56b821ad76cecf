"""`--watch`: the same view again and again, over open streams to every host."""

import asyncio
from collections.abc import Callable, Sequence

from fleet import model
from fleet.collector import follow_fleet
from fleet.config import HostSpec
from fleet.model import Fleet, Link


async def watch(specs: Sequence[HostSpec], every_s: float, show: Callable[[Fleet], bool]) -> None:
    """Give the newest state to `show` every `every_s` seconds until it returns False.

    The first time is when every host has answered or failed, but no later than the others would be.
    """
    latest = model.empty(spec.name for spec in specs)
    answered = asyncio.Event()

    def on_change(fleet: Fleet) -> None:
        nonlocal latest
        latest = fleet
        if all(host.link is not Link.PENDING for host in fleet.hosts.values()):
            answered.set()

    async with asyncio.TaskGroup() as tasks:
        following = tasks.create_task(follow_fleet(specs, every_s, on_change))
        try:
            async with asyncio.timeout(every_s):
                await answered.wait()
        except TimeoutError:
            pass
        while show(latest):  # noqa: ASYNC110 - by the clock: ages grow even when nothing changes
            await asyncio.sleep(every_s)
        following.cancel()
