"""What is said to a Codex app-server and what it says: one JSON-RPC message, in or out. Pure.

Measured on Codex 0.145 to 0.169: JSON objects without a "jsonrpc" field, one a line on stdio, one a message on
a WebSocket. Either side asks; ids are integers or strings, and "0" is not 0. A reply with another id, or to a
request that is already resolved, is passed over by the server in silence; one of a wrong shape counts as
"declined".
"""

from typing import TypeAlias

import msgspec

from fleet_agent import __version__

OVERLOADED = -32001  # try again, a little later
NOT_FOUND = -32601
MAX_OVERLOAD_TRIES = 6
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 5.0
MAX_SHOWN_CHARS = 200  # of a message that cannot be read, in what is said of it

RequestId: TypeAlias = int | str


class RpcError(Exception):
    """The server answered a request with an error: its own words."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


class Reply(msgspec.Struct, frozen=True):
    """The server's answer to a request of ours. Either `error` is there, or `result` counts."""

    id: RequestId
    result: msgspec.Raw
    error: RpcError | None = None


class Told(msgspec.Struct, frozen=True):
    """A notification. `thread_id`: the thread that it is about; None where it is about none."""

    method: str
    params: msgspec.Raw
    raw: bytes
    thread_id: str | None = None
    turn_id: str | None = None


class Asked(msgspec.Struct, frozen=True):
    """A request of the server, which waits for a reply with this very id."""

    id: RequestId
    method: str
    params: msgspec.Raw
    raw: bytes
    thread_id: str | None = None
    turn_id: str | None = None


class Unreadable(msgspec.Struct, frozen=True):
    """No message of a known shape. `why` says so for a person."""

    why: str
    size_bytes: int


Message: TypeAlias = Reply | Told | Asked | Unreadable


class _Error(msgspec.Struct):
    code: int = 0
    message: str = ""


class _Line(msgspec.Struct):
    id: RequestId | None = None
    method: str | None = None
    params: msgspec.Raw = msgspec.Raw(b"null")
    result: msgspec.Raw = msgspec.Raw(b"null")
    error: _Error | None = None


class _Id(msgspec.Struct):
    id: str | None = None


class _Params(msgspec.Struct, rename="camel"):
    thread_id: str | None = None
    conversation_id: str | None = None  # the older word
    turn_id: str | None = None
    thread: _Id | None = None
    turn: _Id | None = None


def read(raw: bytes) -> Message:
    """One message of the server. Whatever it is, this raises nothing."""
    try:
        line = msgspec.json.decode(raw, type=_Line)
    except (ValueError, RecursionError) as exc:
        return Unreadable(f"{exc}: {raw[:MAX_SHOWN_CHARS].decode(errors='replace')}", len(raw))
    if line.method is not None:
        params = _about(line.params)
        thread, turn = _thread_id(params), params.turn_id or (params.turn.id if params.turn else None)
        if line.id is None:
            return Told(line.method, line.params, raw, thread, turn)
        return Asked(line.id, line.method, line.params, raw, thread, turn)
    if line.id is None:
        return Unreadable(f"neither a request nor an answer: {raw[:200].decode(errors='replace')}", len(raw))
    error = RpcError(line.error.code, line.error.message) if line.error else None
    return Reply(line.id, line.result, error)


def _about(params: msgspec.Raw) -> _Params:
    try:
        return msgspec.json.decode(params, type=_Params)
    except (ValueError, RecursionError):
        return _Params()


def _thread_id(params: _Params) -> str | None:
    return params.thread_id or params.conversation_id or (params.thread.id if params.thread else None)


def request(number: int, method: str, params: object) -> bytes:
    """A request of ours."""
    return msgspec.json.encode({"id": number, "method": method, "params": params})


def notification(method: str) -> bytes:
    """Something that we tell the server."""
    return msgspec.json.encode({"method": method})


def result(request_id: RequestId, value: object) -> bytes:
    """The reply to a request of the server."""
    return msgspec.json.encode({"id": request_id, "result": value})


def no_such_method(request_id: RequestId, method: str) -> bytes:
    """The reply to a request that we have no answer for. Left without one, the turn would hang."""
    error = {"code": NOT_FOUND, "message": f"fleet has no answer to {method}"}
    return msgspec.json.encode({"id": request_id, "error": error})


def greeting() -> dict[str, object]:
    """The params of `initialize`. Questions to a person come only to clients of the experimental API."""
    client = {"name": "fleet", "title": "fleet", "version": __version__}
    return {"clientInfo": client, "capabilities": {"experimentalApi": True}}


def text_input(text: str) -> list[dict[str, object]]:
    """What a person says, as the `input` of a turn."""
    return [{"type": "text", "text": text, "text_elements": []}]


def overload_pause_s(tries: int, chance: float) -> float | None:
    """How long to wait before asking an overloaded server again; None once it is enough.

    `tries`: how often it was asked so far. `chance`: from 0 to 1, so that many do not come back at once.
    """
    if tries >= MAX_OVERLOAD_TRIES:
        return None
    return min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** (tries - 1)) * (0.5 + chance / 2)
