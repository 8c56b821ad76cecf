"""Who may ask over TCP: whoever shows the token, and means this daemon.

The Unix socket needs none of it: the file system keeps others out. Over TCP any page in a browser can reach a
loopback port, by DNS rebinding too; so the Host header must be one of ours, and the token must be there.
"""

import hmac
import ipaddress
import secrets
from collections.abc import Collection
from pathlib import Path

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from fleet.api.control import SCOPE

_OPEN = ("/healthz", "/readyz")  # say nothing about the fleet
_TOKEN_BYTES = 32


class Guard:
    """ASGI middleware. `hosts` are the Host headers that are ours, with port.

    `token` lets read; `control_token` also start, answer and stop sessions: the scope says which was shown, and
    `fleet.api.control` refuses the other.

    None: it listens on every address, behind any port that is mapped to it. Then any address will do, but no
    name: a name is what DNS rebinding needs.
    """

    def __init__(self, app: ASGIApp, token: str, hosts: Collection[str] | None, control_token: str) -> None:
        self._app = app
        self._token, self._control_token = token.encode(), control_token.encode()
        self._hosts = None if hosts is None else frozenset(host.lower() for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request: on to the application, or refused."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if (refusal := self._refusal(headers, scope["path"])) is None:
            may_control = hmac.compare_digest(_shown(headers), self._control_token)
            await self._app({**scope, SCOPE: may_control}, receive, send)
            return
        status, message, hint = refusal
        body = {"error": {"kind": "forbidden", "message": message, "hint": hint}}
        challenge = {"www-authenticate": "Bearer"} if status == 401 else None
        await JSONResponse(body, status, challenge)(scope, receive, send)

    def _refusal(self, headers: Headers, path: str) -> tuple[int, str, str] | None:
        if not self._is_ours(headers.get("host", "").lower()):
            ours = "an address" if self._hosts is None else ", ".join(sorted(self._hosts))
            return 403, "the Host header is not one of this daemon's", f"call it by {ours}"
        if path in _OPEN:
            return None
        shown = _shown(headers)
        is_known = [hmac.compare_digest(shown, known) for known in (self._token, self._control_token)]
        if not any(is_known):
            return (
                401,
                "no token, or a wrong one",
                "send `Authorization: Bearer TOKEN`",
            )
        return None

    def _is_ours(self, host: str) -> bool:
        return _is_address(host) if self._hosts is None else host in self._hosts


def _shown(headers: Headers) -> bytes:
    """The token that a request shows; empty if it shows none."""
    scheme, _, given = headers.get("authorization", "").partition(" ")
    return given.strip().encode() if scheme.lower() == "bearer" else b""


def _is_address(host: str) -> bool:
    """Whether a Host header names an IP address, or localhost."""
    name = host if host.endswith("]") else host.rpartition(":")[0] or host
    if name == "localhost":
        return True
    try:
        ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True


def token(path: Path) -> str:
    """The token in this file, made if it is not there; only its owner may read it. Raises `OSError`."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        found = path.read_text("ascii").strip()
        if len(found) >= _TOKEN_BYTES:
            return found
    except FileNotFoundError:
        pass
    made = secrets.token_urlsafe(_TOKEN_BYTES)
    path.touch(mode=0o600)
    path.write_text(made + "\n", "ascii")
    return made
