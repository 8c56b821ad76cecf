"""A session that is followed across connections that break: each event once, and none lost.

Events are numbered, for every reader alike, and standard error is counted in bytes: what was read last says
where to go on. Only what a session tells nobody but who listens at that moment has no number.
"""

import asyncio
import random
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from fleet.config import HostSpec
from fleet.control import verbs
from fleet.control.selectors import Candidate
from fleet.control.verbs import Reach
from fleet.errors import ErrorKind, HostError, HostFailure, Phase
from fleet_agent.control.events import ApprovalRequested, Asked, Event, Resolved
from fleet_agent.control.wire import Attach, Logs, Reply, Said, Stderr

FIRST_S, MOST_S = 0.5, 15.0  # between attempts; somebody is waiting
# What gets better only when a person has mended something.
_LASTING = frozenset(
    (
        ErrorKind.CONFIG,
        ErrorKind.HOST_KEY,
        ErrorKind.AUTH,
        ErrorKind.AGENT_MISSING,
        ErrorKind.BAD_OUTPUT,
        ErrorKind.SCHEMA,
        ErrorKind.INTERNAL,
    )
)
_OF_CONNECTIONS = (ErrorKind.REFUSED, ErrorKind.AGENT_FAILED)  # unless the agent cannot even say hello

Tell = Callable[[str], None]


class Log:
    """What a session says, and how far it was read. Pure. `since`: from the host's clock to a moment."""

    def __init__(
        self,
        session: Candidate,
        *,
        follow: bool = True,
        stderr: bool = False,
        since: Callable[[float], float] | None = None,
    ) -> None:
        self._target, self._by = session.target, verbs.asker()
        self._follow, self._stderr, self._since = follow, stderr, since
        self._began_at: float | None = None  # on the host's clock
        self._seq, self._end_bytes = 0, 0
        self._open: set[str] = set()  # requests that were read: who listens anew is told of them again

    def request(self, clock_at: float) -> Logs:
        """Asks for all that was not read yet; `clock_at` is what the host's clock shows."""
        began_at = self._begin(clock_at)
        return Logs(
            target=self._target, follow=self._follow, stderr=self._stderr, after_seq=self._seq,
            from_bytes=self._end_bytes, since_at=self._since(began_at) if self._since else None, by=self._by,
        )  # fmt: skip

    def attach(self, clock_at: float) -> Attach:
        """Takes part in it: from now on, and when it is asked for again, from where it was read to."""
        is_first = self._began_at is None
        began_at = self._begin(clock_at)
        since_at = None if is_first or self._seq else began_at
        return Attach(target=self._target, since_at=since_at, after_seq=self._seq, by=self._by)

    def takes(self, reply: Reply) -> bool:
        """Whether it was not read before; it is then."""
        match reply:
            case Stderr():
                self._end_bytes = reply.end_bytes
            case Said(seq=0, event=ApprovalRequested() | Asked() as asked) if asked.request_id in self._open:
                return False
            case Said(seq=seq) if 0 < seq <= self._seq:
                return False
            case Said():
                self._seq = max(self._seq, reply.seq)
                self._note(reply.event)
        return True

    def _note(self, event: Event) -> None:
        if isinstance(event, ApprovalRequested | Asked):
            self._open.add(event.request_id)
        elif isinstance(event, Resolved):
            self._open.discard(event.request_id)

    def _begin(self, clock_at: float) -> float:
        if self._began_at is None:
            self._began_at = clock_at
        return self._began_at


class Again:
    """Attempts to reach a host again to which a connection has broken. `tell`: tells the person who waits."""

    def __init__(self, host: str, tell: Tell) -> None:
        self._host, self._tell = host, tell
        self._has_begun = False
        self._attempts = 0

    def connected(self) -> None:
        """It is reached."""
        if self._attempts:
            self._tell(f"{self._host}: connected again")
        self._has_begun = True

    def heard(self) -> None:
        """It says something: what fails next has failed for the first time."""
        self._attempts = 0

    async def wait(self, failure: HostFailure) -> None:
        """Until the next attempt. Raises `failure` if there is none: it will not get better, or never was."""
        error = failure.error
        if not (self._has_begun and may_recover(error)):
            raise failure
        self._attempts += 1
        wait_s = delay_s(self._attempts, random.random())  # noqa: S311 - not a secret
        what = f"{self._host}: {error.kind} ({error.phase}): {error.message}"
        self._tell(f"{what}; trying again in {wait_s:.1f} s")
        await asyncio.sleep(wait_s)


def may_recover(error: HostError) -> bool:
    """Whether the same may work in a while, and nobody does anything about it."""
    if error.kind in _OF_CONNECTIONS:
        return error.phase is Phase.IDLE
    return error.kind not in _LASTING


def delay_s(attempts: int, chance: float) -> float:
    """Seconds before the next attempt, after so many in a row (1 is the first); `chance` is in [0, 1).

    >>> [delay_s(n, 0.0) for n in (1, 2, 3, 9)]
    [0.5, 1.0, 2.0, 15.0]
    """
    return min(MOST_S, FIRST_S * 2.0 ** min(attempts - 1, 16)) * (1 + chance / 2)


async def follow(reach: Reach, spec: HostSpec, log: Log, tell: Tell) -> AsyncGenerator[Reply, None]:
    """All that a session says and was not read before, to its end.

    Raises `HostFailure` for what will not get better, and `RequestRefused`.
    """
    again = Again(spec.name, tell)

    def request(clock_at: float) -> Logs:
        again.connected()
        return log.request(clock_at)

    is_over = False
    while not is_over:
        try:
            async with aclosing(verbs.follow(reach, spec, request)) as replies:
                async for reply in replies:
                    again.heard()
                    if log.takes(reply):
                        yield reply
            is_over = True
        except HostFailure as failure:
            await again.wait(failure)
