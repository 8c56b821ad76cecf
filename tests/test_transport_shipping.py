"""fleet.transport.shipping: a command over a connection."""

import asyncio
from collections.abc import Callable
from typing import Any

from fleet.config import Timeouts
from fleet.transport import shipping
from fleet.transport.commands import Ran
from fleet.transport.deadlines import Deadlines


class EndedAtOnce:
    """A connection, and a channel of it, on which a command has ended before anything could be sent to it."""

    async def create_session(self, session: Callable[[], Any], *_: Any, **__: Any) -> tuple["EndedAtOnce", Any]:
        ran = session()
        ran.data_received(b"exec: not found", 1)
        ran.exit_status_received(127)
        ran.connection_lost(None)
        return self, ran

    def write(self, _: bytes) -> None:
        raise BrokenPipeError("Channel not open for sending")

    def abort(self) -> None:
        pass


def test_a_command_that_ended_before_it_was_given_its_input_says_how() -> None:
    """As that of a key that permits one command only: its status and what it said are what count."""

    async def ran() -> Ran:
        connection: Any = EndedAtOnce()
        return await shipping.run(connection, "sh -s", b"input", Deadlines(Timeouts()))

    assert asyncio.run(ran()) == Ran(127, b"", b"exec: not found")
