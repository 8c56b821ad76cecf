"""SSH hosts: one connection each, jump hosts shared, host keys always checked; and the agent over them."""

import asyncio
import copy
import ipaddress
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import asyncssh
from aiohappyeyeballs import AddrInfoType

from fleet.config import HostSpec
from fleet.errors import ErrorKind, HostFailure, Phase
from fleet.launch import control_arguments, remote_command
from fleet.transport import failures
from fleet.transport.agent import AgentChannel
from fleet.transport.connection import Client, Connection, base_options, handshake
from fleet.transport.credentials import Credentials, left_to_agent
from fleet.transport.deadlines import Deadlines
from fleet.transport.inbox import Inbox
from fleet.transport.jumps import KEEPALIVE_S, KEEPALIVES_LOST, Jumps
from fleet.transport.login import Login, login
from fleet.transport.remote import Remote
from fleet.transport.resolver import Resolver, resolve
from fleet.transport.shipping import Shipper, remove
from fleet.transport.sockets import connected, speaks
from fleet.transport.sshconfig import SshConfig
from fleet.transport.starting import begin
from fleet.transport.turns import Turn

if TYPE_CHECKING:
    from fleet.transport.control import ControlChannel

_SPEAKS_WITHIN_S = 0.5  # a server that does not must not hold a place in the gate


