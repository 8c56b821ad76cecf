"""Runs of mode exec on this host: the real Codex, started, followed and ended by `fleet-agent control`."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import procs
from lab.codex import CodexHome, obstacle
from lab.control import Control
from lab.mock_responses import MockResponses
from lab.waiting import wait_until

pytestmark = [
    pytest.mark.codex,
    pytest.mark.skipif(obstacle() is not None, reason=obstacle() or ""),
]


def control_in(home: CodexHome) -> Control:
    """An agent whose tools are those of this home. What an SSH server gives as PATH has no codex in it."""
    bin_directory = Path(home.env["HOME"]) / ".local/bin"
    bin_directory.mkdir(parents=True, exist_ok=True)
    (bin_directory / "codex").symlink_to(home.codex)
    return Control(home.root / "state", home.env)


@pytest.fixture
def control(codex_home: CodexHome) -> Iterator[Control]:
    with control_in(codex_home) as control:
        yield control


def test_a_run_from_its_start_to_its_end(codex_home: CodexHome, control: Control) -> None:
    """Start answers with its id; what it says and how it ended stays; resume and fork take that id."""
    run = control.start("TOOL echo hello ;; SAY done", cwd=str(codex_home.project), by="me@there", name="first")
    assert (run["name"], run["mode"], run["tool_version"]) == ("first", "exec", codex_home.version)
    assert run["home"] == str(codex_home.home)
    ended = control.wait_for("first", "exited")
    assert ended["exit_code"] == 0
    assert run["created_at"] < ended["ended_at"]
    events = control.events("first")
    kinds = [event["type"] for event in events]
    assert kinds[:3] == ["prompted", "session_started", "turn_started"]
    assert kinds[-2:] == ["turn_ended", "ended"]
    (tool,) = [event for event in events if event["type"] == "tool_ended"]
    assert (tool["exit_code"], tool["output"].strip()) == (0, "hello")
    assert events[1]["session_id"] == run["id"] == codex_home.rollouts()[0].stem[-36:]
    again = control.start("SAY again", cwd=str(codex_home.project), resume=run["id"])
    assert again["id"] == run["id"]
    control.wait_for(again["name"], "exited")
    assert {"type": "message", "text": "again", "item_id": "item_0"} in control.events(again["name"])
    assert len(codex_home.rollouts()) == 1
    copy = control.start("SAY copied", fork=run["id"])
    assert copy["cwd"] == str(codex_home.project)
    assert copy["id"] not in (None, run["id"])
    assert control.wait_for(copy["name"], "exited")["exit_code"] == 0
    assert len(codex_home.rollouts()) == 2
    both = control.one("start", prompt="x", cwd=str(codex_home.project), fork=run["id"], resume=run["id"])
    assert both["kind"] == "bad_request"


def test_the_prompt_is_in_no_argv(codex_home: CodexHome, control: Control) -> None:
    """Every user of a machine can read every argv."""
    run = control.start("TOOL sleep 30 # a-secret-word", cwd=str(codex_home.project))
    tool = codex_home.wait_for_tool()
    ours = [p for p in procs.carrying(FLEET_RUN=run["name"]) if p.pid != tool.pid]
    shown = [p.describe() for p in (*ours, procs.process(run["pid"]))]
    assert any("codex" in line and "exec" in line for line in shown)
    assert not any("a-secret-word" in line for line in shown if "sleep 30" not in line)


def test_nothing_is_lost_when_the_asker_is_killed(codex_home: CodexHome, control: Control) -> None:
    """kill -9 of the requester in mid-turn, even before it answered: the run goes on, all of it is written."""
    control.write("start", prompt="TOOL sleep 1 ;; SAY after", name="alone", cwd=str(codex_home.project))
    wait_until((control.runs / "alone/control.sock").exists, "its supervisor", timeout_s=20)
    control.kill()
    assert control.wait_for("alone", "exited")["exit_code"] == 0
    events = control.events("alone")
    assert [event["text"] for event in events if event["type"] == "message"] == ["after"]
    assert events[-1] == {"type": "ended", "exit_code": 0}
    seqs = [said["seq"] for said in control.ask("logs", target={"name": "alone"})[:-1]]
    assert seqs == list(range(1, len(seqs) + 1))


def test_stop_ends_the_whole_run_and_nothing_else(codex_home: CodexHome, control: Control) -> None:
    """The tool, its command in a session of its own, what that left behind; and its end is on record."""
    run = control.start("TOOL setsid sleep 300 & sleep 300", cwd=str(codex_home.project))
    other = control.start("TOOL sleep 300", cwd=str(codex_home.project), name="other")
    wait_until(lambda: len(codex_home.tools()) >= 4, "all commands run", timeout_s=20)
    ours = [p for p in procs.carrying(FLEET_RUN=run["name"]) if p.alive()]
    theirs = [p for p in procs.carrying(FLEET_RUN="other") if p.alive()]
    assert len(ours) >= 3
    assert control.ask("stop", target={"name": run["name"], "pids": [run["pid"]]})[-1]["type"] == "done"
    assert [p.describe() for p in ours if p.alive()] == []
    assert all(p.alive() for p in theirs)
    stopped = control.run(run["name"])
    assert (stopped["state"], stopped["signal"]) == ("exited", signal.SIGTERM)
    assert control.run("other")["state"] == "running"
    assert control.ask("stop", target={"name": run["name"], "pids": [run["pid"]]})[-1]["kind"] == "stale"
    assert control.ask("delete", target={"name": "other"})[-1]["kind"] == "not_possible"
    assert control.ask("delete", target={"name": "other", "id": other["id"]}, stop=True)[-1]["type"] == "done"
    assert not any(p.alive() for p in theirs)


def test_a_killed_supervisor_takes_its_tool_along(codex_home: CodexHome, control: Control) -> None:
    """A tool must not run forever unseen: after kill -9 of its supervisor it ends, and the run reads lost."""
    run = control.start("TOOL sleep 300", cwd=str(codex_home.project))
    codex_home.wait_for_tool()
    ours = procs.carrying(FLEET_RUN=run["name"])
    os.kill(run["pid"], signal.SIGKILL)
    lost = control.wait_for(run["name"], "lost")
    assert "exit_code" not in lost
    codex = [p for p in ours if procs.program(p.pid) in ("codex", "node")]
    assert procs.wait_gone(codex, timeout_s=5) == []
    assert control.ask("stop", target={"name": run["name"]})[-1]["type"] == "done"
    assert not any(p.alive() for p in ours)
    assert control.ask("delete", target={"name": run["name"]})[-1]["type"] == "done"


def test_an_interrupt_ends_the_turn_in_the_transcript(codex_home: CodexHome, control: Control) -> None:
    """A run of mode exec can be interrupted; it takes no second prompt, and says what would work."""
    run = control.start("TOOL sleep 300", cwd=str(codex_home.project))
    codex_home.wait_for_tool()
    refused = control.one("send", target={"name": run["name"], "pids": [run["pid"]]}, text="more")
    assert (refused["kind"], "resume" in refused["hint"]) == ("not_possible", True)
    assert control.one("interrupt", target={"name": run["name"]})["type"] == "done"
    assert control.wait_for(run["name"], "exited")["exit_code"] == 1
    assert '"turn_aborted"' in codex_home.rollouts()[0].read_text()


def test_a_turn_that_fails_ends_the_run(codex_home: CodexHome, control: Control) -> None:
    """Each failure of the model API: exit status 1, the turn told as failed with Codex's words, and once."""
    failures = ("429", "500", "QUOTA", "DISCONNECT")
    for failure in failures:
        control.start(f"FAIL {failure}", cwd=str(codex_home.project), name=failure)
    for failure in failures:
        assert control.wait_for(failure, "exited")["exit_code"] == 1
        events = control.events(failure)
        (turn,) = [event for event in events if event["type"] == "turn_ended"]
        assert (turn["end"], bool(turn["message"])) == ("failed", True)
        told = [event for event in events if event["type"] == "error" and event.get("source") != "warning"]
        assert [error["message"] for error in told if not error.get("retrying")] == [turn["message"]]


