"""fleet.api.guard: who may ask over TCP."""

from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from fleet.api.control import SCOPE
from fleet.api.guard import Guard, token

SECRET, CONTROL_SECRET = "s" * 40, "c" * 40


@pytest.fixture
def client() -> TestClient:
    async def answer(_request: object) -> PlainTextResponse:
        return PlainTextResponse("in")

    async def may(request: Request) -> PlainTextResponse:
        return PlainTextResponse(str(request.scope[SCOPE]))

    inner = Starlette(routes=[Route("/v1/fleet", answer), Route("/healthz", answer), Route("/may", may)])
    guard = Guard(inner, SECRET, {"127.0.0.1:7433", "localhost:7433"}, CONTROL_SECRET)
    return TestClient(guard, base_url="http://127.0.0.1:7433")


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def test_the_token_opens(client: TestClient) -> None:
    """With the token, by a name that is ours."""
    assert client.get("/v1/fleet", headers=bearer(SECRET)).text == "in"
    assert client.get("/v1/fleet", headers={**bearer(SECRET), "Host": "LOCALHOST:7433"}).text == "in"


@pytest.mark.parametrize("headers", [{}, bearer("x"), bearer(""), {"Authorization": SECRET}, bearer("é" * 40)])
def test_nobody_else_gets_in(client: TestClient, headers: dict[str, str]) -> None:
    """No token, a wrong one, one in another form: 401, and how to do it."""
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    answer = client.get("/v1/fleet", headers=raw)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert "Authorization" in answer.json()["error"]["hint"]


@pytest.mark.parametrize("host", ["evil.example:7433", "127.0.0.1", "127.0.0.1:80", ""])
def test_a_page_in_a_browser_cannot_get_in_by_another_name(client: TestClient, host: str) -> None:
    """DNS rebinding: the Host header is the other's, and even the token does not help."""
    assert client.get("/v1/fleet", headers={**bearer(SECRET), "Host": host}).status_code == 403
    assert client.get("/healthz", headers={"Host": host}).status_code == 403


@pytest.mark.parametrize(
    ("host", "status"),
    [
        *((host, 200) for host in ("10.0.0.4:7433", "10.0.0.4", "[fe80::1]:80", "[::1]", "localhost:1")),
        *((host, 403) for host in ("evil.example", "evil.example:7433", "", "10.0.0.4.evil.example:1")),
    ],
)
def test_on_every_address_only_names_are_refused(host: str, status: int) -> None:
    """Listening on 0.0.0.0, behind a mapped port: any address may call it, a name may not."""
    inner = Starlette(routes=[Route("/v1/fleet", lambda _: PlainTextResponse("in"))])
    client = TestClient(Guard(inner, SECRET, None, CONTROL_SECRET))
    assert client.get("/v1/fleet", headers={**bearer(SECRET), "Host": host}).status_code == status


def test_probes_need_no_token(client: TestClient) -> None:
    """That the daemon lives says nothing about the fleet."""
    assert client.get("/healthz").text == "in"


def test_what_acts_has_a_token_of_its_own(client: TestClient) -> None:
    """Either token reads; only the control token may control (PROMISES 28)."""
    for secret, may in ((SECRET, "False"), (CONTROL_SECRET, "True")):
        assert client.get("/v1/fleet", headers=bearer(secret)).text == "in"
        assert client.get("/may", headers=bearer(secret)).text == may


def test_the_token_is_made_once_and_is_private(tmp_path: Path) -> None:
    """Long, random, only its owner's to read, and the same at the next start."""
    path = tmp_path / "state" / "token"
    made = token(path)
    assert len(made) >= 40
    assert token(path) == made
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
