"""What all routes answer with, and the flags of their queries."""

import msgspec
from starlette.requests import Request
from starlette.responses import Response

JSON = "application/json"
_COUNT_CHARS = 15  # 2 ** 53, up to which JSON's numbers are whole, has 16


class ApiError(Exception):
    """A request that is refused."""

    def __init__(self, status: int, kind: str, message: str, hint: str, phase: str | None = None) -> None:
        super().__init__(message)
        self.status, self.kind, self.message, self.hint, self.phase = status, kind, message, hint, phase


def json_answer(content: object, status: int = 200) -> Response:
    """The content as JSON, on one line."""
    return Response(msgspec.json.encode(content) + b"\n", status, media_type=JSON)


def count(request: Request, name: str) -> int:
    """A query parameter that is a whole number; 0 if it is not there. Raises `ApiError`."""
    value = request.query_params.get(name, "0")
    if not (value.isascii() and value.isdecimal() and len(value) <= _COUNT_CHARS):
        raise ApiError(422, "usage", f"{name}={value}", f"{name} is a whole number, 0 or more")
    return int(value)


def number(request: Request, name: str, most: float) -> float | None:
    """A query parameter that is a number from 0 to `most`; None if it is not there. Raises `ApiError`."""
    value = request.query_params.get(name)
    if value is None:
        return None
    try:
        found = float(value)
    except ValueError:
        found = -1.0
    if not 0 <= found <= most:
        raise ApiError(422, "usage", f"{name}={value}", f"{name} is a number from 0 to {most:g}")
    return found


def flag(request: Request, name: str) -> bool:
    """A query parameter that is 0 (the default) or 1. Raises `ApiError`."""
    value = request.query_params.get(name, "0")
    if value not in ("0", "1"):
        raise ApiError(422, "usage", f"{name}={value}", f"{name} is 0 or 1")
    return value == "1"
