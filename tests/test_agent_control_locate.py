"""fleet_agent.control.locate and identity: which session is meant by what lies on the disk."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet_agent import native
from fleet_agent.control import identity, locate
from fleet_agent.control.groups import Started, started
from fleet_agent.control.store import Facts, prompt_digest
from fleet_agent.control.wire import Run
from lab.waiting import wait_until

ONE, TWO = "01a1fe8d-844f-7de0-8128-813cb5db861b", "ecfc808d-65bc-4529-a6c2-9db27d1395e9"
MARK = "0123456789abcdef" * 2

# What the real ones leave in their terminals: Codex 0.169 with its daemon and without, Claude Code 2.1.329.
LAST_WORDS = {
    f"Disconnected from this task. Any running work continues.\nTo reconnect, run:\n  codex resume {ONE}\n"
    "Stop the current turn: run codex agents, select this task, and press x.\nToken usage so far: ...": ONE,
    f"Token usage: total=5,301\nTo continue this session, run:\n  codex resume {ONE}\n": ONE,
    f"Resume this session with:\nclaude --permission-mode default --resume {TWO}\n\n\n\nPane is dead": TWO,
    f"- say codex resume {ONE} to go on\n": None,
    f"codex resume {ONE}\n" + "more\n" * identity.LAST_LINES: None,
    "codex resume my-thread\n": None,
    "": None,
}


@pytest.fixture
def claude(tmp_path: Path) -> Iterator[Started]:
    """A process with the CLAUDE_CONFIG_DIR `tmp_path`."""
    with subprocess.Popen(["sleep", "300"], env={"CLAUDE_CONFIG_DIR": str(tmp_path)}) as process:
        # In the midst of its exec its environment reads as empty.
        wait_until(lambda: native.variables(process.pid, ["CLAUDE_CONFIG_DIR"]), "it runs", timeout_s=20)
        found = started(process.pid)
        assert found
        (tmp_path / "sessions").mkdir()
        yield found
        process.kill()


def facts(process: Started, session_id: str = TWO, **more: object) -> str:
    return json.dumps({"pid": process.pid, "sessionId": session_id, "procStart": str(process.ticks), **more})


@pytest.mark.parametrize(("screen", "found"), LAST_WORDS.items())
def test_what_a_tool_names_when_it_ends(screen: str, found: str | None) -> None:
    """In its own words, at the end; not what was said in the session."""
    assert identity.said_at_the_end(screen) == found


def test_the_session_of_a_claude(claude: Started, tmp_path: Path) -> None:
    """By the file of its very process, of which only the first value counts, as it is rewritten in place."""
    home, path = str(tmp_path), tmp_path / f"sessions/{claude.pid}.json"
    (tmp_path / f"sessions/{claude.pid}.0a1b.key").write_text(facts(claude, ONE))
    assert locate.claude_session(claude.pid) is None
    path.write_text(facts(claude) + '"status":"busy"}')
    assert locate.claude_session(claude.pid) == (TWO, home)
    assert locate.claude_process(TWO, [home, "/nowhere"]) == claude
    assert locate.claude_process(ONE, [home]) is None
    for wrong in (facts(claude, procStart="1"), facts(claude, "x"), "[]", "", "[" * 100_000):
        path.write_text(wrong)
        assert locate.claude_session(claude.pid) is None


def test_where_a_session_is_written_down(tmp_path: Path) -> None:
    """In the first home that has it; put away or packed, too; and nothing but a whole id is looked for."""
    first, second = tmp_path / "a[1]", tmp_path / "b"
    kept = second / f"sessions/2026/11/21/rollout-2026-11-21T02-33-43-{ONE}.jsonl"
    away = first / f"archived_sessions/rollout-2026-11-21T02-33-43-{ONE}.jsonl.zst"
    claude = first / f"projects/-home-dev/{TWO}.jsonl"
    homes = [str(first), str(second)]
    for path in (kept, claude):
        path.parent.mkdir(parents=True)
        path.touch()
    assert locate.record("codex", ONE, homes) == str(kept)
    away.parent.mkdir()
    away.touch()
    assert locate.record("codex", ONE, homes) == str(away)
    taken_back = kept.with_stem(f"{kept.stem}_{TWO}")
    taken_back.touch()
    assert locate.record("codex", ONE, homes[1:]) == str(taken_back)
    assert locate.record("claude", TWO, homes) == str(claude)
    for tool, session_id in (
        ("codex", TWO),
        ("claude", "*"),
        ("codex", "../x"),
        ("opencode", ONE),
        ("codex", None),
    ):
        assert locate.record(tool, session_id, homes) is None


def test_the_sessions_that_were_given_a_prompt(tmp_path: Path) -> None:
    """Those with the run's own, since it began: Codex dates its prompts to the second."""
    run = Run("calm-otter", "codex", "tmux", "running", 1000.5)
    known = Facts(run, MARK, "", prompt_digest=prompt_digest("fix it\nall", MARK))
    assert identity._prompted(known, str(tmp_path)) == set()
    given = [
        (ONE, 1000, "fix it\nall"),
        (TWO, 1000, "fix it"),
        (TWO, 900, "fix it\nall"),
        ("x", 1000, "fix it\nall"),
    ]
    lines = [json.dumps({"session_id": i, "ts": ts, "text": text}) for i, ts, text in given]
    (tmp_path / "history.jsonl").write_text("\n".join([*lines, "no JSON", "[]", ""]))
    assert identity._prompted(known, str(tmp_path)) == {ONE}
    assert "fix" not in known.prompt_digest


def test_when_a_thread_was_created() -> None:
    """Its id begins with the time; what is no thread's id has none."""
    assert identity._created_at(ONE) == pytest.approx(1_795_272_049.7, abs=0.1)
    assert identity._created_at("pid-17-3") == 0.0
