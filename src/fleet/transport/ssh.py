"""SSH connections: one per host, jump hosts shared, host keys always checked, nothing forwarded.

What makes asyncssh four times cheaper here than out of the box (docs/benchmarks.md): keys and known_hosts are
parsed once; its ssh_config parser is not used; AES-GCM comes first; the connection is made without the thread
hop of `asyncssh.connect`; and TCP_QUICKACK is set until the agent runs, because sshd's first answers wait for
an ACK that Linux would delay by 40 ms.
"""

import asyncio
import copy
import ipaddress
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import aiohappyeyeballs
import asyncssh
from aiohappyeyeballs import AddrInfoType

from fleet.config import HostSpec
from fleet.errors import ErrorKind, HostFailure, Phase
from fleet.launch import control_arguments, remote_command
from fleet.transport import failures
from fleet.transport.channel import AgentChannel, Channel
from fleet.transport.credentials import Credentials, left_to_agent
from fleet.transport.deadlines import Deadlines
from fleet.transport.inbox import Inbox
from fleet.transport.jumps import Jumps
from fleet.transport.login import DEFAULT_PORT, Login, login
from fleet.transport.remote import Remote
from fleet.transport.resolver import Resolver, resolve
from fleet.transport.shipping import Shipper, remove
from fleet.transport.sshconfig import SshConfig
from fleet.transport.turns import Turn

if TYPE_CHECKING:
    from fleet.transport.control import ControlChannel

WINDOW_BYTES = 256 << 10
_SPEAKS_WITHIN_S = 0.5
_HAPPY_EYEBALLS_S = 0.25  # RFC 8305, Connection Attempt Delay

# An order, not a restriction: asyncssh's ChaCha20 costs five times its AES-GCM.
_ENCRYPTION = (
    "aes128-gcm@openssh.com",
    "aes256-gcm@openssh.com",
    "aes256-ctr",
    "aes128-ctr",
    "chacha20-poly1305@openssh.com",
)

asyncssh.set_log_level("CRITICAL")  # what it would say of a host holds that host's own words, uncleaned


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
        self._options = _base_options()

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
        self, connection: "Connection", spec: HostSpec, arguments: tuple[str, ...], deadlines: Deadlines
    ) -> AsyncIterator[AgentChannel]:
        """The same over a connection that is there; it is closed on the way out."""
        command = remote_command(spec, arguments, self.shipper.bundle_for(spec))
        channel = AgentChannel()
        try:
            try:
                await _begin(connection, command, channel, deadlines)
            except HostFailure as failure:
                if not self.shipper.would_mend(spec, failure, channel):
                    raise
                if failure.error.kind is ErrorKind.SCHEMA:  # the channel has ended the connection
                    connection = await self.connect(spec, deadlines)
                await self.shipper.ship(connection, failure, channel.error_output, deadlines)
                channel = AgentChannel()
                await _begin(connection, command, channel, deadlines)
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
        try:
            async with self.control_over(connection, spec, deadlines) as channel:
                yield channel
        finally:
            connection.close()

    @asynccontextmanager
    async def control_over(
        self, connection: "Connection", spec: HostSpec, deadlines: Deadlines | None = None
    ) -> AsyncIterator["ControlChannel"]:
        """The same over a connection that is there, and that stays. The end of its stdin ends the agent."""
        from fleet.transport.control import ControlChannel  # what only reads need not pay for it

        deadlines = deadlines or Deadlines(spec.timeouts)
        command = remote_command(spec, control_arguments(), self.shipper.bundle_for(spec))
        channel = ControlChannel()
        try:
            try:
                await _begin(connection, command, channel, deadlines, is_alone=False)
            except HostFailure as failure:
                if not self.shipper.would_mend(spec, failure, channel):
                    raise
                await self.shipper.ship(connection, failure, channel.error_output, deadlines)
                channel.stop()
                channel = ControlChannel()
                await _begin(connection, command, channel, deadlines, is_alone=False)
            yield channel
        finally:
            channel.stop()

    async def terminal(self, spec: HostSpec, command: str, deadlines: Deadlines) -> int:
        """Run a command on the host in this terminal: its exit status. Raises `HostFailure`."""
        from fleet.transport import terminal

        connection = await self.connect(spec, deadlines)
        try:
            return await terminal.run(connection, command, deadlines)
        finally:
            connection.close()

    @asynccontextmanager
    async def remote(self, spec: HostSpec, deadlines: Deadlines) -> AsyncIterator[Remote]:
        """The host, logged in to; the connection is closed on the way out. Raises `HostFailure`."""
        connection = await self.connect(spec, deadlines)
        try:
            yield Remote(self, connection, spec, deadlines)
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

    async def connect(self, spec: HostSpec, deadlines: Deadlines) -> "Connection":
        """A connection that is logged in, its host key checked. Raises `HostFailure`."""
        to = await self.login(spec, deadlines)
        client = _Client()
        options = self._prepare(to, client)
        if to.jump is None:
            infos = await self._addresses(to, deadlines)
            async with Turn(self._logins, deadlines) as turn:
                turn.lapse_after(_SPEAKS_WITHIN_S)
                sock = await self._tcp(to, infos, deadlines)
                try:
                    if await _speaks(sock):
                        turn.keep()
                    return await _handshake(to, options, client, deadlines, sock=sock)
                except BaseException as exc:
                    sock.close()  # until a transport has taken it over, it is ours
                    if isinstance(exc, OSError):
                        offered = client.offered
                        raise failures.handshake(exc, to.where, f"{to.user}@{to.host}", offered) from None
                    raise
        jump = await self._jumps.to(to.jump, deadlines)
        async with Turn(jump.handshakes, deadlines):
            return await _handshake(to, options, client, deadlines, through=jump.connection)

    def _prepare(self, to: Login, client: "_Client") -> asyncssh.SSHClientConnectionOptions:
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
                if len(infos) == 1:
                    return await _connect(infos[0])
                return await aiohappyeyeballs.start_connection(
                    infos, happy_eyeballs_delay=_HAPPY_EYEBALLS_S, interleave=1
                )
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


