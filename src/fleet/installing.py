"""Puts the agent on hosts and takes it away, when a person asks for that: all hosts at once, each by itself."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import msgspec

from fleet.collector import host_error
from fleet.config import HostSpec
from fleet.errors import HostError, UsageError
from fleet.transport import Transport
from fleet.transport.deadlines import Deadlines


class Done(msgspec.Struct, frozen=True):
    """How it went with one host: `target` is what its agent was made for, such as x86_64-cp311-gnu."""

    host: str
    target: str | None = None
    error: HostError | None = None


async def install(specs: Sequence[HostSpec]) -> list[Done]:
    """Ship this fleet's agent to each host, unless it is there. Raises `UsageError` where it is not wanted."""
    for spec in specs:
        _check(spec)
    return await _each(specs, lambda transport, spec: transport.install(spec, Deadlines(spec.timeouts)))


async def uninstall(specs: Sequence[HostSpec]) -> list[Done]:
    """Take away every agent that fleet has shipped there. What was installed otherwise stays."""
    return await _each(specs, lambda transport, spec: transport.uninstall(spec, Deadlines(spec.timeouts)))


def _check(spec: HostSpec) -> None:
    if spec.install == "never":
        raise UsageError(
            f'{spec.name}: its `install` is "never"; make it "auto" in hosts.toml, or leave it out'
        )
    if spec.agent_command:
        raise UsageError(f"{spec.name}: its `agent_command` is run, whatever is installed; take that out first")


async def _each(
    specs: Sequence[HostSpec], act: Callable[[Transport, HostSpec], Awaitable[str | None]]
) -> list[Done]:
    async def one(spec: HostSpec) -> Done:
        try:
            return Done(spec.name, target=await act(transport, spec))
        except Exception as exc:
            return Done(spec.name, error=host_error(spec, exc))

    async with Transport() as transport:
        return list(await asyncio.gather(*map(one, specs)))
