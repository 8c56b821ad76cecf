"""`fleet-agent control`: requests in, replies out, one after the other. One request -> its replies."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

import msgspec

from fleet_agent import stream
from fleet_agent.control import acting, ending, starting, watching
from fleet_agent.control.audit import CHANGING, Audit
from fleet_agent.control.commands import NotPossible
from fleet_agent.control.host import Asker, Host
from fleet_agent.control.wire import (
    MAX_REQUEST_BYTES,
    Answer,
    Approvals,
    Attach,
    Decide,
    Delete,
    Done,
    Interrupt,
    List,
    Logs,
    Prune,
    Refused,
    Reply,
    Request,
    Run,
    Send,
    Start,
    Stop,
)
from fleet_agent.machine import hello

_STDIN, _STDOUT = 0, 1

_decode: Callable[[bytes], Request] = msgspec.json.Decoder(Request).decode


def serve(agent: Sequence[str], environ: Mapping[str, str]) -> None:
    """Answer what comes on stdin, on stdout, until stdin ends. `agent`: how this program is started.

    Raises `BrokenPipeError` when nobody reads the answers any more.
    """
    host = Host(environ, agent)
    asyncio.run(_serve(host))


async def _serve(host: Host) -> None:
    asker = Asker(lambda data: stream.write_all(_STDOUT, data))
    asker.write(msgspec.json.encode(hello()) + b"\n")
    asker.read(_STDIN)
    while (line := await asker.next()) is not None:
        asker.say(await reply(host, line, asker))


async def reply(host: Host, line: bytes, asker: Asker, attached: bool = False) -> Done | Refused:
    """Fulfil the request in one line; how it ended. What is said before that goes to `asker`."""
    try:
        request = decoded(line)
        if attached and isinstance(request, (Attach, Logs)):
            return Refused("not_possible", "a session is attached here already", "ask over another connection")
        return await _audited(host, request, asker)
    except NotPossible as exc:
        return exc.refused()
    except BrokenPipeError:
        raise
    except Exception as exc:
        return Refused("internal", f"a bug of fleet-agent: {type(exc).__name__}: {exc}"[:4096])


def decoded(line: bytes) -> Request:
    """The request in a line. Raises `NotPossible`."""
    if not line.strip():
        raise NotPossible(
            f"not a request: an empty line, or one of more than {MAX_REQUEST_BYTES >> 10} KiB",
            kind="bad_request",
        )
    try:
        return _decode(line)
    except (ValueError, RecursionError) as exc:
        raise NotPossible(
            f"not a request: {exc}", "see fleet_agent/control/wire.py", kind="bad_request"
        ) from exc


async def _audited(host: Host, request: Request, asker: Asker) -> Done | Refused:
    """The request fulfilled; if it changes anything, between two lines of the audit."""
    if not isinstance(request, CHANGING):
        return await _fulfil(host, request, asker, asker.say)
    names: list[str] = []

    def say(said: Reply) -> None:
        names.extend([said.name] if isinstance(said, Run) else [])
        asker.say(said)

    audit = Audit(host.store.root, host.environ)
    try:
        begun = audit.begin(request)
    except OSError as exc:
        why = f"nothing was done, as it cannot be audited: {exc}"
        return Refused("not_possible", why, "see that this user may write there, and that the disk is not full")
    try:
        ended = await _fulfil(host, request, asker, say)
    except NotPossible as exc:
        ended = exc.refused()
    with suppress(OSError):  # that it was begun is written down
        audit.end(begun, ended, names[0] if names and isinstance(request, Start) else None)
    return ended


async def _fulfil(host: Host, request: Request, asker: Asker, say: Callable[[Reply], None]) -> Done | Refused:
    match request:
        case Start():
            return await starting.start(host, request, say)
        case List():
            return watching.list_runs(host, request, say)
        case Logs():
            return await watching.logs(host, request, asker)
        case Attach():
            return await watching.attach(host, request, asker, lambda line: _answer(host, line, asker))
        case Send() | Interrupt() | Decide() | Answer():
            return await acting.act(host, request)
        case Approvals():
            return await acting.approvals(host, say)
        case Stop():
            return await ending.stop(host, request)
        case Delete():
            return await ending.delete(host, request)
        case Prune():
            return ending.prune(host, request, say)


async def _answer(host: Host, line: bytes, asker: Asker) -> None:
    """What comes while a session is attached."""
    asker.say(await reply(host, line, asker, attached=True))
