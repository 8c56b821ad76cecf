"""fleet.transport.channel: the frames of one agent, and how its end is explained."""

import asyncio

import msgspec
import pytest

from fleet.errors import ErrorKind, HostError, HostFailure, Phase
from fleet.transport.agent import AgentChannel
from fleet_agent.wire import MAX_STDERR_BYTES, SCHEMA, Frame, Hello, Snapshot
from secret_shapes import CORPUS, pieces, plain

HELLO = msgspec.json.encode(Hello(schema=SCHEMA)) + b"\n"
SNAPSHOT = msgspec.json.encode(Snapshot(seq=1, now=1.0)) + b"\n"

K, P = ErrorKind, Phase


def end(
    stdout: bytes = b"", stderr: bytes = b"", status: int | None = None, signal: str | None = None
) -> HostError:
    """The error of an agent that wrote this and ended so."""

    async def scene() -> HostError:
        channel = AgentChannel()
        channel.stdout(stdout)
        channel.stderr(stderr)
        channel.ended(status, signal)
        with pytest.raises(HostFailure) as caught:
            while True:
                await channel.frame()
        return caught.value.error

    return asyncio.run(scene())


def test_frames_are_handed_over_as_they_come() -> None:
    """To whoever listens: those that are here already first; the end is awaited by itself."""

    async def scene() -> None:
        channel, taken = AgentChannel(), list[Frame]()
        channel.stdout(HELLO + SNAPSHOT)
        await channel.hello()
        channel.listen(taken.append)
        assert [type(frame) for frame in taken] == [Snapshot]
        channel.stdout(SNAPSHOT + SNAPSHOT)
        assert len(taken) == 3
        end = asyncio.create_task(channel.end())
        await asyncio.sleep(0)
        channel.ended(None, None)
        with pytest.raises(HostFailure):
            await end

    asyncio.run(scene())


@pytest.mark.parametrize(
    ("error", "kind", "phase", "words"),
    [
        (end(stderr=b"sh: not found", status=127), K.AGENT_MISSING, P.HELLO, "status 127): sh: not found"),
        (end(stderr=b"denied", status=126), K.AGENT_MISSING, P.HELLO, "(exit status 126): denied"),
        (end(stdout=HELLO, status=127), K.AGENT_FAILED, P.SNAPSHOT, "ended with exit status 127"),
        (end(stdout=b"account not available\n", status=1), K.AGENT_FAILED, P.HELLO, "1: account not available"),
        (end(stderr=b"a\x1b[2Jb\n", status=3), K.AGENT_FAILED, P.HELLO, "exit status 3: a�[2Jb"),
        (end(stdout=HELLO + b'{"t', signal="KILL"), K.AGENT_FAILED, P.SNAPSHOT, "killed by signal KILL"),
        (end(status=0), K.BAD_OUTPUT, P.HELLO, "no hello"),
        (end(stdout=HELLO + b'{"t', status=0), K.BAD_OUTPUT, P.SNAPSHOT, "in the middle of a snapshot"),
        (end(stdout=HELLO), K.DISCONNECTED, P.SNAPSHOT, "the connection was lost"),
        (end(), K.DISCONNECTED, P.HELLO, "the connection was lost"),
    ],
)  # fmt: skip
def test_each_end_has_its_explanation(error: HostError, kind: ErrorKind, phase: Phase, words: str) -> None:
    """Exit status, signal or a lost connection, and how far the agent had come, decide what the error is."""
    assert (error.kind, error.phase) == (kind, phase)
    assert words in error.message
    assert error.hint


def test_frames_before_an_end_are_not_lost() -> None:
    """What was read whole is handed out first."""

    async def scene() -> list[type]:
        channel = AgentChannel()
        channel.stdout(HELLO + SNAPSHOT)
        channel.ended(None, None)
        return [type(await channel.frame()), type(await channel.frame())]

    assert asyncio.run(scene()) == [Hello, Snapshot]


def test_a_reader_that_waits_is_woken() -> None:
    """By a frame, and by the end."""

    async def scene() -> str:
        channel = AgentChannel()
        loop = asyncio.get_running_loop()
        loop.call_later(0.01, channel.stdout, HELLO + SNAPSHOT)
        await channel.hello()
        await channel.snapshot()
        loop.call_later(0.01, channel.ended, None, None)
        with pytest.raises(HostFailure) as caught:
            await channel.frame()
        return caught.value.error.phase

    assert asyncio.run(scene()) == P.IDLE


def test_what_breaks_a_rule_stops_the_carrier() -> None:
    """Nothing more is taken from a host that broke the wire; the reader gets the reason."""

    async def scene() -> tuple[list[str], HostError]:
        channel, stopped = AgentChannel(), []
        channel.stop = lambda: stopped.append("stopped")
        channel.stdout(HELLO + b"[]\n")
        channel.stdout(b"x" * 100_000_000)
        channel.ended(0, None)
        await channel.hello()
        with pytest.raises(HostFailure) as caught:
            await channel.snapshot()
        return stopped, caught.value.error

    stopped, error = asyncio.run(scene())
    assert stopped == ["stopped"]
    assert (error.kind, error.phase) == (K.BAD_OUTPUT, P.SNAPSHOT)


def test_only_the_last_of_stderr_is_kept() -> None:
    """A flood of error output costs 64 KiB (PROMISES 1)."""
    channel = AgentChannel()
    for _ in range(100):
        channel.stderr(b"e" * 65536)
    assert len(channel._stderr) == MAX_STDERR_BYTES


@pytest.mark.parametrize("text", CORPUS)
def test_no_secret_is_quoted(text: str) -> None:
    """Whatever a host's error output, or its login scripts, say: not in an error message (PROMISES 13)."""
    said = f"sh: line 1: {plain(text)}\n".encode()
    for error in (end(HELLO, said, status=3), end(stderr=said), end(said, status=1)):
        assert "sh: line 1" in error.message
        assert not [piece for piece in pieces(text) if piece in error.message]


def test_a_secret_is_not_quoted_in_parts() -> None:
    """It goes before the message is cut, though only its end or its beginning would be shown."""
    key = "-----BEGIN RSA PRIVATE KEY-----\n" + "MIIEpAIBAAKCAQEA\n" * 150 + "-----END RSA PRIVATE KEY-----\n"
    token = "x" * 190 + " ghp_16C7e42F292c6912E7710c838347Ae178B4a\n"
    assert "MIIE" not in end(HELLO, key.encode(), status=1).message
    assert "ghp_" not in end(token.encode(), status=0).message
