"""fleet.transport.control: requests and replies over a running agent, and how its end is explained."""

import asyncio
import sys
from pathlib import Path

import msgspec
import pytest

from fleet import launch
from fleet.config import HostSpec
from fleet.errors import ErrorKind, HostFailure, Phase, RequestRefused
from fleet.transport import Transport
from fleet.transport.control import MOST_WAITING, ControlChannel
from fleet.transport.deadlines import Deadlines
from fleet_agent.control.wire import Decide, Done, List, Reply, Stderr, Target
from fleet_agent.wire import SCHEMA, Hello
from serving import RESOLVED, RUN, write_agent

HELLO = msgspec.json.encode(Hello(schema=SCHEMA)) + b"\n"


async def answers(channel: ControlChannel, request: List | Decide) -> list[Reply]:
    return [reply async for reply in channel.ask(request)]


def test_requests_are_answered_in_turn(tmp_path: Path) -> None:
    """Several on one channel; a refusal is raised, and the channel goes on."""

    async def scene() -> None:
        spec = HostSpec("local", agent_command=write_agent(tmp_path / "agent"))
        async with Transport() as transport, transport.control(spec, Deadlines(spec.timeouts)) as channel:
            assert await answers(channel, List()) == [RUN, Done("so it is")]
            with pytest.raises(RequestRefused) as caught:
                await answers(channel, Decide(target=Target(id="i"), decision="accept", request_id="old"))
            assert (caught.value.kind, caught.value.message) == (RESOLVED.kind, RESOLVED.message)
            assert (await answers(channel, List()))[-1] == Done("so it is")

    asyncio.run(scene())


def test_its_end_is_waited_for(tmp_path: Path) -> None:
    """What an agent writes down when its input ends is written whole: it is not killed at once."""

    async def scene() -> None:
        script = tmp_path / "agent"
        script.write_text(
            f"#!/bin/sh\necho '{HELLO.decode().strip()}'\ncat >/dev/null\nsleep 0.3; touch '{tmp_path}/done'\n"
        )
        script.chmod(0o755)
        spec = HostSpec("local", agent_command=str(script))
        async with Transport() as transport, transport.control(spec, Deadlines(spec.timeouts)):
            pass
        assert (tmp_path / "done").exists()

    asyncio.run(scene())


def test_a_slow_reader_makes_the_host_wait(tmp_path: Path) -> None:
    """A log of any length is taken piece by piece: what nobody has read yet is bounded (PROMISES 1)."""

    async def scene() -> None:
        script, lines = tmp_path / "agent", 20_000
        script.write_text(
            f"#!{sys.executable}\nimport sys\nprint({HELLO.decode()!r}, end='', flush=True)\n"
            "sys.stdin.readline()\n"
            f'for i in range({lines}): print(\'{{"type":"stderr","text":"%d\' % i + \'x\' * 1000 + \'"}}\')\n'
            'print(\'{"type":"done"}\', flush=True)\nsys.stdin.read()\n'
        )
        script.chmod(0o755)
        spec = HostSpec("local", agent_command=str(script))
        async with Transport() as transport, transport.control(spec, Deadlines(spec.timeouts)) as channel:
            channel.write(List())
            await asyncio.sleep(0.5)
            assert MOST_WAITING < len(channel._frames) < MOST_WAITING + 1000
            said = [await channel.reply() for _ in range(lines)]
            assert isinstance(said[-1], Stderr)
            assert said[-1].text.startswith(str(lines - 1))
            assert await channel.reply() == Done()

    asyncio.run(scene())


def ended(stderr: bytes, status: int | None) -> HostFailure:
    """The failure of an agent that ended so before its hello."""

    async def scene() -> HostFailure:
        channel = ControlChannel()
        channel.stderr(stderr)
        channel.ended(status, None)
        with pytest.raises(HostFailure) as caught:
            await channel.hello()
        return caught.value

    return asyncio.run(scene())


@pytest.mark.parametrize(
    ("stderr", "status", "kind", "words"),
    [
        (
            b"fleet-agent: this key may only observe, not run 'x'",
            2,
            ErrorKind.REFUSED,
            "may only observe there",
        ),
        (b"fleet-agent: error: invalid choice: 'control'", 2, ErrorKind.AGENT_FAILED, "too old to start"),
        (b"sh: not found", 127, ErrorKind.AGENT_MISSING, "no fleet-agent could be run"),
        (b"", None, ErrorKind.DISCONNECTED, "the connection was lost"),
    ],
)
def test_why_there_is_no_dialogue(stderr: bytes, status: int | None, kind: ErrorKind, words: str) -> None:
    """A restricted key, an old agent, none at all, a lost connection: each says what mends it."""
    error = ended(stderr, status).error
    assert error.kind is kind
    assert words in error.message
    assert error.hint


def test_a_lost_agent_is_an_end_of_what_was_asked() -> None:
    """Whoever waits for a reply is told."""

    async def scene() -> None:
        channel = ControlChannel()
        channel.stdout(HELLO)
        await channel.hello()
        asking = asyncio.create_task(answers(channel, List()))
        await asyncio.sleep(0)
        channel.ended(None, None)
        with pytest.raises(HostFailure) as caught:
            await asking
        assert caught.value.error.phase is Phase.IDLE

    asyncio.run(scene())


def test_the_agent_is_asked_for_control_and_nothing_else() -> None:
    """No prompt and no name is ever in an argv: all of it is on standard input (PROMISES 13)."""
    assert launch.control_arguments() == ("control",)
    assert launch.remote_command(HostSpec("h"), launch.control_arguments()).endswith(" fleet-agent control")