class _Client(asyncssh.SSHClient):
    """Remembers the host key that was not trusted, for the message."""

    def __init__(self) -> None:
        self.presented: str | None = None
        self.offered = ""

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        """Asked only about a key that known_hosts does not hold: never trusted."""
        self.presented = f"{key.get_algorithm()} {key.get_fingerprint()}"
        return False


class Connection(asyncssh.SSHClientConnection):
    """Acknowledges at once until the agent runs: sshd's second packet after the login waits for our ACK."""

    sock: socket.socket | None = None  # where it is not tunnelled
    is_quick = False
    _inbox: Inbox | None = None

    def data_received(self, data: bytes, datatype: int | None = None) -> None:
        """asyncssh's own."""
        super().data_received(data, datatype)
        if self.is_quick and self.sock is not None:
            _acknowledge_now(self.sock)

    def join(self, inbox: Inbox) -> None:
        """Be read together with others from now on."""
        if self.sock is not None and self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()
            self._inbox = inbox
            inbox.join(self.sock, self)

    def connection_lost(self, exc: Exception | None = None) -> None:
        """asyncssh's own."""
        if self._inbox is not None and self.sock is not None:
            self._inbox.leave(self.sock)
            self._inbox = None
        super().connection_lost(exc)

    def log_sent_packet(self, *_: object) -> None:
        """Nothing: asyncssh words a message for each of 35 packets before it finds that nobody logs them."""

    def log_received_packet(self, *_: object) -> None:
        """Nothing, for the same reason."""


def _acknowledge_now(sock: socket.socket) -> None:
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)  # the kernel clears it again
    except (AttributeError, OSError):  # not Linux; or closed
        return


class _AgentSession(asyncssh.SSHClientSession[bytes]):
    """Hands what the remote agent does to its channel."""

    def __init__(self, channel: Channel[Any]) -> None:
        self._channel = channel
        self._end: tuple[int | None, str | None] = (None, None)

    def data_received(self, data: bytes, datatype: asyncssh.DataType) -> None:
        (self._channel.stderr if datatype == asyncssh.EXTENDED_DATA_STDERR else self._channel.stdout)(data)

    def exit_status_received(self, status: int) -> None:
        self._end = (status, None)

    def exit_signal_received(self, signal: str, core_dumped: bool, msg: str, lang: str) -> None:
        self._end = (None, signal)

    def connection_lost(self, exc: Exception | None) -> None:
        self._channel.ended(*self._end)


async def _begin(
    connection: Connection, command: str, channel: Channel[Any], deadlines: Deadlines, *, is_alone: bool = True
) -> None:
    """Start the agent and read its hello. Raises `HostFailure`.

    `is_alone`: nothing else uses the connection, so what ends the channel ends it too.
    """
    if is_alone:
        channel.stop = connection.abort
    async with deadlines.phase(Phase.HELLO, lambda: "the agent was started and said no hello"):
        ssh_channel = await _start(connection, command, channel)
        if not is_alone:
            channel.stop = ssh_channel.close
        await channel.hello()


