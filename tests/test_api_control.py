"""fleet.api.control over a real service: what acts on sessions, and who may."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from fleet.api.app import app
from fleet.api.control import SCOPE
from fleet.service import Service
from fleet_agent.wire import Session
from serving import IDLE, RUN, WAITING, served, write_config

CHILD = Session("codex", "child", parent_id=IDLE.id)
Scene = Callable[[httpx2.AsyncClient], Awaitable[None]]


def run(tmp_path: Path, scene: Scene, **scope: Any) -> list[dict[str, Any]]:
    """The scene with a client of the API; what the host was asked."""

    async def bounded() -> None:
        async with served(write_config(tmp_path / "hosts.toml", WAITING, IDLE, CHILD)) as service:
            inner = app(service)

            async def scoped(given: Any, receive: Any, send: Any) -> None:
                await inner({**given, **scope}, receive, send)

            transport = httpx2.ASGITransport(scoped)
            async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as client:
                await scene(client)

    asyncio.run(bounded())
    asked = tmp_path / "agent.asked"
    return [json.loads(line) for line in asked.read_text().splitlines()] if asked.exists() else []


def test_each_verb_asks_its_host_for_it(tmp_path: Path) -> None:
    """One exact session, by id and processes; a run by its name; who asks is told, for the audit."""

    async def scene(client: httpx2.AsyncClient) -> None:
        waiting, idle = f"/v1/sessions/local:{WAITING.id}", "/v1/sessions/local:calm-otter"
        said = await client.post(f"{waiting}/send", json={"text": "go on\n"})
        assert said.json() == {"key": f"local:{WAITING.id}", "message": "so it is"}
        for path, body in (
            (f"{idle}/interrupt", {}),
            (f"{waiting}/decide", {"decision": "accept", "request_id": "r1"}),
            (f"{waiting}/answer", {"answers": {"q": ["a"]}, "request_id": "r1"}),
            (f"{idle}/stop", {"grace_s": 2}),
        ):
            assert (await client.post(path, json=body)).status_code == 200, path
        assert (await client.delete("/v1/runs/local:calm-otter?stop=1")).status_code == 200

    asked = [request for request in run(tmp_path, scene) if request["verb"] != "list"]
    assert [request["verb"] for request in asked] == ["send", "interrupt", "decide", "answer", "stop", "delete"]
    assert asked[0]["target"] == {"tool": "codex", "id": WAITING.id}
    assert asked[0]["text"] == "go on\n"
    assert asked[1]["target"] == {"tool": "codex", "id": IDLE.id, "name": RUN.name}
    assert (asked[2]["decision"], asked[2]["request_id"]) == ("accept", "r1")
    assert all("@" in request["by"] for request in asked)


def test_a_fan_out_and_the_lists(tmp_path: Path) -> None:
    """What began and what did not, host by host; runs and what is open, with ages by the host's clock."""

    async def scene(client: httpx2.AsyncClient) -> None:
        begun = (await client.post("/v1/sessions/start", json={"host": ["both"], "prompt": "x"})).json()
        assert begun["error"]["kind"] == "usage"
        begun = (await client.post("/v1/sessions/start", json={"host": ["@both"], "prompt": "x"})).json()
        assert [entry["key"] for entry in begun["runs"]] == [f"local:{IDLE.id}"]
        assert [(e["host"], e["kind"]) for e in begun["errors"]] == [("dead", "not_permitted")]
        runs = (await client.get("/v1/runs")).json()
        assert [(r["name"], r["age_s"]) for r in runs["runs"]] == [("calm-otter", 60.0)]
        assert runs["errors"] == []
        (asked,) = (await client.get("/v1/approvals?host=local")).json()["approvals"]
        assert (asked["key"], asked["command"], asked["cwd"]) == (f"local:{WAITING.id}", "make", "/w")
        logs = await client.get(f"/v1/sessions/local:{WAITING.id}/logs")
        assert logs.headers["content-type"].startswith("application/x-ndjson")
        assert [json.loads(line)["type"] for line in logs.text.splitlines()] == ["said", "done"]

    run(tmp_path, scene)


@pytest.mark.parametrize(
    ("path", "body", "status", "kind"),
    [
        ("local:nobody/send", {"text": "x"}, 404, "not_found"),
        ("nohost:x/send", {"text": "x"}, 404, "not_found"),
        ("dead:x/send", {"text": "x"}, 403, "not_permitted"),
        ("local:child/send", {"text": "x"}, 422, "usage"),
        (f"local:{WAITING.id}/send", {"text": ""}, 422, "usage"),
        (f"local:{WAITING.id}/send", {"txt": "x"}, 422, "usage"),
        (f"local:{WAITING.id}/decide", {"decision": "accept", "request_id": "old"}, 409, "already_resolved"),
        (f"local:{WAITING.id}/decide", {"decision": "accept"}, 422, "usage"),
    ],
)
def test_what_is_refused_says_why(
    tmp_path: Path, path: str, body: dict[str, Any], status: int, kind: str
) -> None:
    """Unknown, not permitted, a subagent, a body that is wrong, somebody who was quicker (PROMISES 28)."""

    async def scene(client: httpx2.AsyncClient) -> None:
        answer = await client.post(f"/v1/sessions/{path}", json=body)
        assert (answer.status_code, answer.json()["error"]["kind"]) == (status, kind)
        assert answer.json()["error"]["hint"] or kind == "not_found"

    run(tmp_path, scene)


