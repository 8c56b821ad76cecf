"""That the real tools, in every release that is pinned, take what `commands` builds for them."""

import json
import subprocess
from typing import Any

import pytest

from fleet_agent.control import commands, wire
from lab.claude import ClaudeHome
from lab.codex import CODEX_VERSION, OLD_CODEX_VERSIONS, CodexHome
from lab.mock_anthropic import MockAnthropic
from lab.mock_responses import MockResponses

RELEASES = [
    pytest.param(CODEX_VERSION, marks=pytest.mark.codex),
    *(pytest.param(version, marks=pytest.mark.old_codex) for version in OLD_CODEX_VERSIONS),
]


def ran(command: commands.Command, home: CodexHome | ClaudeHome) -> list[dict[str, Any]]:
    """Run it to its end as `exec` does; the events that it printed."""
    environ = commands.environment(home.env, command)
    done = subprocess.run(
        command.argv, input=command.stdin, env=environ, cwd=home.project, capture_output=True, timeout=60
    )
    assert done.returncode == 0, done.stderr.decode()
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("version", RELEASES)
def test_codex_exec(mock_api: MockResponses, version: str) -> None:
    """A turn with every option, and its resumption by id with every option; the prompt comes by stdin."""
    with CodexHome(mock_api.url, version=version) as home:
        every = {"approval": "never", "sandbox": "read-only", "cwd": str(home.project), "model": "gpt-5.5"}
        start = wire.Start(prompt="SAY first -- 'one'", arguments=("--skip-git-repo-check",), **every)
        events = ran(commands.exec_command("codex", version, start, str(home.codex)), home)
        assert "first -- 'one'" in json.dumps(events)
        thread = next(event["thread_id"] for event in events if event["type"] == "thread.started")
        again = wire.Start(prompt="SAY second", resume=thread, **every)  # type: ignore[arg-type]
        events = ran(commands.exec_command("codex", version, again, str(home.codex)), home)
        assert [event["thread_id"] for event in events if event["type"] == "thread.started"] == [thread]
        assert "second" in json.dumps(events)
        assert len(home.rollouts()) == 1


@pytest.mark.claude
def test_claude_print(mock_anthropic: MockAnthropic, claude_home: ClaudeHome) -> None:
    """A turn with a tool as a stream of events, and its resumption by id; the prompt comes by stdin."""
    arguments = ("--allowedTools", "Bash(echo:*)", "Read")
    start = wire.Start(
        prompt="RUN echo one ;; SAY first", tool="claude", approval="default", arguments=arguments
    )
    events = ran(commands.exec_command("claude", None, start, str(claude_home.claude)), claude_home)
    assert (events[-1]["type"], events[-1]["result"]) == ("result", "first")
    session = events[-1]["session_id"]
    again = wire.Start(prompt="SAY second", tool="claude", model="opus", resume=session)
    events = ran(commands.exec_command("claude", None, again, str(claude_home.claude)), claude_home)
    assert (events[-1]["session_id"], events[-1]["result"]) == (session, "second")
    assert [path.stem for path in claude_home.transcripts()] == [session]
