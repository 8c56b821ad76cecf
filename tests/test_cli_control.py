"""The verbs of the command line that act on sessions, over an agent that is a script."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from serving import IDLE, WAITING, write_config


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    config = write_config(tmp_path / "hosts.toml", WAITING, IDLE)
    return os.environ | {
        "FLEET_CONFIG": str(config),
        "XDG_STATE_HOME": str(tmp_path / "state"),
        "FLEET_RUNTIME_DIR": str(tmp_path / "none"),
        "NO_COLOR": "1",
        "COLUMNS": "80",
    }


def fleet(environ: dict[str, str], *arguments: str, given: str = "") -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "fleet", *arguments]
    return subprocess.run(command, env=environ, input=given, capture_output=True, text=True, timeout=60)


def asked(tmp_path: Path) -> list[dict[str, Any]]:
    """What the host was asked, but for its lists."""
    lines = (tmp_path / "agent.asked").read_text().splitlines()
    return [request for request in map(json.loads, lines) if request["verb"] not in ("list", "approvals")]


def test_run_hands_on_all_that_was_said(tmp_path: Path, environ: dict[str, str]) -> None:
    """Its words behind --, or standard input; the key alone is printed."""
    ran = fleet(environ, "run", "local", "--mode", "tmux", "--cwd", "/w", "--", "fix", "it")
    assert (ran.returncode, ran.stdout) == (0, f"local:{IDLE.id}\n")
    fleet(
        environ, "run", "--host", "local", "--argument", "-x", "--fork", "id", "--", "-", given="two\nlines\n"
    )
    first, second = asked(tmp_path)
    assert (first["prompt"], first["mode"], first["cwd"]) == ("fix it", "tmux", "/w")
    assert (second["prompt"], second["arguments"], second["fork"]) == ("two\nlines\n", ["-x"], "id")
    assert "@" in first["by"]


def test_without_a_prompt_nothing_is_started(tmp_path: Path, environ: dict[str, str]) -> None:
    """But a terminal, which takes one later."""
    ran = fleet(environ, "run", "local")
    assert ran.returncode == 2
    assert "there is no prompt for local; write it behind the host, `fleet run HOST -- " in ran.stderr
    assert fleet(environ, "run", "local", "--", "-", given=" ").returncode == 2
    assert fleet(environ, "run", "local", "--mode", "tmux").returncode == 0
    assert "prompt" not in asked(tmp_path)[0]


def test_a_name_that_cannot_be_one(tmp_path: Path, environ: dict[str, str]) -> None:
    """It is told in the words of the command line, and no host is asked."""
    ran = fleet(environ, "run", "local", "--name", "my task", "--", "fix it")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.startswith("fleet: --name my task: must be 1 to 64 letters")
    assert not (tmp_path / "agent.asked").exists()


def test_numbers_are_those_of_the_last_listing(tmp_path: Path, environ: dict[str, str]) -> None:
    """ps lists runs, approvals lists requests; a number is a line of the one that came last."""
    assert "calm-otter" in fleet(environ, "ps").stdout
    assert fleet(environ, "send", "1", "hello").returncode == 0
    listed = fleet(environ, "approvals").stdout
    assert "$ make" in listed
    decided = fleet(environ, "approve", "1", "--session")
    assert decided.stdout == f"local:{WAITING.id}: so it is: make  (in /w)\n"
    send, decide = asked(tmp_path)
    assert (send["target"]["name"], send["text"]) == ("calm-otter", "hello")
    assert decide["target"]["id"] == WAITING.id
    assert (decide["decision"], decide["request_id"]) == ("accept_for_session", "r1")


def test_a_refusal_is_an_exit_code_and_a_reason(environ: dict[str, str]) -> None:
    """3: the host refuses; 2: no such session; 5: the host cannot be reached or may not be controlled."""
    late = fleet(environ, "deny", f"local:{WAITING.id}", "--request", "old")
    said = f"fleet: local:{WAITING.id}: it was approved by you@there; see fleet approvals\n"
    assert (late.returncode, late.stderr) == (3, said)
    assert fleet(environ, "stop", "zebra").returncode == 2
    refused = fleet(environ, "interrupt", "dead:x")
    assert refused.returncode == 3
    assert "control = true" in refused.stderr


def test_logs_in_words_and_as_json(environ: dict[str, str]) -> None:
    """A line an event; --json is the event itself."""
    assert fleet(environ, "logs", "calm").stdout.endswith("  hello\n")
    (line,) = fleet(environ, "logs", "calm", "--json").stdout.splitlines()
    assert json.loads(line) == {
        "type": "said",
        "event": {"type": "message", "text": "hello"},
        "at": 50.0,
        "seq": 1,
    }


def test_an_attachment_that_is_fed_by_a_program(tmp_path: Path, environ: dict[str, str]) -> None:
    """Each line is asked for in turn, what was open is known before; at the end of the input it detaches."""
    given = "hello\n/approve\n/what\n"
    ran = fleet(environ, "attach", f"local:{WAITING.id}", "--stderr", given=given)
    assert ran.returncode == 0, ran.stderr
    assert "[r1] make  (in /w)" in ran.stdout
    assert "there is no /what" in " ".join(ran.stdout.split())
    verbs = [request["verb"] for request in asked(tmp_path) if request["verb"] != "logs"]
    assert verbs == ["attach", "send", "decide"]


def test_lists_as_json(environ: dict[str, str]) -> None:
    """One document each, with the hosts that could not say."""
    runs = json.loads(fleet(environ, "ps", "--host", "all", "--json").stdout)
    assert [run["key"] for run in runs["runs"]] == [f"local:{IDLE.id}"]
    assert [(e["host"], e["kind"]) for e in runs["errors"]] == [("dead", "not_permitted")]
    pending = json.loads(fleet(environ, "approvals", "--json").stdout)
    assert [entry["request_id"] for entry in pending["approvals"]] == ["r1"]


def test_where_there_is_nothing_it_is_said(tmp_path: Path, environ: dict[str, str]) -> None:
    """For people, on standard error, with what to do; what programs read is empty, or the same JSON."""
    agent = tmp_path / "agent"
    text = agent.read_text().replace('"verb":"list"', '"verb":"x"').replace('"verb":"approvals"', '"verb":"y"')
    agent.write_text(text)
    for verb, hint in (("ps", "`fleet run` does"), ("approvals", "`fleet status` shows")):
        ran = fleet(environ, verb)
        assert (ran.returncode, ran.stdout) == (0, "")
        assert hint in ran.stderr
        assert len(ran.stderr.splitlines()) == 1
        ran = fleet(environ, verb, "--json")
        assert ran.stderr == ""
        assert [*json.loads(ran.stdout).values()] == [[], []]
    unreached = fleet(environ, "ps", "--host", "dead")
    assert "started no session" not in unreached.stderr