PLAIN = {"content-type": "application/json"}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (PLAIN, 200),
        ({**PLAIN, "origin": "http://localhost", "sec-fetch-site": "same-origin"}, 200),
        ({**PLAIN, "origin": "https://evil.example"}, 403),
        ({**PLAIN, "origin": "null"}, 403),
        ({**PLAIN, "sec-fetch-site": "cross-site"}, 403),
        ({**PLAIN, "sec-fetch-site": "same-site"}, 403),
        ({"content-type": "text/plain"}, 415),
        ({"content-type": "application/x-www-form-urlencoded"}, 415),
        ({}, 415),
    ],
)
def test_no_page_of_another_site_can_act(tmp_path: Path, headers: dict[str, str], status: int) -> None:
    """A form has not the content type, a script not the origin (PROMISES 26): then nothing is asked at all."""

    async def scene(client: httpx2.AsyncClient) -> None:
        path = f"/v1/sessions/local:{WAITING.id}/send"
        answer = await client.post(path, content=b'{"text":"x"}', headers=headers)
        assert answer.status_code == status

    asked = run(tmp_path, scene)
    assert any(request["verb"] == "send" for request in asked) == (status == 200)
    assert asked or status != 200


def test_a_token_that_reads_may_not_control(tmp_path: Path) -> None:
    """Over TCP, starting, answering, stopping, and what hosts are asked for it, take the control token."""

    async def scene(client: httpx2.AsyncClient) -> None:
        key = f"/v1/sessions/local:{WAITING.id}"
        assert (await client.get(key)).status_code == 200
        answers = [
            await client.post(f"{key}/send", json={"text": "x"}),
            await client.post("/v1/sessions/start", json={"host": ["local"], "prompt": "x"}),
            await client.get("/v1/runs"),
            await client.get("/v1/approvals"),
            await client.get(f"{key}/logs"),
            await client.delete("/v1/runs/local:calm-otter"),
            await client.post("/v1/hosts/local/control", content=b'{"verb":"list"}\n', headers=LINES),
        ]
        assert [answer.status_code for answer in answers] == [403] * 7
        assert "control-token" in answers[0].json()["error"]["hint"]

    assert run(tmp_path, scene, **{SCOPE: False}) == []


LINES = {"content-type": "application/x-ndjson"}


def test_the_control_wire_is_relayed(tmp_path: Path) -> None:
    """Lines of requests in, the host's hello and its replies out; what is no request ends it, and says so."""

    async def scene(client: httpx2.AsyncClient) -> None:
        path = "/v1/hosts/local/control"
        told = await client.post(
            path, content=b'{"verb":"list","by":"x"}\n{"verb":"approvals"}\n', headers=LINES
        )
        types = [json.loads(line)["type"] for line in told.text.splitlines()]
        assert types == ["hello", "run", "done", "pending", "done"]
        for wrong in (b"{}\n", b"\xff\n", b'{"verb":"sudo"}\n', b"[" * (2 << 20)):
            told = await client.post(path, content=wrong, headers=LINES)
            *_, last = map(json.loads, told.text.splitlines())
            assert (last["type"], last["kind"]) == ("refused", "bad_request")
        assert (await client.post(path, content=b"", headers=PLAIN)).status_code == 415
        assert (await client.post("/v1/hosts/dead/control", headers=LINES)).status_code == 403
        assert (await client.post("/v1/hosts/none/control", headers=LINES)).status_code == 404

    asked = run(tmp_path, scene)
    assert [request["verb"] for request in asked] == ["list", "approvals"]
    assert all("@" in request["by"] for request in asked)


def test_logs_from_where_they_were_read_to(tmp_path: Path) -> None:
    """A span is counted by the host's clock, numbers and bytes are handed on; what is no number is refused."""

    async def scene(client: httpx2.AsyncClient) -> None:
        path = "/v1/sessions/local:calm-otter/logs"
        assert (await client.get(f"{path}?since_s=30&after_seq=7&from_bytes=9")).status_code == 200
        for wrong in ("since_s=-1", "since_s=nan", "after_seq=1.5", "after_seq=x", "from_bytes=-3"):
            assert (await client.get(f"{path}?{wrong}")).status_code == 422, wrong

    (asked,) = (request for request in run(tmp_path, scene) if request["verb"] == "logs")
    assert (asked["since_at"], asked["after_seq"], asked["from_bytes"]) == (70.0, 7, 9)


def test_a_body_has_a_bound(tmp_path: Path) -> None:
    """What is too long is not read to its end."""

    async def scene(client: httpx2.AsyncClient) -> None:
        path = f"/v1/sessions/local:{WAITING.id}/send"
        answer = await client.post(path, content=b" " * (3 << 20), headers=PLAIN)
        assert (answer.status_code, answer.json()["error"]["kind"]) == (422, "too_long")

    run(tmp_path, scene)


def test_a_host_that_cannot_be_reached_fails_now(tmp_path: Path) -> None:
    """Not queued: 503 with the host's own error."""
    config = write_config(tmp_path / "hosts.toml", IDLE)
    config.write_text(config.read_text().replace("[hosts.dead]", "[hosts.dead]\ncontrol = true"))

    async def scene() -> None:
        async with served(config) as service:
            transport = httpx2.ASGITransport(app(service))
            async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as client:
                answer = await client.post("/v1/sessions/dead:x/send", json={"text": "x"})
                assert (answer.status_code, answer.json()["error"]["kind"]) == (503, "unreachable")

    asyncio.run(scene())
    assert Service(config).config.hosts["dead"].control
