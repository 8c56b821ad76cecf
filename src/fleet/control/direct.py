"""Hosts reached without a daemon, by logins of our own."""

from contextlib import AbstractAsyncContextManager

from fleet.config import HostSpec
from fleet.control.kept import Kept
from fleet.transport import Transport
from fleet.transport.control import ControlChannel
from fleet.transport.deadlines import Deadlines


class Direct(Kept):
    """A `Reach` with connections of its own, which stay until the end of the block."""

    def __init__(self) -> None:
        super().__init__()
        self._transport = Transport()
        self._closing.push_async_exit(self._transport)

    @property
    def asks_daemon(self) -> bool:
        """Never."""
        return False

    def _opened(self, spec: HostSpec) -> AbstractAsyncContextManager[ControlChannel]:
        return self._transport.control(spec, Deadlines(spec.timeouts))