async def _start(
    connection: Connection, command: str, channel: Channel[Any]
) -> asyncssh.SSHClientChannel[bytes]:
    """Run the command with no pty, no environment, nothing forwarded."""
    try:
        ssh_channel, _ = await connection.create_session(
            lambda: _AgentSession(channel), command, encoding=None, env=None, send_env=None,
            request_pty=False, x11_forwarding=False, window=WINDOW_BYTES,
        )  # fmt: skip
    except (asyncssh.Error, OSError) as exc:
        raise failures.channel(exc) from None
    finally:
        connection.is_quick = False
    channel.send = ssh_channel.write
    channel.pause, channel.resume = ssh_channel.pause_reading, ssh_channel.resume_reading
    return ssh_channel


async def _handshake(
    to: Login, options: Any, client: _Client, deadlines: Deadlines, *,
    sock: socket.socket | None = None, through: asyncssh.SSHClientConnection | None = None,
) -> Connection:  # fmt: skip
    """Version exchange, key exchange, host key, login: over a connected socket, or through a jump host.

    What `asyncssh.connect` does with ready-made options, less its thread hop.
    """
    loop = asyncio.get_running_loop()
    connection = Connection(loop, options, wait="auth")
    connection.sock, connection.is_quick = sock, True
    try:
        if through is not None:
            async with deadlines.phase(
                Phase.CONNECT, lambda: f"{to.where} did not answer through the jump host"
            ):
                await _tunnel(through, connection, to)
        else:
            await loop.create_connection(lambda: connection, sock=sock)
        async with deadlines.phase(Phase.AUTH, lambda: _not_done(connection)):
            await options.waiter
    except asyncssh.HostKeyNotVerifiable as exc:
        known = options.known_hosts.has(
            to.host_key_alias or to.host, None if to.port == DEFAULT_PORT else to.port
        )
        raise failures.host_key(to.where, to.known_as, client.presented, known=known, reason=str(exc)) from None
    except (asyncssh.Error, OSError) as exc:
        raise failures.handshake(exc, to.where, f"{to.user}@{to.host}", client.offered or "no key") from None
    finally:
        if not _succeeded(options.waiter):
            options.waiter.cancel()
            connection.abort()
    return connection


async def _tunnel(through: asyncssh.SSHClientConnection, connection: Connection, to: Login) -> None:
    try:
        await through.create_connection(lambda: connection, to.host, to.port)  # type: ignore[arg-type,return-value]
    except asyncssh.Error as exc:
        raise failures.tunnel(to.where, exc) from None


def _succeeded(waiter: "asyncio.Future[None]") -> bool:
    return waiter.done() and not waiter.cancelled() and waiter.exception() is None


def _not_done(connection: Connection) -> str:
    """How far a handshake came, for the message of a missed deadline."""
    if not connection.get_extra_info("server_version"):
        return "it accepted the connection and sent no SSH banner"
    if not connection.get_extra_info("send_cipher"):
        return "it sent an SSH banner and did not finish the key exchange"
    return "it exchanged keys and did not finish the login"


async def _connect(info: AddrInfoType) -> socket.socket:
    """A connection to one address. Raises `OSError`."""
    family, kind, protocol, _, address = info
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, address)
    except BaseException:
        sock.close()
        raise
    return sock


async def _speaks(sock: socket.socket) -> bool:
    """Whether the server says something soon. One that does not must not hold a place in the gate.

    Raises `OSError` when the connection is lost already.
    """
    loop = asyncio.get_running_loop()
    readable = loop.create_future()

    def heard() -> None:
        if not readable.done():
            readable.set_result(None)

    loop.add_reader(sock, heard)
    try:
        async with asyncio.timeout(_SPEAKS_WITHIN_S):
            await readable
    except TimeoutError:
        return False
    finally:
        loop.remove_reader(sock)
    if error := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
        raise OSError(error, os.strerror(error))  # uvloop would not give back a socket that is reset already
    return True


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _base_options() -> asyncssh.SSHClientConnectionOptions:
    """What is the same for every connection. No ssh_config is read by it, and nothing can be forwarded."""
    return asyncssh.SSHClientConnectionOptions(
        config=None, known_hosts=b"", client_keys=None, agent_path=None, agent_forwarding=False,
        x11_forwarding=False, gss_host=None, preferred_auth=["publickey"], compression_algs=None,
        encryption_algs=list(_ENCRYPTION), connect_timeout=None, login_timeout=0, keepalive_interval=0,
        client_version="fleet", x509_trusted_certs=None, env=None, send_env=None, request_pty=False,
    )  # fmt: skip