class Dialer:
    """Makes connections. Shares keys, known_hosts, jump connections and the gate for logins."""

    def __init__(self, logins_at_once: int, inbox: Inbox | None = None) -> None:
        self._inbox = inbox
        self._credentials = Credentials()
        self._ssh_config = SshConfig()
        self._resolver = Resolver()
        self._logins = asyncio.Semaphore(logins_at_once)
        self._jumps = Jumps(self.connect)
        self.shipper = Shipper()
        self._options = base_options()

    async def __aenter__(self) -> "Dialer":
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._jumps.close()
        self.shipper.close()

    @asynccontextmanager
    async def agent(
        self, spec: HostSpec, arguments: tuple[str, ...], deadlines: Deadlines
    ) -> AsyncIterator[AgentChannel]:
        """The host's agent, started, with its hello read; ended on the way out. Raises `HostFailure`."""
        connection = await self.connect(spec, deadlines)
        async with self.agent_over(connection, spec, arguments, deadlines) as channel:
            yield channel

    @asynccontextmanager
    async def agent_over(
        self, connection: Connection, spec: HostSpec, arguments: tuple[str, ...], deadlines: Deadlines
    ) -> AsyncIterator[AgentChannel]:
        """The same over a connection that is there; it is closed on the way out."""
        command = remote_command(spec, arguments, self.shipper.bundle_for(spec))
        channel = AgentChannel()
        try:
            try:
                await begin(connection, command, channel, deadlines)
            except HostFailure as failure:
                if not self.shipper.would_mend(spec, failure, channel):
                    raise
                if failure.error.kind is ErrorKind.SCHEMA:  # the channel has ended the connection
                    connection = await self.connect(spec, deadlines)
                await self.shipper.ship(connection, failure, channel.error_output, deadlines)
                channel = AgentChannel()
                await begin(connection, command, channel, deadlines)
            channel.control = partial(self.control_over, connection, spec)
            if self._inbox is not None:
                channel.together = partial(connection.join, self._inbox)
            yield channel
        finally:
            connection.close()

    @asynccontextmanager
    async def control(self, spec: HostSpec, deadlines: Deadlines) -> AsyncIterator["ControlChannel"]:
        """The host's control agent, with its hello read, over a connection of its own. Raises `HostFailure`."""
        connection = await self.connect(spec, deadlines)
        connection.set_keepalive(KEEPALIVE_S, KEEPALIVES_LOST)  # who follows a session waits without a deadline
        try:
            async with self.control_over(connection, spec, deadlines) as channel:
                yield channel
        finally:
            connection.close()

    @asynccontextmanager
    async def control_over(
        self, connection: Connection, spec: HostSpec, deadlines: Deadlines | None = None
    ) -> AsyncIterator["ControlChannel"]:
        """The same over a connection that is there, and that stays. The end of its stdin ends the agent."""
        from fleet.transport.control import ControlChannel  # what only reads need not pay for it

        deadlines = deadlines or Deadlines(spec.timeouts)
        command = remote_command(spec, control_arguments(), self.shipper.bundle_for(spec))
        channel = ControlChannel()
        try:
            try:
                await begin(connection, command, channel, deadlines, is_alone=False)
            except HostFailure as failure:
                if not self.shipper.would_mend(spec, failure, channel):
                    raise
                await self.shipper.ship(connection, failure, channel.error_output, deadlines)
                channel.stop()
                channel = ControlChannel()
                await begin(connection, command, channel, deadlines, is_alone=False)
            yield channel
        finally:
            channel.stop()

    async def terminal(self, spec: HostSpec, command: str, deadlines: Deadlines) -> int:
        """Run a command on the host in this terminal: its exit status. Raises `HostFailure`."""
        from fleet.transport import terminal

        connection = await self.connect(spec, deadlines)
        connection.set_keepalive(KEEPALIVE_S, KEEPALIVES_LOST)
        try:
            return await terminal.run(connection, command, deadlines)
        finally:
            connection.close()

    @asynccontextmanager
    async def remote(self, spec: HostSpec, deadlines: Deadlines) -> AsyncIterator[Remote]:
        """The host, logged in to; the connection is closed on the way out. Raises `HostFailure`."""
        connection = await self.connect(spec, deadlines)
        try:
            yield Remote(connection, spec, deadlines, self.shipper, self.agent_over)
        finally:
            connection.close()

    async def install(self, spec: HostSpec, deadlines: Deadlines) -> str:
        """Put the agent on the host, whatever is there: what it is made for. Raises `HostFailure`."""
        connection = await self.connect(spec, deadlines)
        try:
            return await self.shipper.install(connection, deadlines)
        finally:
            connection.close()

    async def uninstall(self, spec: HostSpec, deadlines: Deadlines) -> None:
        """Take away every agent that fleet has shipped to the host. Raises `HostFailure`."""
        connection = await self.connect(spec, deadlines)
        try:
            await remove(connection, deadlines)
        finally:
            connection.close()

    async def login(self, spec: HostSpec, deadlines: Deadlines) -> Login:
        """Where and how to log in to the host. Raises `HostFailure`."""
        return login(spec, await self._ssh_config.options(spec, deadlines))

    async def jump(self, to: Login, deadlines: Deadlines) -> asyncssh.SSHClientConnection | None:
        """The connection to go through, if there is a jump host. Raises `HostFailure`."""
        return (await self._jumps.to(to.jump, deadlines)).connection if to.jump else None

    async def connect(self, spec: HostSpec, deadlines: Deadlines) -> Connection:
        """A connection that is logged in, its host key checked. Raises `HostFailure`."""
        to = await self.login(spec, deadlines)
        client = Client()
        options = self._prepare(to, client)
        if to.jump is None:
            infos = await self._addresses(to, deadlines)
            async with Turn(self._logins, deadlines) as turn:
                turn.lapse_after(_SPEAKS_WITHIN_S)
                sock = await self._tcp(to, infos, deadlines)
                try:
                    if await speaks(sock, _SPEAKS_WITHIN_S):
                        turn.keep()
                    return await handshake(to, options, client, deadlines, sock=sock)
                except BaseException as exc:
                    sock.close()  # until a transport has taken it over, it is ours
                    if isinstance(exc, OSError):
                        offered = client.offered
                        raise failures.handshake(exc, to.where, f"{to.user}@{to.host}", offered) from None
                    raise
        jump = await self._jumps.to(to.jump, deadlines)
        jump.enter(client)
        client.lost = partial(jump.leave, client)
        try:
            async with Turn(jump.handshakes, deadlines):
                return await handshake(to, options, client, deadlines, through=jump.connection)
        except BaseException:
            jump.leave(client)
            raise

    def _prepare(self, to: Login, client: Client) -> asyncssh.SSHClientConnectionOptions:
        """The options of one connection: a copy of the common ones, with what differs filled in."""
        options: Any = copy.copy(self._options)
        options.host, options.port, options.username = to.host, to.port, to.user
        options.known_hosts = self._credentials.known_hosts(to.known_hosts)
        options.host_key_alias = to.host_key_alias
        keys = self._credentials.keys(
            to.identities,
            to.certificates,
            must_exist=to.named_identities,
            has_agent=to.agent_socket is not None,
        )
        options.client_keys = [
            copy.copy(key) for key in keys
        ]  # a key pair remembers its connection's algorithm
        allowed = left_to_agent(keys, to.identities, to.certificates) if to.identities_only else None
        if allowed is None or allowed:  # to asyncssh an empty list is no restriction
            options.agent_path, options.agent_identities = to.agent_socket, allowed
        client.offered = ", ".join(
            [*to.identities[: len(keys)], *(["ssh-agent"] if options.agent_path else [])]
        )
        options.protocol_factory = lambda: client
        options.waiter = asyncio.get_running_loop().create_future()
        return options  # type: ignore[no-any-return]

    async def _tcp(self, to: Login, infos: list[AddrInfoType], deadlines: Deadlines) -> socket.socket:
        """A connected socket, by the first of the host's addresses that answers."""
        async with deadlines.phase(Phase.CONNECT, lambda: f"{to.where} did not answer"):
            try:
                return await connected(infos)
            except OSError as exc:
                raise failures.connecting(to.where, exc) from None

    async def _addresses(self, to: Login, deadlines: Deadlines) -> list[AddrInfoType]:
        if _is_address(to.host):
            return resolve(to.host, to.port)
        async with deadlines.phase(Phase.DNS, lambda: f"{to.host} was not resolved"):
            try:
                return await self._resolver.addresses(to.host, to.port)
            except failures.RESOLVE_ERRORS as exc:
                raise failures.resolving(to.host, exc) from None


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
