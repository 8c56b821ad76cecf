"""One control agent on each host that is asked, for all that is asked of it, whatever carries its bytes."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Self

from fleet.config import HostSpec
from fleet.errors import HostFailure
from fleet.transport.control import ControlChannel


class Kept(ABC):
    """A `Reach` whose channels stay until the end of the block. How one is opened, a subclass knows."""

    def __init__(self) -> None:
        self.has_failed = False  # to reach a host; or one that was reached is no more
        self._idle: dict[str, ControlChannel] = {}
        self._closing = AsyncExitStack()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._closing.aclose()

    @asynccontextmanager
    async def control(self, spec: HostSpec) -> AsyncIterator[ControlChannel]:
        """The host's control agent. Raises `HostFailure`."""
        channel = self._idle.pop(spec.name, None)
        try:
            if channel is None:
                channel = await self._closing.enter_async_context(self._opened(spec))
            yield channel
        except HostFailure:
            self.has_failed = True
            raise
        self._idle[spec.name] = channel  # all that was asked on it is answered

    @property
    @abstractmethod
    def asks_daemon(self) -> bool:
        """Whether the daemon is asked for what it knows, too."""

    @abstractmethod
    def _opened(self, spec: HostSpec) -> AbstractAsyncContextManager[ControlChannel]:
        """A channel to the host's control agent. Raises `HostFailure`."""