def test_what_codex_refuses_is_told_and_leaves_nothing(codex_home: CodexHome, control: Control) -> None:
    """A tool that ends at once is a refusal with its own words, not a dead run in the list."""
    refused = control.one("start", prompt="x", cwd=str(codex_home.project), arguments=["--nonsense"])
    assert (refused["kind"], "--nonsense" in refused["message"]) == ("tool_failed", True)
    refused = control.one("start", prompt="x", cwd=str(codex_home.root))  # no git repository
    assert (refused["kind"], "--cwd" in refused["hint"]) == ("tool_failed", True)
    unknown = "0199aaaa-bbbb-7ccc-8ddd-eeeeffff0000"
    refused = control.one("start", prompt="x", cwd=str(codex_home.project), resume=unknown)
    assert (refused["kind"], unknown in refused["message"]) == ("tool_failed", True)
    assert control.ask("list") == [{"type": "done"}]
    assert list(control.runs.iterdir()) == []


def test_a_session_that_fleet_did_not_start(codex_home: CodexHome, control: Control) -> None:
    """A `codex exec` of somebody else: it takes no word, and is stopped if it is the one that was seen."""
    started = codex_home.start_exec("TOOL sleep 300", "--json")
    tool = codex_home.wait_for_tool()
    (thread,) = codex_home.threads()
    pid = next(
        p for p in procs.carrying(CODEX_HOME=str(codex_home.home)) if procs.program(p.pid) == "codex"
    ).pid
    seen = {"id": thread, "pids": [pid]}
    for verb, more in (("send", {"text": "hi"}), ("interrupt", {})):
        refused = control.one(verb, target=seen, **more)
        assert refused["kind"] == "not_possible"
        assert f"fleet run --fork {thread}" in refused["hint"]
    assert control.one("stop", target={"id": thread})["kind"] == "stale"
    assert control.one("stop", target={"id": thread, "pids": [os.getpid()]})["kind"] == "stale"
    assert tool.alive()
    assert control.one("stop", target=seen) == {"type": "done", "message": "stopped"}
    started.wait(10)
    assert not tool.alive()
    assert control.one("delete", target=seen)["kind"] == "unknown_session"


@pytest.mark.old_codex
@pytest.mark.parametrize("version", ["0.145.0", "0.155.0"])
def test_older_releases(mock_api: MockResponses, version: str) -> None:
    """Releases before the daemon are run just so."""
    reason = obstacle(version)
    if reason is not None:
        pytest.skip(reason)
    with CodexHome(mock_api.url, version=version) as home, control_in(home) as control:
        run = control.start("SAY done", cwd=str(home.project), approval="never", sandbox="read-only")
        assert run["tool_version"] == version
        assert control.wait_for(run["name"], "exited")["exit_code"] == 0
        texts = [event["text"] for event in control.events(run["name"]) if event["type"] == "message"]
        assert texts == ["done"]
        if version == "0.145.0":
            refused = control.one("start", prompt="x", cwd=str(home.project), fork=run["id"])
            assert (refused["kind"], "mode app-server" in refused["hint"]) == ("not_possible", True)
