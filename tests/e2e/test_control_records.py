"""Logs by what the real Codex and the real Claude Code write down, and which session a terminal has."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from fleet_agent.control import targets
from lab.claude import ClaudeHome
from lab.codex import CodexHome
from lab.control import Control, Reply
from lab.mock_anthropic import MockAnthropic
from lab.mock_responses import MockResponses
from lab.waiting import wait_until

WITHIN_S = 30.0


@contextmanager
def host(home: CodexHome | ClaudeHome) -> Iterator[Control]:
    """`fleet-agent control` of who has this home, with a tmux server of its own."""
    programs, server = Path(home.env["HOME"]) / ".local/bin", home.root / "server"
    programs.mkdir(parents=True)
    server.mkdir()
    program = home.codex if isinstance(home, CodexHome) else home.claude
    (programs / ("codex" if isinstance(home, CodexHome) else "claude")).symlink_to(program)
    env = {name: value for name, value in home.env.items() if not name.startswith(("FLEET_", "TMUX"))}
    with Control(home.root / "state", {**env, "TMUX_TMPDIR": str(server)}) as control:
        yield control


@contextmanager
def followed(control: Control, **target: object) -> Iterator[Control]:
    """`logs -f` over another connection to the same host."""
    other = Control(control.state, control.env)
    try:
        other.write("logs", target=target, follow=True)
        yield other
    finally:
        other.kill()
        other._runtime.cleanup()


def release(api: MockResponses, name: str) -> None:
    """Let the model go on, as soon as it is held."""
    wait_until(lambda: api.holds(name), f"the model is asked to hold {name}", timeout_s=WITHIN_S)
    api.release(name)


def texts(lines: Sequence[Reply], kind: str = "message") -> list[str]:
    return [line["event"]["text"] for line in lines if line["type"] == "said" and line["event"]["type"] == kind]


def until(control: Control, text: str) -> list[Reply]:
    """What comes, to the line with this text."""
    lines: list[Reply] = []
    while text not in [*texts(lines), *texts(lines, "prompted")]:
        lines.append(control.read())
        assert lines[-1]["type"] == "said", lines[-1]
    return lines


def listed(control: Control, session_id: str) -> Reply:
    """The row of a session in a reading of the host."""
    (row,) = (session for session in targets.sessions() if session.id == session_id)
    return {"pids": list(row.pids), "state": row.state, "tool": row.tool}


def prompted_by_hand(control: Control, home: CodexHome) -> None:
    """A terminal without a prompt: its session is known with the first one, as it is the only one there."""
    before = home.threads()
    run = control.one("start", mode="tmux", cwd=str(home.project))
    assert "id" not in run
    wait_until(lambda: home.threads() - before, "it has a thread", timeout_s=WITHIN_S)
    assert control.one("send", target={"name": run["name"]}, text="SAY by hand")["type"] == "done"
    found = wait_until(lambda: control.run(run["name"]).get("id"), "its session is known", timeout_s=WITHIN_S)
    assert found in home.threads() - before


def now_of(control: Control, name: str, before: str) -> str | None:
    """The session that a terminal shows, if it is another than before."""
    session_id = str(control.run(name)["id"])
    return session_id if session_id != before else None


def approve(control: Control, home: CodexHome, run: Reply) -> None:
    """What it asks is told once, by its name, and answered by its session's id."""
    control.ask("send", target={"name": run["name"]}, text=f"ESC touch {home.root}/made ;; SAY approved")

    def pending() -> list[Reply] | None:
        return [one for one in control.ask("approvals") if one.get("session_id") == run["id"]] or None

    (asked,) = wait_until(pending, "it asks", timeout_s=WITHIN_S)
    assert asked["name"] == run["name"]
    assert f"touch {home.root}/made" in asked["request"]["command"]
    decided = {"decision": "accept", "request_id": asked["request"]["request_id"]}
    assert control.one("decide", target={"id": run["id"]}, **decided)["type"] == "done"


