"""fleet_agent.control.starting: runs of a stand-in for the tool, and what cannot be started."""

import json
import sys
import time
from pathlib import Path
from typing import Any

from fleet_agent.control import commands, locate
from lab.control import Control
from lab.waiting import wait_until
from stand_in import SLEEPS, facts_of, target

REFUSED_STARTS: tuple[tuple[dict[str, Any], str, str], ...] = (
    ({"cwd": "/no/such/place"}, "bad_request", "there is no directory /no/such/place"),
    ({"cwd": "here"}, "bad_request", "not an absolute path"),
    ({"mode": "magic"}, "bad_request", "there is no mode magic"),
    ({"tool": "no-such-tool"}, "tool_missing", "no-such-tool is not installed here"),
    ({"tool": "bash"}, "not_possible", "fleet reads no event stream of bash"),
    ({"prompt": None}, "bad_request", "needs a prompt"),
    ({"resume": "my-session"}, "bad_request", "not the id of a codex session: my-session"),
    ({"mode": "app-server", "tool": "bash"}, "not_possible", "bash has no app-server"),
    ({"mode": "app-server", "resume": "a", "fork": "b"}, "bad_request", "either resumed or forked"),
)


def test_what_cannot_be_started_is_refused_before_anything_is_made(control: Control) -> None:
    """The reason, what would work, and no trace in the list of runs."""
    for request, kind, said in REFUSED_STARTS:
        (refused,) = control.ask("start", **{"prompt": "started", **request})
        assert (refused["kind"], said in refused["message"]) == (kind, True), refused
        assert refused["hint"], refused
    assert not control.runs.exists()


def test_a_tool_that_cannot_be_executed_leaves_no_directory(control: Control, tmp_path: Path) -> None:
    """A spawn that fails is told with its reason, and purged."""
    broken = tmp_path / "home/.local/bin/codex"
    broken.write_text("#!/no/such/interpreter\n")
    (refused,) = control.ask("start", prompt="x")
    assert (refused["kind"], str(broken) in refused["message"]) == ("tool_failed", True)
    assert list(control.runs.iterdir()) == []


def test_a_program_that_is_no_tool_is_not_run_to_be_asked_for_its_release(
    control: Control, tmp_path: Path
) -> None:
    """What another program does when it is run with --version, nobody knows."""
    program = tmp_path / "home/.local/bin/deploy"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/deployed\n")
    program.chmod(0o755)
    assert control.one("start", prompt="x", tool="deploy")["kind"] == "not_possible"
    assert control.one("start", prompt="x", tool=str(program))["kind"] == "not_possible"
    assert not (tmp_path / "deployed").exists()


def test_a_tool_that_ends_at_once_is_refused_with_its_last_words(control: Control) -> None:
    """Its standard error output, without secrets and control characters; or its own word for the failure."""
    script = r"printf 'no good: \033[31m%s\n' token=abcdef1234567890 >&2; exit 7"
    (refused,) = control.ask("start", prompt=script)
    assert refused["kind"] == "tool_failed"
    assert "exit status 7: no good:" in refused["message"]
    assert "abcdef" not in refused["message"]
    assert "\033" not in refused["message"]
    (refused,) = control.ask("start", prompt="""echo '{"type":"error","message":"out of luck"}'; kill -9 $$""")
    assert "signal 9: out of luck" in refused["message"]
    assert control.ask("list") == [{"type": "done"}]


def test_a_slow_start_is_answered_without_an_id(control: Control) -> None:
    """A few seconds, then the run as it is; its id comes later."""
    begun_s = time.monotonic()
    run = control.start("sleep 5.5; started late; sleep 300")
    assert time.monotonic() - begun_s > 4
    assert "id" not in run
    assert wait_until(lambda: control.run(run["name"]).get("id"), "it has an id", timeout_s=20) == "late"


def test_names_are_given_once(control: Control) -> None:
    """A taken one is refused; digits are a name like any other; without one it is two words."""
    run = control.start(SLEEPS, name="7")
    assert run["name"] == "7"
    (refused,) = control.ask("start", prompt=SLEEPS, name="7")
    assert (refused["kind"], "run named 7" in refused["message"]) == ("bad_request", True)
    assert control.start(SLEEPS)["name"].count("-") == 1
    assert control.ask("stop", target={"name": "7"})[-1]["type"] == "done"


def test_a_run_that_starts_another_does_not_own_it(control: Control) -> None:
    """Stopping the outer one leaves the inner one alone, though it was started from inside of it."""
    ask = json.dumps({"verb": "start", "prompt": SLEEPS, "name": "inner"})
    script = f"started; echo '{ask}' | {sys.executable} -m fleet_agent control >&2; sleep 300"
    outer = control.start(script, name="outer")
    wait_until(lambda: facts_of(control, "inner").exists(), "it is started", timeout_s=10)
    wait_until(lambda: control.run("inner").get("id"), "it runs", timeout_s=10)
    assert control.one("stop", target=target(outer))["type"] == "done"
    assert control.run("inner")["state"] == "running"


def test_no_variable_of_another_session_is_handed_on(control: Control) -> None:
    """A run that is started from inside a session is not taken for a part of it; its own marks are there."""
    for variable in commands.SESSION_VARIABLES:
        control.env[variable] = "outer"
    run = control.start("started; env > $HOME/env; sleep 300")
    path = Path(control.env["HOME"]) / "env"
    wait_until(lambda: path.exists() and path.stat().st_size, "it wrote", timeout_s=20)
    environ = dict(line.partition("=")[::2] for line in path.read_text().splitlines())
    assert environ["FLEET_RUN"] == run["name"]
    assert environ["FLEET_RUN_ID"]
    assert not environ.keys() & set(commands.SESSION_VARIABLES)
    assert environ["PATH"].split(":")[0] == str(path.parent / ".local/bin")


def test_a_session_goes_on_in_its_own_directory(tmp_path: Path) -> None:
    """As its tool has written it down: Codex in a first line that is long, Claude Code in any of its lines."""
    session_id = "01a1fbf3-d4da-78f3-8f80-8b9a0611d5f6"
    rollout = tmp_path / f"sessions/2026/01/01/rollout-2026-01-01T00-00-00-{session_id}.jsonl"
    transcript = tmp_path / f"projects/-srv-x/{session_id}.jsonl"
    for file in (rollout, transcript):
        file.parent.mkdir(parents=True)
    meta = {"type": "session_meta", "payload": {"instructions": "x" * 90_000, "cwd": "/srv/c"}}
    rollout.write_text(json.dumps(meta) + "\n")
    transcript.write_text('nonsense\n{"type":"summary"}\n{"type":"user","cwd":"/srv/x"}\n')
    assert locate.directory_of("codex", session_id, [str(tmp_path)]) == "/srv/c"
    assert locate.directory_of("claude", session_id, [str(tmp_path)]) == "/srv/x"
    assert locate.directory_of("codex", session_id[:-1] + "7", [str(tmp_path)]) is None
    assert locate.directory_of("htop", session_id, [str(tmp_path)]) is None
