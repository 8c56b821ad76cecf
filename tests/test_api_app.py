"""fleet.api.app over a real service: one host that is a script, one that refuses."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx2
import jsonschema
import pytest

from fleet.api.app import app
from fleet.service import Service
from fleet.views.document import json_schema
from serving import IDLE, WAITING, served, write_config

Scene = Callable[[httpx2.AsyncClient, Service], Awaitable[None]]


def run(tmp_path: Path, scene: Scene) -> None:
    """The scene with a client of the API."""

    async def bounded() -> None:
        async with served(write_config(tmp_path / "hosts.toml", WAITING, IDLE)) as service:
            transport = httpx2.ASGITransport(app(service))
            async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as client:
                await scene(client, service)

    asyncio.run(bounded())


def test_the_fleet_is_the_document_of_the_command_line(tmp_path: Path) -> None:
    """The same contract, valid by its own schema, with the counts in headers."""

    async def scene(client: httpx2.AsyncClient, service: Service) -> None:
        answer = await client.get("/v1/fleet")
        now: dict[str, Any] = answer.json()
        jsonschema.validate(now, json_schema())
        assert [s["id"] for s in now["sessions"]] == [WAITING.id, IDLE.id]
        assert {h["name"]: h["link"] for h in now["hosts"]} == {"local": "up", "dead": "down"}
        assert [e["kind"] for e in now["host_errors"]] == ["unreachable"]
        assert answer.headers["fleet-failed"] == "1/2"
        assert answer.headers["fleet-event-id"] == service.journal.id(service.journal.seq)
        pretty = (await client.get("/v1/fleet?pretty=1")).text
        assert pretty.startswith('{\n  "schema"')
        assert json.loads(pretty)["sessions"][0]["key"] == f"local:{WAITING.id}"

    run(tmp_path, scene)


def test_hosts_are_chosen_as_on_the_command_line(tmp_path: Path) -> None:
    """The same expressions, the same errors."""

    async def scene(client: httpx2.AsyncClient, _: Service) -> None:
        for query in ("host=local", "host=@both&exclude=dead", "host=all,!dead"):
            now = (await client.get(f"/v1/fleet?{query}")).json()
            assert [h["name"] for h in now["hosts"]] == ["local"]
        assert [h["name"] for h in (await client.get("/v1/hosts?host=dead")).json()["hosts"]] == ["dead"]
        wrong = await client.get("/v1/fleet?host=loacl")
        assert wrong.status_code == 422
        assert "did you mean" in wrong.json()["error"]["message"]

    run(tmp_path, scene)


def test_one_session(tmp_path: Path) -> None:
    """By its key; one that is not there is 404 with a hint."""

    async def scene(client: httpx2.AsyncClient, _: Service) -> None:
        found = await client.get(f"/v1/sessions/local:{WAITING.id}")
        assert (found.status_code, found.json()["detail"]) == (200, "approval")
        for key in ("local:none", "nobody:x", "x"):
            missing = await client.get(f"/v1/sessions/{key}")
            assert (missing.status_code, missing.json()["error"]["kind"]) == (404, "not_found")

    run(tmp_path, scene)


def test_a_fresh_reading(tmp_path: Path) -> None:
    """Every open agent is asked, and who did not answer is named."""

    async def scene(client: httpx2.AsyncClient, service: Service) -> None:
        before = service.streams.fleet.hosts["local"].reading
        answer = (await client.post("/v1/refresh?timeout_s=10")).json()
        assert answer == {"answered": ["local"], "silent": ["dead"]}
        between = service.streams.fleet.hosts["local"].reading
        assert between is not before
        assert (await client.get("/v1/fleet?fresh=1")).status_code == 200
        assert service.streams.fleet.hosts["local"].reading is not between

    run(tmp_path, scene)


def test_retry(tmp_path: Path) -> None:
    """A failed host is tried at once; one that is up, or does not exist, is refused with the reason."""

    async def scene(client: httpx2.AsyncClient, _: Service) -> None:
        assert (await client.post("/v1/hosts/dead/retry")).json() == {"host": "dead", "retried": True}
        assert (await client.post("/v1/hosts/local/retry")).status_code == 409
        assert (await client.post("/v1/hosts/nobody/retry")).status_code == 404

    run(tmp_path, scene)


def test_a_wrong_configuration_changes_nothing(tmp_path: Path) -> None:
    """Whole or not at all: the answer names file, key and fix, and the fleet stays (PROMISES 24, 25)."""

    async def scene(client: httpx2.AsyncClient, service: Service) -> None:
        config, before = tmp_path / "hosts.toml", service.streams.fleet
        good = config.read_text()
        config.write_text(good + "[hosts.new]\nporrt = 22\n")
        refused = await client.post("/v1/reload")
        assert refused.status_code == 422
        assert "hosts.toml" in refused.json()["error"]["message"]
        assert "porrt" in refused.json()["error"]["message"]
        assert service.streams.fleet.hosts.keys() == before.hosts.keys()
        config.write_text(good + '[hosts.new]\naddress = "127.0.0.1"\nport = 1\nssh_config = "none"\n')
        assert (await client.post("/v1/reload")).json() == {"hosts": 3}
        assert service.streams.fleet.hosts["local"] is before.hosts["local"]
        assert service.streams.fleet.hosts["new"].link == "pending"

    run(tmp_path, scene)


def test_another_configuration_is_refused(tmp_path: Path) -> None:
    """Whoever names a hosts.toml must not get the answers of another."""

    async def scene(client: httpx2.AsyncClient, _: Service) -> None:
        own = await client.get("/v1/fleet", params={"config": str(tmp_path / "hosts.toml")})
        other = await client.get("/v1/fleet", params={"config": "/etc/fleet/hosts.toml"})
        assert (own.status_code, other.status_code) == (200, 409)

    run(tmp_path, scene)


@pytest.mark.parametrize(
    "query", ["fresh=yes", "pretty=2", "fresh=1&timeout_s=x", "fresh=1&timeout_s=nan", "fresh=1&timeout_s=61"]
)
def test_wrong_parameters(tmp_path: Path, query: str) -> None:
    """Each is named with what it should be."""

    async def scene(client: httpx2.AsyncClient, _: Service) -> None:
        answer = await client.get(f"/v1/fleet?{query}")
        assert (answer.status_code, answer.json()["error"]["kind"]) == (422, "usage")

    run(tmp_path, scene)


def test_about_the_daemon_and_its_health(tmp_path: Path) -> None:
    """Ready once every host has answered or failed; paths and methods that do not exist are errors in JSON."""

    async def scene(client: httpx2.AsyncClient, service: Service) -> None:
        about = (await client.get("/v1/daemon")).json()
        assert (about["pid"], about["hosts"], about["ready"]) == (service.pid, 2, True)
        assert about["config"] == str(tmp_path / "hosts.toml")
        assert (await client.get("/healthz")).text == "ok\n"
        assert (await client.get("/readyz")).text == "ok\n"
        assert (await client.get("/nothing")).json()["error"]["kind"] == "http"
        assert (await client.post("/v1/fleet")).status_code == 405
        service.reload()
        (tmp_path / "hosts.toml").write_text('[hosts.slow]\nagent_command = "sleep 9"\naddress = "127.0.0.2"\n')
        service.reload()
        assert (await client.get("/readyz")).status_code == 503

    run(tmp_path, scene)
