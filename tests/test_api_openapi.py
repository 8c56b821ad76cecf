"""fleet.api.openapi: the description is true. schemathesis asks what it describes and checks the answers."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
import uvicorn
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance
from starlette.routing import Route

from fleet.api import openapi
from fleet.api.app import app
from fleet.service import Service
from serving import IDLE, WAITING, served, write_config

ENDLESS = "/v1/events"


@pytest.fixture(scope="module")
def base_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The API on a free loopback port, over a service with two hosts, in a thread of its own."""
    config = write_config(tmp_path_factory.mktemp("api") / "hosts.toml", WAITING, IDLE)
    started, urls, servers = threading.Event(), [], []

    async def serve() -> None:
        async with served(config, limit_s=None) as service:  # a fixture of many tests
            server = uvicorn.Server(
                uvicorn.Config(app(service), port=0, log_config=None, lifespan="off", loop="none")
            )
            serving = asyncio.create_task(server.serve())
            while not server.started:
                await asyncio.sleep(0.01)
            port = server.servers[0].sockets[0].getsockname()[1]
            urls.append(f"http://127.0.0.1:{port}")
            servers.append(server)
            started.set()
            await serving

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert started.wait(30)
    yield urls[0]
    servers[0].should_exit = True
    thread.join(30)


def test_every_route_is_described(tmp_path: Path) -> None:
    """And nothing else is."""
    routes = app(Service(write_config(tmp_path / "hosts.toml"))).routes
    served_here = {
        (route.path.replace(":path", ""), method.lower())
        for route in routes
        if isinstance(route, Route)
        for method in (route.methods or set()) - {"HEAD"}
    }
    described = {(path, method) for path, item in openapi.description()["paths"].items() for method in item}
    assert served_here == described


@schemathesis.serializer("application/x-ndjson")
def _lines(_context: Any, value: Any) -> bytes:
    """A body of lines is whatever text it is."""
    return str(value).encode("utf-8", "replace")


schema = schemathesis.openapi.from_dict(openapi.description()).exclude(path=ENDLESS)


# schemathesis's own way of making bodies that are wrong
@pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")
@schema.parametrize()
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
def test_answers_are_as_described(case: schemathesis.Case[Any], base_url: str) -> None:
    """Whatever is asked: no server error, and status, type and body are among those described.

    One check is left out: that what fits the schema is accepted. No schema knows which hosts there are.
    """
    case.call_and_validate(base_url=base_url, excluded_checks=[positive_data_acceptance])
