"""One SSH connection, from a connected socket to the end of the login.

What makes asyncssh four times cheaper here than out of the box (docs/benchmarks.md): keys and known_hosts are
parsed once (`credentials`); its ssh_config parser is not used; AES-GCM comes first; the connection is made
without the thread hop of `asyncssh.connect`, which takes this one module below its public API; and TCP_QUICKACK
is set until the agent runs, because sshd's first answers wait for an ACK that Linux would delay by 40 ms.
"""

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import asyncssh

from fleet.errors import Phase
from fleet.transport import failures
from fleet.transport.deadlines import Deadlines
from fleet.transport.inbox import Inbox
from fleet.transport.login import DEFAULT_PORT, Login
from fleet.transport.sockets import acknowledge_now

# An order, not a restriction: asyncssh's ChaCha20 costs five times its AES-GCM.
_ENCRYPTION = (
    "aes128-gcm@openssh.com",
    "aes256-gcm@openssh.com",
    "aes256-ctr",
    "aes128-ctr",
    "chacha20-poly1305@openssh.com",
)

asyncssh.set_log_level("CRITICAL")  # what it would say of a host holds that host's own words, uncleaned


def base_options() -> asyncssh.SSHClientConnectionOptions:
    """What is the same for every connection. No ssh_config is read by it, and nothing can be forwarded."""
    return asyncssh.SSHClientConnectionOptions(
        config=None, known_hosts=b"", client_keys=None, agent_path=None, agent_forwarding=False,
        x11_forwarding=False, gss_host=None, preferred_auth=["publickey"], compression_algs=None,
        encryption_algs=list(_ENCRYPTION), connect_timeout=None, login_timeout=0, keepalive_interval=0,
        client_version="fleet", x509_trusted_certs=None, env=None, send_env=None, request_pty=False,
    )  # fmt: skip


class Client(asyncssh.SSHClient):
    """Remembers the host key that was not trusted, for the message; calls `lost` when its connection ends."""

    def __init__(self) -> None:
        self.presented: str | None = None
        self.offered = ""
        self.lost: Callable[[], None] | None = None

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncssh tells of the end, of one that was made."""
        if self.lost:
            self.lost()

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
            acknowledge_now(self.sock)

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


async def handshake(
    to: Login, options: Any, client: Client, deadlines: Deadlines, *,
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
