"""What one agent that only reads says, and the way to another beside it that acts."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING

from fleet.errors import Phase
from fleet.stream import FrameStream
from fleet.transport.channel import Channel
from fleet_agent.wire import Heartbeat, Snapshot

if TYPE_CHECKING:
    from fleet.transport.control import ControlChannel


class AgentChannel(Channel[Snapshot | Heartbeat]):
    """An agent that only reads. `control` opens a channel to another beside it, over the same connection."""

    AFTER_HELLO = Phase.SNAPSHOT

    def __init__(self) -> None:
        super().__init__(FrameStream())
        self.control: Callable[[], AbstractAsyncContextManager[ControlChannel]]

    async def snapshot(self) -> Snapshot:
        """The next whole snapshot."""
        while not isinstance(frame := await self.frame(), Snapshot):
            assert isinstance(frame, Heartbeat)
        self.phase = Phase.IDLE
        return frame
