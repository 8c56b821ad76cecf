"""How a host's agent is reached: over SSH, or as a subprocess for this machine. The same frames either way.

    channel.py      frames of one running agent, whatever carries its bytes
    agent.py        those of an agent that only reads
    control.py      requests to a control agent, and its replies
    inbox.py        open connections, read together
    deadlines.py    how long each phase may take
    local.py        the agent as a subprocess
    login.py        where and how to log in: hosts.toml over ssh_config
    ssh.py          hosts, logged in to, and what is done there    (asyncssh)
    connection.py   one connection, to the end of its login        (asyncssh)
    sockets.py      TCP: the address that answers, and whether it speaks
    commands.py     a command over a connection                    (asyncssh)
    starting.py     an agent over a connection                     (asyncssh)
    remote.py       short commands beside the agent                (asyncssh)
    shipping.py     puts the agent on a host that lacks it         (asyncssh)
    terminal.py     a program on a host in this very terminal      (asyncssh)
    hostkeys.py     which host keys a machine shows                (asyncssh)
    sshfp.py        which host keys DNS publishes for it           (dnspython)
    turns.py        so many logins at a time
    resolver.py     names -> addresses, in threads that nobody waits for
    jumps.py        shared connections to jump hosts               (asyncssh)
    credentials.py  keys and known_hosts, loaded once              (asyncssh)
    sshconfig.py    what `ssh -G` says about a host
    tokens.py       what ssh would make of the names of files that it leaves to us (pure)
    failures.py     what asyncssh raises -> HostFailure            (asyncssh)

asyncssh takes 0.2 s to import: nothing does so before the first host that needs SSH.
"""

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

from fleet.config import HostSpec
from fleet.transport.agent import AgentChannel
from fleet.transport.deadlines import Deadlines
from fleet.transport.inbox import Inbox

if TYPE_CHECKING:
    from fleet.transport.control import ControlChannel
    from fleet.transport.hostkeys import HostKeys
    from fleet.transport.remote import Remote
    from fleet.transport.ssh import Dialer


# A login costs 2-4 ms of CPU and eight round trips: enough at a time to fill a processor over a slow link, few
# enough that no host waits at its sshd longer than its own deadline, and that a machine which serves many hosts
# is not asked for all of them at once. clush, too, runs 64.
LOGINS_AT_ONCE = 64


class Transport:
    """Reaches hosts. One for a fan-out or a daemon: keys, known_hosts and jump connections are shared in it.

    `logins_at_once`: so many connections may be on their way from the TCP connection to the end of the login.
    `inbox`: reads the connections of agents that are listened to together.
    """

    def __init__(self, logins_at_once: int = LOGINS_AT_ONCE, inbox: Inbox | None = None) -> None:
        self._logins_at_once = logins_at_once
        self._inbox = inbox
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

    @asynccontextmanager
    async def control(self, spec: HostSpec, deadlines: Deadlines) -> AsyncIterator["ControlChannel"]:
        """The host's control agent, started, with its hello read. Its stdin ends on the way out.

        Whether the host may be controlled is not asked here. Raises `HostFailure`.
        """
        if spec.is_local:
            from fleet.transport import local

            opened = local.control(spec, deadlines)
        else:
            opened = (await self._ssh()).control(spec, deadlines)
        async with opened as channel:
            yield channel

    async def terminal(self, spec: HostSpec, command: str, deadlines: Deadlines) -> int:
        """Run a command on a host (not on this one) in this terminal: its exit status. Raises `HostFailure`."""
        return await (await self._ssh()).terminal(spec, command, deadlines)

    @asynccontextmanager
    async def remote(self, spec: HostSpec, deadlines: Deadlines) -> AsyncIterator["Remote"]:
        """A host, logged in to; not for this machine. Raises `HostFailure`."""
        async with (await self._ssh()).remote(spec, deadlines) as remote:
            yield remote

    async def host_keys(self, spec: HostSpec, deadlines: Deadlines) -> "HostKeys":
        """The host keys that a machine shows, and those that are known. Raises `HostFailure`."""
        dialer = await self._ssh()
        from fleet.transport.hostkeys import host_keys

        return await host_keys(dialer, spec, deadlines)

    async def install(self, spec: HostSpec, deadlines: Deadlines) -> str:
        """Put the agent on a host, not this machine: what it is made for. Raises `HostFailure`."""
        return await (await self._ssh()).install(spec, deadlines)

    async def uninstall(self, spec: HostSpec, deadlines: Deadlines) -> None:
        """Take away every agent that fleet has shipped to a host. Raises `HostFailure`."""
        await (await self._ssh()).uninstall(spec, deadlines)

    async def _ssh(self) -> "Dialer":
        if self._dialer is None:
            with _no_compiler():
                from fleet.transport.ssh import Dialer

            self._dialer = await self._closing.enter_async_context(Dialer(self._logins_at_once, self._inbox))
        return self._dialer


async def by_ssh(spec: HostSpec) -> dict[str, object]:
    """What ssh_config, or ssh's default, says for each key of hosts.toml that it has. Raises `HostFailure`."""
    with _no_compiler():
        from fleet.transport.login import login
    from fleet.transport.sshconfig import SshConfig

    to = login(spec, await SshConfig().options(spec, Deadlines(spec.timeouts)))
    return {
        "address": to.host,
        "user": to.user,
        "port": to.port,
        "identity": list(to.identities),
        "known_hosts": list(to.known_hosts),
        "jump": to.jump.name if to.jump else None,
    }


@contextmanager
def _no_compiler() -> Iterator[None]:
    """While asyncssh is imported: it looks for liboqs and libnettle, and ctypes does so by way of gcc and ld.

    That takes 30 ms of CPU and a temporary file wherever a compiler is installed. Without a PATH, ctypes asks
    the dynamic loader's own list (ldconfig, by its full path), which is where such a library would be.
    """
    path = os.environ.get("PATH")
    os.environ["PATH"] = os.devnull  # not "": that would be the current directory
    try:
        yield
    finally:
        if path is None:
            del os.environ["PATH"]
        else:
            os.environ["PATH"] = path
