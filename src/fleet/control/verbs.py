"""The verbs: what is asked of which host, and what came of it. The command line and the API use the same.

A verb reaches a host now or fails now: nothing is queued. What one host does not do is that host's trouble,
never another's delay.
"""

import asyncio
import os
import pwd
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Protocol

import msgspec

from fleet.collector import host_error
from fleet.config import HostSpec
from fleet.errors import ErrorKind, HostError, HostFailure, Phase, RequestRefused, UsageError
from fleet.transport.control import ControlChannel
from fleet_agent.control.wire import (
    Answer,
    Approvals,
    Decide,
    Delete,
    Done,
    Interrupt,
    List,
    Pending,
    Prune,
    Reply,
    Request,
    Run,
    Send,
    Start,
    Stop,
)

ANSWER_S = 60.0  # for most verbs; a tool that has to be started first takes a while
START_S = 150.0  # Codex copies 440 MB before its first background server answers
STOP_MARGIN_S = 15.0  # beside the grace that a session is given
NOT_PERMITTED = "not_permitted"  # by hosts.toml: the one refusal that no host words

Action = Send | Interrupt | Decide | Answer | Approvals | Stop | Delete


class Reach(Protocol):
    """How hosts are reached: over a connection of its own (`Direct`), or over those that are open."""

    def control(self, spec: HostSpec) -> AbstractAsyncContextManager[ControlChannel]:
        """The host's control agent. Raises `HostFailure`."""


class Answered(msgspec.Struct, frozen=True):
    """What one host said to a request. Exactly one of `error` (not reached) and `refused`, or neither."""

    host: str
    replies: tuple[Reply, ...] = ()
    clock_at: float = 0.0  # what the host's clock showed
    error: HostError | None = None
    refused: RequestRefused | None = None

    @property
    def runs(self) -> tuple[Run, ...]:
        """The runs in it."""
        return tuple(reply for reply in self.replies if isinstance(reply, Run))

    @property
    def pending(self) -> tuple[Pending, ...]:
        """The open approvals and questions in it."""
        return tuple(reply for reply in self.replies if isinstance(reply, Pending))

    @property
    def message(self) -> str:
        """What was done, where that is not plain."""
        return next((reply.message for reply in self.replies if isinstance(reply, Done)), "")


def asker() -> str:
    """Who asks, for the audit of the host: `user@machine`."""
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        user = str(os.getuid())
    return f"{user}@{os.uname().nodename}"


def permitted(spec: HostSpec) -> HostSpec:
    """The same, if its sessions may be started, answered and stopped from here. Raises `RequestRefused`."""
    if not spec.control:
        raise RequestRefused(
            NOT_PERMITTED,
            f"fleet may only look at {spec.name}",
            f"`control = true` under [hosts.{spec.name}] in hosts.toml lets it start, answer and stop sessions",
        )
    return spec


async def start(reach: Reach, specs: Sequence[HostSpec], request: Start) -> tuple[Answered, ...]:
    """Start the same on every host, at the same time: each has its run, or its own trouble."""
    return await _everywhere(reach, specs, lambda _: request, START_S)


async def runs(reach: Reach, specs: Sequence[HostSpec], by: str) -> tuple[Answered, ...]:
    """What was started on these hosts, in each as much of a prompt as its `privacy` allows."""
    return await _everywhere(reach, specs, lambda spec: List(privacy=spec.privacy, by=by), ANSWER_S)


async def approvals(reach: Reach, specs: Sequence[HostSpec], by: str) -> tuple[Answered, ...]:
    """What is open on these hosts."""
    return await _everywhere(reach, specs, lambda _: Approvals(by=by), ANSWER_S)


async def prune(reach: Reach, specs: Sequence[HostSpec], request: Prune) -> tuple[Answered, ...]:
    """Have these hosts forget what has ended."""
    return await _everywhere(reach, specs, lambda _: request, ANSWER_S)


async def act(reach: Reach, spec: HostSpec, request: Action) -> Answered:
    """Ask one host for one thing. Raises `HostFailure` and `RequestRefused`."""
    limit_s = request.grace_s + STOP_MARGIN_S if isinstance(request, Stop) else ANSWER_S
    return await _ask(reach, spec, request, limit_s)


async def follow(
    reach: Reach, spec: HostSpec, request: Callable[[float], Request]
) -> AsyncGenerator[Reply, None]:
    """All replies to a request, as they come; it is made of the host's clock (epoch seconds).

    Raises `HostFailure` and `RequestRefused`.
    """
    async with reach.control(permitted(spec)) as channel, aclosing(_asked(channel, request)) as replies:
        async for reply in replies:
            yield reply


def newest_first(answers: Sequence[Answered]) -> list[tuple[str, Run]]:
    """Every run with its host."""
    found = [(answer.host, run) for answer in answers for run in answer.runs]
    return sorted(found, key=lambda pair: (-pair[1].created_at, pair[0], pair[1].name))


def oldest_first(answers: Sequence[Answered]) -> list[tuple[str, Pending]]:
    """Everything that is open, with its host; what has no time comes first, for it may be older than all."""
    found = [(answer.host, pending) for answer in answers for pending in answer.pending]
    return sorted(found, key=lambda pair: (pair[1].since_at or 0.0, pair[0], pair[1].session_id))


async def _everywhere(
    reach: Reach, specs: Sequence[HostSpec], request: Callable[[HostSpec], Request], limit_s: float
) -> tuple[Answered, ...]:
    return tuple(
        await asyncio.gather(*(_kept(spec, _ask(reach, spec, request(spec), limit_s)) for spec in specs))
    )


async def _kept(spec: HostSpec, asked: Awaitable[Answered]) -> Answered:
    """Its trouble as a part of the answer."""
    try:
        return await asked
    except RequestRefused as exc:
        return Answered(spec.name, refused=exc)
    except UsageError as exc:
        return Answered(spec.name, refused=RequestRefused("bad_request", str(exc)))
    except Exception as exc:
        return Answered(spec.name, error=host_error(spec, exc))


async def _ask(reach: Reach, spec: HostSpec, request: Request, limit_s: float) -> Answered:
    async with reach.control(permitted(spec)) as channel:
        try:
            async with asyncio.timeout(limit_s):
                replies = tuple([reply async for reply in channel.ask(request)])
        except TimeoutError:
            failure = HostFailure(ErrorKind.TIMEOUT, Phase.IDLE, f"no answer came within {limit_s:g} s", "")
            raise _unsure(failure, spec) from None
        except HostFailure as failure:
            raise _unsure(failure, spec) from None
        return Answered(spec.name, replies, clock_at(channel))


def _unsure(failure: HostFailure, spec: HostSpec) -> HostFailure:
    """A failure after something was asked: it may have been done all the same."""
    error = failure.error
    message = f"{error.message}; whether it did what it was asked is not known"
    hint = f"look before you ask again: `fleet ps --host {spec.name}`, or `fleet logs`"
    return HostFailure(error.kind, error.phase, message, hint)


def _asked(channel: ControlChannel, request: Callable[[float], Request]) -> AsyncGenerator[Reply, None]:
    return channel.ask(request(clock_at(channel)))


def clock_at(channel: ControlChannel) -> float:
    """What the host's clock showed when the channel was opened."""
    assert channel.stream.hello is not None
    return channel.stream.hello.now
