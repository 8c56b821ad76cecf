"""fleet_agent.control.appserver.client: requests, and what becomes of them."""

import pytest

from app_server_session import run
from fake_app_server import FakeConnection, Json
from fleet_agent.control.appserver.client import Client
from fleet_agent.control.appserver.protocol import OVERLOADED, RpcError, Unreadable


def test_an_overloaded_server_is_asked_again() -> None:
    """It has done nothing yet, so that is safe; any other error is final."""
    busy = [{"code": OVERLOADED, "message": "busy"}] * 2

    def overloaded(connection: FakeConnection, message: Json) -> None:
        if message["method"] == "busy" and busy:
            connection.say({"id": message["id"], "error": busy.pop()})
        elif message["method"] == "wrong":
            connection.say({"id": message["id"], "error": {"code": -32600, "message": "no"}})
        else:
            connection.say({"id": message["id"], "result": {"ok": True}})

    async def story() -> None:
        connection = FakeConnection(overloaded)
        client = Client(connection, lambda _: None)
        assert await client.call("busy", {}, dict) == {"ok": True}
        assert connection.methods() == ["busy", "busy", "busy"]
        with pytest.raises(RpcError, match="no"):
            await client.call("wrong", {}, dict)
        assert connection.methods().count("wrong") == 1
        await client.close()

    run(story())


def test_a_lost_connection_ends_every_request() -> None:
    """At once, and what was never answered is an error, not a wait."""

    async def story() -> None:
        connection = FakeConnection(lambda connection, _: connection.lose())
        took: list[object] = []
        client = Client(connection, took.append)
        connection.say(b"\xff")
        with pytest.raises(ConnectionError, match="hung up"):
            await client.call("anything", {}, dict)
        assert isinstance(took[0], Unreadable)
        with pytest.raises(ConnectionError):
            await client.call("more", {}, dict)
        await client.close()

    run(story())


def test_a_server_that_does_not_answer_is_not_waited_for_for_ever() -> None:
    """The request has a deadline of its own."""

    async def story() -> None:
        client = Client(FakeConnection(lambda *_: None), lambda _: None)
        with pytest.raises(TimeoutError, match="no answer to slow"):
            await client.call("slow", {}, dict, timeout_s=0.05)
        await client.close()

    run(story())
