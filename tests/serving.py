"""A service over hosts that are small scripts, for tests of what it serves."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from fleet.model import Link
from fleet.service import Service
from fleet_agent.control.events import ApprovalRequested, Message
from fleet_agent.control.wire import Pending, Refused, Run, Said
from fleet_agent.wire import SCHEMA, Hello, RateLimit, Session, Snapshot, Tokens

WAITING = Session(
    tool="codex", id="01a1fbf3-0001-7000-8000-000000000001", state="waiting", detail="approval", since_at=40.0,
    confidence="fact", title="fix it", tokens=Tokens(10, 0, 5, 0, 15), context_used_tokens=50,
    context_window_tokens=100,
)  # fmt: skip
IDLE = Session(tool="codex", id="01a1fbf3-0002-7000-8000-000000000002", state="idle", detail="turn_done")
ODD = Session(tool='x",host="y', id="odd", state="working", detail="stuck")
LIMIT = RateLimit("codex", "a", "codex", 300, 95.0, 90.0, 1e9)
RUN = Run("calm-otter", "codex", "exec", "running", 40.0, id=IDLE.id, out_bytes=1234, by="me@here")
ASKS = ApprovalRequested("r1", "command", command="make", cwd="/w")
PENDING = Pending(WAITING.id, "codex", ASKS, since_at=40.0)
SAID = Said(Message("hello"), 50.0, 1)
RESOLVED = Refused("already_resolved", "it was approved by you@there", "see fleet approvals")
# Prints hello and the snapshot in its file, and that again for each line that it reads; ends with its stdin.
# With `control` it notes what it is asked, and fulfils it.
SCRIPT = """#!/bin/sh
echo '{hello}'
if [ "$1" = control ]; then
    while read -r line; do
        printf '%s\\n' "$line" >> '{asked}'
        case "$line" in
        *'"verb":"list"'* | *'"verb":"start"'* | *'"verb":"prune"'*) echo '{run}' ;;
        *'"verb":"approvals"'*) echo '{pending}' ;;
        *'"verb":"attach"'*) continue ;;
        *'"verb":"logs"'*) echo '{said}' ;;
        *'"verb":"decide"'*'"request_id":"old"'*) echo '{refused}' && continue ;;
        esac
        echo '{{"type":"done","message":"so it is"}}'
    done
    exit 0
fi
while cat '{snapshot}'; do read line || exit 0; done
"""


def write_agent(path: Path, *sessions: Session) -> str:
    """A script that is an agent with these sessions; the command for it."""
    hello = msgspec.json.encode(Hello(schema=SCHEMA, now=100.0)).decode()
    told = {
        name: msgspec.json.encode(reply).decode()
        for name, reply in (("run", RUN), ("pending", PENDING), ("said", SAID), ("refused", RESOLVED))
    }
    snapshot, asked = write_snapshot(path, *sessions), path.with_suffix(".asked")
    path.write_text(SCRIPT.format(hello=hello, snapshot=snapshot, asked=asked, **told))
    path.chmod(0o755)
    return str(path)


def write_snapshot(agent: Path, *sessions: Session) -> Path:
    """What an agent that runs already says from now on."""
    path = agent.with_suffix(".ndjson")
    path.write_bytes(msgspec.json.encode(Snapshot(1, 100.0, sessions, rate_limits=(LIMIT,))) + b"\n")
    return path


def write_config(path: Path, *sessions: Session) -> Path:
    """A hosts.toml with this machine, that has these sessions, and a host where nothing listens."""
    command = write_agent(path.parent / "agent", *sessions)
    path.write_text(
        f'[hosts.local]\nagent_command = "{command}"\ninterval_s = 60\n'
        '[hosts.dead]\naddress = "127.0.0.1"\nport = 1\nssh_config = "none"\n'
        '[groups]\nboth = ["local", "dead"]\n'
    )
    return path


@asynccontextmanager
async def served(config: Path, limit_s: float | None = 30.0) -> AsyncIterator[Service]:
    """The service, once every host has answered or failed; for no longer than `limit_s`."""
    service = Service(config)
    async with asyncio.timeout(limit_s), service.streams:
        service.begin()
        while any(host.link is Link.PENDING for host in service.streams.fleet.hosts.values()):
            await service.streams.changed(service.streams.fleet.version)
        yield service
