"""A reader of Codex's sessions on this machine, as an agent has one, and what tests put before it."""

import time
from pathlib import Path

from fake_codex import (
    event,
    item,
    meta,
)
from fleet_agent.processes import ProcessTable
from fleet_agent.tools import Found
from fleet_agent.tools.codex.find import Codex
from fleet_agent.wire import Session


class Host:
    """One user's view of this machine: an agent's reader, and the processes it looks at. `home`: CODEX_HOME."""

    def __init__(self, home: Path, privacy: str = "meta") -> None:
        self.home = home
        home.mkdir(exist_ok=True)
        self.codex = Codex(privacy, {"CODEX_HOME": str(home)})
        self.table = ProcessTable(self.codex.is_tool, self.codex.variables)

    def look(self) -> Found:
        self.table.scan()
        return self.codex.find(self.table, time.time())

    def sessions(self) -> dict[str, Session]:
        """Those of this test's own homes: other tests run on this machine too."""
        near = str(self.home.parent)
        return {s.id: s for s in self.look().sessions if (s.home or "").startswith(near)}

    def state(self, thread: str) -> tuple[str, str | None, str]:
        session = self.sessions()[thread]
        return session.state, session.detail, session.confidence


def open_turn(thread: str, age_s: float, *, asks: bool = False, policy: str = "on-request") -> bytes:
    """A rollout in the middle of a turn: a shell call `call_1` is open since `age_s`."""
    at = time.time() - age_s
    arguments = '{"cmd":"x","sandbox_permissions":"require_escalated"}' if asks else '{"cmd":"x"}'
    return (
        meta(at, thread, cwd="/tmp", source="cli", originator="codex-tui")
        + event(at, "task_started", turn_id="t")
        + event(at, "x").replace(b'"event_msg"', b'"turn_context"').replace(
            b'{"type":"x"}', f'{{"approval_policy":"{policy}","model":"m"}}'.encode()
        )
        + item(at, "function_call", call_id="call_1", name="exec_command", arguments=arguments)
    )  # fmt: skip


def write(path: Path, data: bytes, first: bytes = b"") -> None:
    with path.open("ab") as file:
        file.write(first + data)
