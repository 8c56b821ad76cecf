"""How a host's agent is reached: over SSH, or as a subprocess for this machine. The same frames either way.

    channel.py      frames of one running agent, whatever carries its bytes
    deadlines.py    how long each phase may take
    local.py        the agent as a subprocess
    login.py        where and how to log in: hosts.toml over ssh_config
    ssh.py          connections, and the agent over them           (asyncssh)
    jumps.py        shared connections to jump hosts               (asyncssh)
    credentials.py  keys and known_hosts, loaded once              (asyncssh)
    sshconfig.py    what `ssh -G` says about a host
    failures.py     what asyncssh raises -> HostFailure            (asyncssh)

asyncssh takes 0.2 s to import: nothing does so before the first host that needs SSH.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from fleet.config import HostSpec
from fleet.transport.channel import AgentChannel
from fleet.transport.deadlines import Deadlines

if TYPE_CHECKING:
    from fleet.transport.ssh import Dialer


class Transport:
    """Reaches hosts. One for a fan-out or a daemon: keys, known_hosts and jump connections are shared in it."""

    def __init__(self) -> None:
        self._dialer: Dialer | None = None
        self._closing = AsyncExitStack()

    async def __aenter__(self) -> "Transport":
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._closing.aclose()

    @asynccontextmanager
    async def agent(
        self, spec: HostSpec, arguments: tuple[str, ...], deadlines: Deadlines
    ) -> AsyncIterator[AgentChannel]:
        """The host's agent, started, with its hello read. Ends it, and its connection, on the way out.

        Raises `HostFailure`.
        """
        if spec.is_local:
            from fleet.transport import local

            opened = local.agent(spec, arguments, deadlines)
        else:
            opened = (await self._ssh()).agent(spec, arguments, deadlines)
        async with opened as channel:
            yield channel

    async def _ssh(self) -> "Dialer":
        if self._dialer is None:
            from fleet.transport.ssh import Dialer

            self._dialer = await self._closing.enter_async_context(Dialer())
        return self._dialer
