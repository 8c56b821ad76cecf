"""fleet.transport.jumps: one connection to a jump host, and one attempt at a time."""

import asyncio
from typing import cast

import asyncssh
import pytest

from fleet import backoff
from fleet.config import HostSpec, Timeouts
from fleet.errors import ErrorKind, HostFailure, Phase
from fleet.transport import jumps as jumps_module
from fleet.transport.deadlines import Deadlines
from fleet.transport.jumps import Jumps

BASTION = HostSpec("bastion")


class Line:
    """Stands for a connection: only whether it is closed matters here."""

    closed = False

    def is_closed(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def set_keepalive(self, interval: float, count_max: int) -> None:
        """What comes of it is in tests/e2e/test_daemon_faults.py."""


class Bastion:
    """Counts the attempts; fails each with an error of this kind while there is one."""

    def __init__(self, fails: ErrorKind | None = None) -> None:
        self.attempts = 0
        self.fails = fails
        self.lines: list[Line] = []

    async def connect(self, _spec: HostSpec, _deadlines: Deadlines) -> asyncssh.SSHClientConnection:
        self.attempts += 1
        await asyncio.sleep(0.01)
        if self.fails:
            raise HostFailure(self.fails, Phase.AUTH, "denied", "look")
        self.lines.append(Line())
        return cast(asyncssh.SSHClientConnection, self.lines[-1])


async def ask(jumps: Jumps, times: int) -> list[object]:
    asked = (jumps.to(BASTION, Deadlines(Timeouts())) for _ in range(times))
    return await asyncio.gather(*asked, return_exceptions=True)


def test_many_hosts_share_one_connection() -> None:
    """However many ask at once, or later, there is one; a closed one is replaced."""
    bastion = Bastion()

    async def scene() -> None:
        jumps = Jumps(bastion.connect)
        assert len(set(map(id, await ask(jumps, 50)))) == 1
        await ask(jumps, 3)
        assert bastion.attempts == 1
        bastion.lines[0].close()
        await ask(jumps, 3)
        assert bastion.attempts == 2
        jumps.close()
        assert bastion.lines[1].closed

    asyncio.run(scene())


def test_a_jump_host_that_nobody_goes_through_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """A while after the last one has ended, not before; who comes in time keeps it."""
    monkeypatch.setattr(jumps_module, "LINGER_S", 0.1)
    bastion = Bastion()

    async def scene() -> None:
        jumps = Jumps(bastion.connect)
        jump = await jumps.to(BASTION, Deadlines(Timeouts()))
        jump.enter("one")
        jump.enter("other")
        jump.leave("one")
        jump.leave("one")  # a handshake that failed is told of twice
        await asyncio.sleep(0.2)
        assert not bastion.lines[0].closed
        jump.leave("other")
        await asyncio.sleep(0.05)
        jump.enter("third")
        await asyncio.sleep(0.2)
        assert not bastion.lines[0].closed
        jump.leave("third")
        await asyncio.sleep(0.2)
        assert bastion.lines[0].closed
        await ask(jumps, 3)
        assert bastion.attempts == 2
        jumps.close()

    asyncio.run(scene())


def test_a_jump_host_that_refused_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """200 hosts behind it cost one refused login until the delay of its kind has passed (PROMISES 14)."""
    bastion = Bastion(fails=ErrorKind.AUTH)
    delays: list[tuple[ErrorKind, int]] = []

    def delay_s(kind: ErrorKind, attempts: int, _random: float) -> float:
        delays.append((kind, attempts))
        return 0.2

    monkeypatch.setattr(backoff, "delay_s", delay_s)

    async def scene() -> None:
        jumps = Jumps(bastion.connect)
        first = await ask(jumps, 200)
        assert all(isinstance(failure, HostFailure) for failure in first)
        assert str(first[0]) == "auth (auth): jump host bastion: denied"
        await ask(jumps, 200)
        assert bastion.attempts == 1
        await asyncio.sleep(0.25)
        await ask(jumps, 200)
        assert bastion.attempts == 2
        bastion.fails = None
        await asyncio.sleep(0.25)
        assert not isinstance((await ask(jumps, 1))[0], Exception)

    asyncio.run(scene())
    assert delays == [(ErrorKind.AUTH, 1), (ErrorKind.AUTH, 2)]


def test_jump_hosts_that_lead_to_each_other_end() -> None:
    """A circle in ssh_config is a time-out, not a hang."""

    async def scene() -> object:
        deadlines = Deadlines(Timeouts(dns_s=0.1, connect_s=0.1, auth_s=0.1))
        hosts = {
            "a": HostSpec("a", timeouts=Timeouts(0.1, 0.1, 0.1)),
            "b": HostSpec("b", timeouts=Timeouts(0.1, 0.1, 0.1)),
        }
        jumps: Jumps

        async def circle(spec: HostSpec, inner: Deadlines) -> asyncssh.SSHClientConnection:
            return (await jumps.to(hosts["b" if spec.name == "a" else "a"], inner)).connection

        jumps = Jumps(circle)
        try:
            return await jumps.to(hosts["a"], deadlines)
        except HostFailure as failure:
            return failure
        finally:
            jumps.close()

    failure = asyncio.run(asyncio.wait_for(scene(), 10))
    assert isinstance(failure, HostFailure)
    assert failure.error.kind is ErrorKind.TIMEOUT
