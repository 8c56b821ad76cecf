"""What all routes answer with, and the flags of their queries."""

import msgspec
from starlette.requests import Request
from starlette.responses import Response

JSON = "application/json"


class ApiError(Exception):
    """A request that is refused."""

    def __init__(self, status: int, kind: str, message: str, hint: str) -> None:
        super().__init__(message)
        self.status, self.kind, self.message, self.hint = status, kind, message, hint


def json_answer(content: object, status: int = 200) -> Response:
    """The content as JSON, on one line."""
    return Response(msgspec.json.encode(content) + b"\n", status, media_type=JSON)


def flag(request: Request, name: str) -> bool:
    """A query parameter that is 0 (the default) or 1. Raises `ApiError`."""
    value = request.query_params.get(name, "0")
    if value not in ("0", "1"):
        raise ApiError(422, "usage", f"{name}={value}", f"{name} is 0 or 1")
    return value == "1"
