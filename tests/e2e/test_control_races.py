"""Two who answer one request of the real Codex at the same moment, over SSH: one of them does (PROMISES 28)."""

import asyncio
import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from fleet_agent.control.appserver.connection import DaemonConnection
from fleet_agent.control.wire import (
    Approvals,
    Decide,
    Delete,
    Done,
    Pending,
    Refused,
    Reply,
    Run,
    Start,
    Stop,
    Target,
)
from lab import inventory
from lab.controlled import Controlled
from lab.dialogues import Dialogue, dialogue
from lab.fleetd import Fleetd
from lab.mock_responses import MockResponses
from lab.waiting import wait_until

pytestmark = [pytest.mark.sshd, pytest.mark.codex]

ROUNDS = {"ours": 5, "others": 20}
WITHIN_S = 30.0


@pytest.fixture(scope="module")
def asking(tmp_path_factory: pytest.TempPathFactory, mock_api: MockResponses) -> Iterator[Controlled]:
    """A host whose Codex asks before it leaves its sandbox."""
    root = tmp_path_factory.mktemp("races")
    with Controlled(root, mock_api, approval="on-request", sandbox="read-only") as hosts:
        yield hosts


def prompt(word: str, rounds: int) -> str:
    """One that asks for one command after the other."""
    return " ;; ".join([*(f"ESC touch {word}{number}" for number in range(rounds)), f"SAY {word} is over"])


def request_for(replies: list[Reply], file: str) -> Pending | None:
    """The open request to make that file."""
    pending = [reply for reply in replies if isinstance(reply, Pending)]
    command = f"/bin/bash -lc 'touch {file}'"
    return next((one for one in pending if getattr(one.request, "command", None) == command), None)


async def waiting(one: Dialogue, name: str, text: str, cwd: Path) -> Run:
    """A run of this prompt, as soon as it asks."""
    assert await one.end(Start(prompt=text, mode="app-server", name=name, cwd=str(cwd))) == Done()
    await one.until(Approvals(), lambda replies: request_for(replies, f"{name}0"), WITHIN_S)
    run = await one.run(name)
    assert run
    return run


@pytest.mark.parametrize("whose", ["ours", "others"])
def test_of_two_answers_at_once_one_is_done(asking: Controlled, whose: str) -> None:
    """The same answer or different ones: one is done, the other already resolved, and it happens as was told.

    To a session that fleet runs, and to one of Codex's daemon that it only finds there.
    """

    async def rounds() -> None:
        async with dialogue(asking.fleet) as one, dialogue(asking.fleet) as two:
            run = await waiting(one, whose, prompt(whose, ROUNDS[whose]), asking.project)
            session = Target(id=run.id)
            if whose == "others":
                assert run.pid
                os.kill(run.pid, signal.SIGKILL)  # its thread goes on in the daemon, and is nobody's
                session = Target(id=run.id, pids=(await daemon_of(run),))
            for number in range(ROUNDS[whose]):
                await answered_twice(asking, (one, two), session, f"{whose}{number}", number)
            await one.end(Stop(Target(name=whose)))
            assert await one.end(Delete(Target(name=whose))) == Done()

    asyncio.run(rounds())


async def daemon_of(run: Run) -> int:
    """The process that holds it."""
    daemon = await DaemonConnection.open(run.home or "")
    assert daemon
    await daemon.close(0)
    assert daemon.server_pid
    return daemon.server_pid


async def answered_twice(
    asking: Controlled, askers: tuple[Dialogue, Dialogue], session: Target, made: str, number: int
) -> None:
    """One command is asked for, and decided by both."""
    asked = await askers[0].until(Approvals(), lambda replies: request_for(replies, made), WITHIN_S)
    decisions = [("accept", "accept"), ("accept", "decline"), ("decline", "accept")][number % 3]
    given = [Decide(session, decision, asked.request.request_id) for decision in decisions]
    replies = await asyncio.gather(*(asker.end(ask) for asker, ask in zip(askers, given, strict=True)))
    done = [decision for decision, reply in zip(decisions, replies, strict=True) if isinstance(reply, Done)]
    refused = [reply.kind for reply in replies if isinstance(reply, Refused)]
    assert (len(done), refused) == (1, ["already_resolved"]), (number, decisions, replies)
    file = asking.project / made
    if done == ["accept"]:
        wait_until(file.exists, f"{made} is made", timeout_s=WITHIN_S)
    assert file.exists() == (done == ["accept"])


def test_who_comes_second_is_told_by_every_way_in(asking: Controlled, tmp_path: Path) -> None:
    """Two commands of fleet at once: one ends with 3. Two HTTP requests at once: one is answered with 409."""
    where = ("--cwd", str(asking.project), "--mode", "app-server", "--name", "twice")
    asking.out("run", "h0001", *where, "--", prompt("twice", 2))
    request_id = asked_for(asking, "twice0")
    both = [asking.begin("approve", "h0001:twice", "--request", request_id) for _ in range(2)]
    errors = {ran.returncode: error for ran in both for _, error in [ran.communicate(timeout=WITHIN_S)]}
    assert sorted(errors) == [0, 3]
    assert re.search(r"\(any more\)|has just answered it|somebody else was first", errors[3])
    request_id = asked_for(asking, "twice1")
    body = {"decision": "accept", "request_id": request_id}
    with Fleetd(tmp_path / "daemon", inventory.tables(asking.fleet, control=True)) as daemon:
        daemon.until_link("up", "h0001")
        answers = asyncio.run(posted_twice(daemon.socket, "/v1/sessions/h0001:twice/decide", body))
    assert sorted(answer.status_code for answer in answers) == [200, 409]
    (refused,) = [answer for answer in answers if answer.status_code == 409]
    assert refused.json()["error"]["kind"] == "already_resolved"
    asking.out("delete", "--stop", "h0001:twice")


def asked_for(hosts: Controlled, file: str) -> str:
    """The id of the request to make that file, as soon as `fleet approvals` has it."""

    def look() -> str | None:
        listed = json.loads(hosts.out("approvals", "--json"))["approvals"]
        wanted = f"/bin/bash -lc 'touch {file}'"
        return next((asked["request_id"] for asked in listed if asked["command"] == wanted), None)

    return wait_until(look, f"{file} is asked for", timeout_s=WITHIN_S)


async def posted_twice(socket: Path, path: str, body: dict[str, str]) -> list[httpx2.Response]:
    """The answers to two requests that are sent at once."""
    transport = httpx2.AsyncHTTPTransport(uds=str(socket))
    async with httpx2.AsyncClient(transport=transport, base_url="http://localhost", timeout=60) as client:
        return await asyncio.gather(*(client.post(path, json=body) for _ in range(2)))
