"""Connections to jump hosts: one for all the hosts behind it, made when the first of them needs it."""

import asyncio
import random
from collections.abc import Awaitable, Callable

import asyncssh

from fleet import backoff
from fleet.config import HostSpec, Timeouts
from fleet.errors import ErrorKind, HostFailure, Phase
from fleet.transport import failures
from fleet.transport.deadlines import Deadlines

# sshd's default MaxStartups (10:30:100) begins to drop logins at 10, and a jump host may be shared.
HANDSHAKES_PER_JUMP = 8
# Of a connection over which nothing comes. Without this, the hosts behind it would go on asking for tunnels
# through a connection whose other end is gone.
KEEPALIVE_S, KEEPALIVES_LOST = 10.0, 3
# How long one stays that nothing goes through: longer than the pauses of a host behind it that comes and goes.
# A jump host that was taken out of hosts.toml, or is reached in another way now, is left by then.
LINGER_S = 120.0


class Jump:
    """A connection that others are tunnelled through, open until `LINGER_S` after the last of them."""

    def __init__(self, connection: asyncssh.SSHClientConnection) -> None:
        self.connection = connection
        self.handshakes = asyncio.Semaphore(HANDSHAKES_PER_JUMP)
        self._users: set[object] = set()
        self._closing: asyncio.TimerHandle | None = None

    def enter(self, user: object) -> None:
        """Somebody begins to go through it."""
        self._users.add(user)
        if self._closing:
            self._closing.cancel()

    def leave(self, user: object) -> None:
        """That one has ended; may be said again."""
        self._users.discard(user)
        if not self._users:
            if self._closing:
                self._closing.cancel()
            self._closing = asyncio.get_running_loop().call_later(LINGER_S, self.connection.close)

    def close(self) -> None:
        """End it now."""
        if self._closing:
            self._closing.cancel()
        self.connection.close()


class Jumps:
    """The jump hosts of a fan-out. `connect` makes a connection to one, within deadlines."""

    def __init__(
        self, connect: Callable[[HostSpec, Deadlines], Awaitable[asyncssh.SSHClientConnection]]
    ) -> None:
        self._connect = connect
        self._attempts: dict[HostSpec, _Attempt] = {}

    async def to(self, spec: HostSpec, deadlines: Deadlines) -> Jump:
        """The shared connection. Raises `HostFailure`: a jump host's failure is that of each host behind it.

        A jump host that failed is left alone for the delay of its kind of error, however many hosts ask: each
        of them trying by itself would get the user locked out of it.
        """
        attempt = self._attempts.get(spec)
        if attempt is None or attempt.is_spent():
            attempt = _Attempt(self._open(spec), attempt.failures if attempt else 0)
            self._attempts[spec] = attempt
        try:
            waiting_s = _longest_s(spec.timeouts)
            async with deadlines.within(Phase.CONNECT, waiting_s, lambda: "it was not reached"):
                return await asyncio.shield(attempt.task)
        except HostFailure as failure:
            raise failures.through(spec.name, failure) from None

    async def _open(self, spec: HostSpec) -> Jump:
        connection = await self._connect(spec, Deadlines(spec.timeouts))
        connection.set_keepalive(KEEPALIVE_S, KEEPALIVES_LOST)
        return Jump(connection)

    def close(self) -> None:
        """End all connections, and the attempts that are under way."""
        for attempt in self._attempts.values():
            attempt.close()


class _Attempt:
    """One connection to a jump host, being made, made, or failed."""

    def __init__(self, opening: Awaitable[Jump], failures: int) -> None:
        self.task = asyncio.ensure_future(opening)
        self.task.add_done_callback(self._done)
        self.failures = failures
        self._retry_at = 0.0  # by the loop's clock

    def is_spent(self) -> bool:
        """Whether it is time for another."""
        if not self.task.done():
            return False
        if self.task.cancelled() or self.task.exception():
            return asyncio.get_running_loop().time() >= self._retry_at
        return self.task.result().connection.is_closed()

    def close(self) -> None:
        self.task.cancel()
        if self.task.done() and not self.task.cancelled() and not self.task.exception():
            self.task.result().close()

    def _done(self, task: asyncio.Future[Jump]) -> None:
        exc = None if task.cancelled() else task.exception()
        if exc is None:
            self.failures = 0
            return
        self.failures += 1
        kind = exc.error.kind if isinstance(exc, HostFailure) else ErrorKind.INTERNAL
        wait_s = backoff.delay_s(kind, self.failures, random.random())  # noqa: S311 - not a secret
        self._retry_at = asyncio.get_running_loop().time() + wait_s


def _longest_s(timeouts: Timeouts) -> float:
    """How long a connection to a jump host may take, with one more jump before it."""
    return 2 * (timeouts.dns_s + timeouts.connect_s + timeouts.auth_s)
