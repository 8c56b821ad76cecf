"""Secrets in everything that a host's sessions hold, and what comes out of fleet (PROMISES 13)."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fake_codex import FakeCodex, begun, event, item, meta, rollout_path, thread_id
from lab import inventory
from lab.emitters import script
from lab.fleetd import Fleetd
from lab.sshfleet import SshFleet, install_agent
from secret_shapes import CORPUS, leaked, plain

pytestmark = pytest.mark.sshd

VIEWS = ("/v1/fleet", "/v1/hosts", "/metrics")
COMMANDS = (("status",), ("status", "--json"), ("status", "--format", "csv"), ("hosts",), ("hosts", "--json"))


def test_no_secret_leaves_a_host(ssh_fleet: Callable[..., SshFleet], tmp_path: Path) -> None:
    """The corpus in prompts, paths, branches, argv, error output: in no answer, event, metric, view or log.

    With `privacy = "text"`, under which titles and prompts may leave: the rest of the words does come.
    """
    lab = ssh_fleet(hosts=2)
    install_agent(lab, "h0001")
    home = lab.home("h0001") / ".codex"
    for number, text in enumerate(CORPUS):
        for titled in (True, False):
            write_rollout(home, f"marked-{number} {plain(text)}", titled=titled)
    (tmp_path / "said").write_text("\n".join(map(plain, CORPUS[-2:])))
    chatty = script(tmp_path / "chatty", f"cat {tmp_path}/said >&2; exit 3")
    tables = inventory.tables(lab, privacy="text", interval_s=0.5)
    tables["hosts"] |= {"h0002": tables["hosts"]["h0002"] | {"agent_command": str(chatty)}}
    arguments = ["exec", *map(plain, CORPUS)]
    with FakeCodex(tmp_path, [rollout_path(home, thread_id())], arguments, {"CODEX_HOME": str(home)}) as codex:
        codex.start(f"CODEX_THREAD_ID={thread_id()} bash -c 'sleep 60; :' --password hunter2")
        with Fleetd(tmp_path / "daemon", tables) as daemon, daemon.events(query="?after=x") as listener:
            daemon.until_link("up", "h0001")
            daemon.until_link("down", "h0002")
            titles = [row["title"] for row in daemon.json("/v1/fleet")["sessions"]]
            said = [event.data.decode() for event in listener.events]
            said += [daemon.ask(path).body.decode() for path in VIEWS]
            done = [daemon.run(*command, timeout_s=60) for command in COMMANDS]
            said += [text for one in done for text in (one.stdout, one.stderr)]
            said.append(daemon.log())
    assert sum((title or "").startswith("marked-") for title in titles) >= len(CORPUS)
    assert any("exit status 3: " in text for text in said)
    assert [leaked(text) for text in said if leaked(text)] == []


def write_rollout(home: Path, text: str, *, titled: bool) -> None:
    """A session that ended just now, with this text wherever one can be; untitled, its directory names it."""
    now, thread = time.time(), thread_id()
    lines = meta(now, thread, cwd=f"/srv/{text}", git={"branch": text}, originator=text, model_provider=text)
    lines += begun(now) + (event(now, "user_message", message=text) if titled else b"")
    lines += item(now, "function_call", call_id="c", name=text, arguments=text)
    rollout_path(home, thread).write_bytes(lines)
