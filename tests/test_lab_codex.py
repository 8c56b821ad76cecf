"""The Codex lab itself: the real CLI gets into the states that a test asks for, and leaves no trace of them."""

import json
from pathlib import Path
from typing import Any

import pytest

from lab import LabError, procs
from lab.codex import CODEX_VERSION, CodexHome
from lab.mock_responses import MockResponses
from lab.waiting import wait_until

pytestmark = pytest.mark.codex


def lines(rollout: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in rollout.read_text().splitlines()]


def kinds(rollout: Path) -> list[str]:
    """What each line is: the type of its payload, or its own."""
    return [line["payload"].get("type", line["type"]) for line in lines(rollout)]


def locks(home: CodexHome) -> list[Path]:
    """The locks of the threads that are open, each named by its thread."""
    return [lock for lock in (home.home / "thread-writer-locks").glob("*.lock") if lock.stem[0] != "."]


def written(home: CodexHome, kind: str) -> Path:
    """The home's only rollout, as soon as it has a line of this kind."""

    def look() -> Path | None:
        return next((rollout for rollout in home.rollouts() if kind in kinds(rollout)), None)

    return wait_until(look, f"a rollout has a line {kind}", timeout_s=30)


def test_exec_that_finishes(codex_home: CodexHome, mock_api: MockResponses) -> None:
    """`codex exec` runs a real tool and a whole turn, and leaves one rollout of the pinned version."""
    before = len(mock_api.response_ids)
    done = codex_home.exec("TOOL echo from-the-tool ;; SAY all done")
    assert (done.returncode, done.stdout) == (0, "all done\n"), done.stderr
    (rollout,) = codex_home.rollouts()
    assert lines(rollout)[0]["payload"]["cli_version"] == CODEX_VERSION
    assert lines(rollout)[0]["payload"]["git"]["branch"] == "lab"
    assert "from-the-tool" in rollout.read_text()
    assert kinds(rollout)[-1] == "task_complete"
    assert len(set(mock_api.response_ids)) == len(mock_api.response_ids) > before
    assert procs.carrying(CODEX_HOME=str(codex_home.home)) == []


def test_exec_in_mid_turn(codex_home: CodexHome) -> None:
    """A background `codex exec` can be held in a slow tool call."""
    started = codex_home.start_exec("TOOL sleep 300 ;; SAY never")
    tool = codex_home.wait_for_tool()
    assert "sleep 300" in tool.describe()
    rollout = written(codex_home, "function_call")
    assert "function_call_output" not in kinds(rollout)
    assert started.poll() is None


def test_tui_idle(codex_home: CodexHome) -> None:
    """A terminal UI that was not prompted yet holds a thread's lock without a rollout; a turn makes one."""
    tui = codex_home.tui()
    lock = wait_until(lambda: next(iter(locks(codex_home)), None), "Codex locks a thread", timeout_s=30)
    assert codex_home.rollouts() == []
    tui.type("SAY hello from the mock")
    rollout = written(codex_home, "task_complete")
    assert lock.stem in rollout.name
    tui.wait_for("hello from the mock")
    assert codex_home.tools() == []


@pytest.mark.parametrize("daemon", [False, True], ids=["own", "daemon"])
def test_tui_in_mid_turn(codex_home: CodexHome, daemon: bool) -> None:
    """A terminal UI can be held in a slow tool call, run by itself or by Codex's shared daemon."""
    tui = codex_home.tui(daemon=daemon)
    tui.type("TOOL sleep 300 ;; SAY never")
    tool = codex_home.wait_for_tool()
    assert "sleep 300" in tool.describe()
    tui.wait_for("esc to interrupt")
    assert "function_call_output" not in kinds(written(codex_home, "function_call"))
    running = "\n".join(process.describe() for process in procs.carrying(CODEX_HOME=str(codex_home.home)))
    assert ("--managed-daemon" in running) == daemon


def test_nothing_survives_its_home(mock_api: MockResponses) -> None:
    """Leaving a home ends the terminal, Codex and its tools, and removes every file."""
    with CodexHome(mock_api.url) as home:
        home.tui().type("TOOL sleep 300 ;; SAY never")
        home.wait_for_tool()
        assert procs.carrying(CODEX_HOME=str(home.home)) != []
    assert procs.carrying(CODEX_HOME=str(home.home)) == []
    assert not home.root.exists()


def test_a_screen_without_the_text_is_shown(codex_home: CodexHome) -> None:
    """A wait in vain fails with what the screen shows instead."""
    with pytest.raises(LabError, match=r"(?s)'no such text' was not on the screen within 0.2 s.*OpenAI Codex"):
        codex_home.tui().wait_for("no such text", timeout_s=0.2)