@pytest.mark.codex
@pytest.mark.parametrize("daemon", [False, True], ids=["own", "daemon"])
def test_a_codex_in_tmux(mock_api: MockResponses, daemon: bool) -> None:
    """Its name and its session's id are one session, with all that it said, until after its end."""
    own, first = ([], "") if daemon else (["--no-daemon"], "TOOL echo hi ;; ")
    asks = {"approval": "on-request", "sandbox": "read-only"} if daemon else {}
    with CodexHome(mock_api.url, **asks) as home, host(home) as control:
        hold = f"{home.root}-1"
        prompt = f"{first}HOLD {hold} SAY the first"
        run = control.start(prompt, mode="tmux", cwd=str(home.project), arguments=own)
        assert run["id"] in home.threads()
        named = {"id": run["id"], "pids": listed(control, run["id"])["pids"]}
        with followed(control, id=run["id"]) as follower:
            release(mock_api, hold)
            said = until(follower, "the first")
            printed = [line["event"]["output"] for line in said if line["event"]["type"] == "tool_ended"]
            assert printed == ([] if daemon else ["hi\n"])
            sent = control.one("send", target=named, text="SAY the second")
            assert sent["type"] == "done", sent
            late = until(follower, "the second")
            if daemon:
                approve(control, home, run)
                until(follower, "approved")
        numbers = [line["seq"] for line in [*said, *late]]
        assert numbers == sorted(set(numbers))
        again = control.ask("logs", target={"name": run["name"]}, after_seq=said[-1]["seq"])
        assert texts(again) == ["the second", *["approved"] * daemon]
        assert control.run(run["name"])["id"] == run["id"]
        assert control.one("stop", target={"id": run["id"]})["message"] == "stopped"
        assert control.run(run["name"])["state"] == "exited"
        assert texts(control.ask("logs", target={"id": run["id"]})) == ["the first", *texts(again)]
        if daemon:
            prompted_by_hand(control, home)


@pytest.mark.codex
def test_sessions_of_others(codex_home: CodexHome, mock_api: MockResponses) -> None:
    """A `codex exec` and a terminal UI that fleet did not start: followed to their end, and read after it."""
    home = codex_home
    with host(home) as control:
        hold = f"{home.root}-1"
        exec_ = home.start_exec(f"HOLD {hold} SAY from exec")
        (thread,) = wait_until(
            lambda: home.threads() if home.rollouts() else None, "it has begun", timeout_s=WITHIN_S
        )
        control.write("logs", target={"id": thread}, follow=True)
        until(control, f"HOLD {hold} SAY from exec")
        release(mock_api, hold)
        ended = until(control, "from exec")[-1]
        exec_.wait(WITHIN_S)
        while (last := control.read())["type"] == "said":
            pass
        assert last["type"] == "done"
        kinds = [line["event"]["type"] for line in control.ask("logs", target={"id": thread})[:-1]]
        assert kinds[:3] == ["session_started", "turn_started", "prompted"]
        assert texts(control.ask("logs", target={"id": thread}, since_at=ended["at"])) == ["from exec"]
        assert control.one("logs", target={"id": thread}, stderr=True)["kind"] == "not_possible"

        terminal = home.tui()
        (other,) = home.threads() - {thread}
        shown = control.ask("logs", target={"id": other})
        assert "OpenAI Codex" in texts(shown)[0], shown  # nothing is written down before its first prompt
        with followed(control, id=other) as follower:
            terminal.type("SAY from a terminal")
            until(follower, "from a terminal")
        terminal.close()
        assert texts(control.ask("logs", target={"id": other})) == ["from a terminal"]
        assert control.one("logs", target={"id": "no-such"})["kind"] == "unknown_session"


@pytest.mark.claude
def test_a_claude_in_tmux(mock_anthropic: MockAnthropic, claude_home: ClaudeHome) -> None:
    """The same of a Claude Code, also when it has come to another session by /clear."""
    home = claude_home
    with host(home) as control:
        asked: dict[str, Any] = {"mode": "tmux", "tool": "claude", "cwd": str(home.project)}
        run = control.start("RUN echo hi ;; SAY the first", approval="acceptEdits", **asked)
        assert run["home"] == str(home.config)
        claude = {"tool": "claude", "id": run["id"]}
        with followed(control, **claude) as follower:
            said = until(follower, "the first")
            ran = [line["event"]["command"] for line in said if line["event"]["type"] == "tool_ended"]
            assert ran == ["echo hi"]
            assert control.one("send", target=claude, text="SAY the second")["type"] == "done"
            until(follower, "the second")
        assert [path.stem for path in home.transcripts()] == [run["id"]]
        assert control.one("send", target=claude, text="/clear")["type"] == "done"
        now = wait_until(
            lambda: now_of(control, run["name"], run["id"]), "it has another session", timeout_s=WITHIN_S
        )
        assert control.one("send", target={"tool": "claude", "id": now}, text="SAY cleared")["type"] == "done"
        with followed(control, name=run["name"]) as follower:
            assert "the second" not in texts(until(follower, "cleared"))
        assert control.one("stop", target={"name": run["name"]})["message"] == "stopped"
        assert control.run(run["name"])["id"] == now
        assert "the first" in texts(control.ask("logs", target=claude))
