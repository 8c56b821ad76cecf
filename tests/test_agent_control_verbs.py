"""fleet_agent.control.verbs and what they are made of: `fleet-agent control` with a stand-in for the tool.

The stand-in is a program named codex that runs its prompt as a shell script. What the real one does is in
e2e/test_control_exec.py; here are the things that it does not do when one wants it to.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fleet_agent import serve
from fleet_agent.control import commands, rotation
from fleet_agent.control.store import Facts, Store
from fleet_agent.control.wire import Message, Run, Said
from lab import procs
from lab.control import Control
from lab.waiting import wait_until

TOOL = """#!/bin/bash
if [ "$1" = --version ]; then echo "codex-cli 0.169.0"; exit; fi
started() { echo '{"type":"thread.started","thread_id":"'${1-0199}'"}'; }
says() { echo '{"type":"item.completed","item":{"id":"i","type":"agent_message","text":"'$1'"}}'; }
eval "$(cat)"
"""
SLEEPS = "started; sleep 300"


@pytest.fixture
def control(tmp_path: Path) -> Iterator[Control]:
    home = tmp_path / "home"
    (home / ".local/bin").mkdir(parents=True)
    tool = home / ".local/bin/codex"
    tool.write_text(TOOL)
    tool.chmod(0o755)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("CODEX_", "FLEET_"))}
    with Control(tmp_path / "state", {**inherited, "HOME": str(home)}) as control:
        yield control


def target(run: dict[str, Any]) -> dict[str, Any]:
    return {"name": run["name"], "pids": [run["pid"]]}


def facts_of(control: Control, name: str) -> Path:
    return control.runs / name / "run.json"


NO_REQUESTS = (
    *(
        "",
        "x",
        "[]",
        "{}",
        '{"verb":"erase"}',
        '{"verb":"start","name":"../x"}',
        '{"verb":"stop"}',
        "[" * 100_000,
    ),
    *('{"verb":"send","target":{"name":"a"},"text":""}', '{"verb":"list","by":"' + "x" * 5000 + '"}'),
)


def test_what_is_no_request_is_refused(control: Control) -> None:
    """Each line is answered, whatever it is, and the next one is heard."""
    for line in NO_REQUESTS:
        control.write_line(line)
        assert control.read()["kind"] == "bad_request", line
    assert control.ask("list") == [{"type": "done"}]


def test_a_request_that_is_too_long_is_refused(control: Control) -> None:
    """It is skipped, not kept in memory, and answered."""
    control.write("send", target={"name": "x"}, text="x" * (2 << 20))
    refused = control.read()
    assert (refused["kind"], "1024 KiB" in refused["message"]) == ("bad_request", True)


REFUSED_STARTS: tuple[tuple[dict[str, Any], str, str], ...] = (
    ({"cwd": "/no/such/place"}, "bad_request", "there is no directory /no/such/place"),
    ({"cwd": "here"}, "bad_request", "not an absolute path"),
    ({"mode": "magic"}, "bad_request", "there is no mode magic"),
    ({"tool": "no-such-tool"}, "tool_missing", "no-such-tool is not installed here"),
    ({"tool": "bash"}, "not_possible", "fleet reads no event stream of bash"),
    ({"prompt": None}, "bad_request", "needs a prompt"),
    ({"resume": "my-session"}, "bad_request", "not the id of a codex session: my-session"),
    ({"mode": "app-server", "tool": "bash"}, "not_possible", "bash has no app-server"),
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
    assert wait_until(lambda: control.run(run["name"]).get("id"), "it has an id", timeout_s=5) == "late"


def test_names_are_given_once(control: Control) -> None:
    """A taken one is refused; digits are a name like any other; without one it is two words."""
    run = control.start(SLEEPS, name="7")
    assert run["name"] == "7"
    (refused,) = control.ask("start", prompt=SLEEPS, name="7")
    assert (refused["kind"], "run named 7" in refused["message"]) == ("bad_request", True)
    assert control.start(SLEEPS)["name"].count("-") == 1
    assert control.ask("stop", target={"name": "7"})[-1]["type"] == "done"


def test_the_beginning_of_a_prompt_is_shown_where_privacy_allows(control: Control) -> None:
    """40 characters, without secrets; by default nothing, neither in the list nor in the answer to a start."""
    prompt = "started; : please use token=abcdef1234567890 and then do more and more"
    run = control.start(prompt)
    assert "prompt" not in run
    assert "prompt" not in control.one("list")
    for privacy in ("title", "text"):
        shown = control.one("list", privacy=privacy)["prompt"]
        assert shown.startswith("started; : please use token=[redacted]")
        assert len(shown) <= 40
    stored = facts_of(control, run["name"]).read_text()
    assert "abcdef1234567890" not in stored
    assert "and more" not in stored


def test_logs(control: Control) -> None:
    """All of it, what came since, stderr by itself; and of what runs to its end with `follow`."""
    run = control.start("started; says one; echo oops >&2; sleep 1; says two")
    whole = control.ask("logs", target=target(run), follow=True)[:-1]
    kinds = [line["event"]["type"] for line in whole]
    assert kinds == ["prompted", "session_started", "message", "message", "ended"]
    later = control.ask("logs", target={"name": run["name"]}, since_at=whole[3]["at"])[:-1]
    assert later == whole[3:]
    errors = control.ask("logs", target={"id": "0199"}, stderr=True)
    assert errors == [{"type": "stderr", "text": "oops\n"}, {"type": "done"}]
    assert (control.run(run["name"])["err_bytes"], control.ask("logs", target={"id": "0199"})[:-1]) == (
        5,
        whole,
    )


def test_who_follows_and_hangs_up_is_gone(control: Control) -> None:
    """The end of stdin ends a `follow`, not the run."""
    run = control.start("started; says one; sleep 300")
    control.write("logs", target=target(run), follow=True)
    assert [control.read()["event"]["type"] for _ in range(3)] == ["prompted", "session_started", "message"]
    assert control.hang_up() == 0
    assert control.run(run["name"])["state"] == "running"


def test_what_was_too_much_to_keep_is_a_gap(control: Control) -> None:
    """The log is bounded, the end of it is there, and how much is missing is said."""
    store = Store(str(control.runs.parent))
    entry = store.create(lambda name: Facts(Run(name, "codex", "exec", "exited", 1.0), "mark", ""), "long")
    log = rotation.Appender(entry.events_path, 2000)
    for seq in range(1, 1000):
        log.append(msgspec.json.encode(Said(Message(f"text {seq}"), 5.0, seq)) + b"\n")
    log.close()
    gap, *lines = control.ask("logs", target={"name": "long"})[:-1]
    assert (gap["event"]["type"], gap["event"]["source"]) == ("error", "stream")
    kept_bytes = sum(path.stat().st_size for path in Path(entry.directory).glob("events.ndjson.*"))
    assert gap["event"]["dropped_bytes"] + kept_bytes == control.run("long")["out_bytes"]
    assert kept_bytes <= 4000
    assert lines[-1]["event"]["text"] == "text 999"
    assert [line["seq"] for line in lines] == list(range(lines[0]["seq"], 1000))


def test_attach(control: Control, tmp_path: Path) -> None:
    """From now on; further requests are answered in between; the end of stdin ends it and nothing else."""
    go = tmp_path / "go"
    script = f"until [ -e {go} ]; do sleep 0.05; done"
    run = control.start(f"started; says before; {script}; says after; exec sleep 300")
    wait_until(lambda: len(control.events(run["name"])) == 3 or None, "it spoke", timeout_s=5)
    control.write("attach", target=target(run))
    control.write("send", target=target(run), text="hi")
    refused = control.read()
    assert (refused["kind"], "resume" in refused["hint"]) == ("not_possible", True)
    control.write("attach", target=target(run))
    assert control.read()["message"] == "a session is attached here already"
    go.touch()
    assert control.read()["event"]["text"] == "after"
    control.write("interrupt", target=target(run))
    assert {control.read()["type"], control.read()["type"]} == {"done", "said"}
    assert control.hang_up() == 0
    assert control.run(run["name"])["state"] == "exited"


def test_a_stop_never_hits_a_stranger(control: Control) -> None:
    """PROMISES 28: a pid that was written down and belongs to another process by now is left alone."""
    run = control.start(SLEEPS)
    path = facts_of(control, run["name"])
    with subprocess.Popen(["sleep", "300"], start_new_session=True) as stranger:
        try:
            os.kill(run["pid"], signal.SIGKILL)
            control.wait_for(run["name"], "lost")
            facts = json.loads(path.read_bytes())
            facts["run"]["pid"] = facts["tool_pid"] = stranger.pid
            path.write_text(json.dumps(facts))
            assert control.run(run["name"])["state"] == "lost"
            seen = {"name": run["name"], "pids": [stranger.pid]}
            assert control.one("stop", target=seen)["kind"] == "stale"
            assert control.one("stop", target={"name": run["name"]})["type"] == "done"
            assert control.one("delete", target={"name": run["name"]})["type"] == "done"
            assert stranger.poll() is None
        finally:
            stranger.kill()


def test_a_run_that_ignores_term_is_killed_after_the_grace(control: Control) -> None:
    """With all that it started; how it ended is written down."""
    script = "setsid bash -c \"trap '' TERM; sleep 300\" & while :; do sleep 1; done"
    run = control.start(f"trap '' TERM; started; {script}")
    begun_s = time.monotonic()
    assert control.one("stop", target=target(run), grace_s=0.5) == {"type": "done", "message": "stopped"}
    assert time.monotonic() - begun_s >= 0.5
    assert not any(p.alive() for p in procs.carrying(FLEET_RUN=run["name"], XDG_STATE_HOME=str(control.state)))
    assert control.run(run["name"])["signal"] == signal.SIGKILL
    assert control.one("stop", target={"name": run["name"]})["message"] == "it had ended before"


def test_a_supervisor_survives_a_hangup_and_ends_in_order(control: Control) -> None:
    """SIGHUP is nothing to it, nor to the tool; on SIGTERM it ends the tool and writes down how that ended."""
    run = control.start(SLEEPS)
    os.kill(run["pid"], signal.SIGHUP)
    assert os.getsid(run["pid"]) not in (os.getsid(0), run["pid"])
    assert os.readlink(f"/proc/{run['pid']}/fd/0") == os.readlink(f"/proc/{run['pid']}/fd/2") == "/dev/null"
    assert os.readlink(f"/proc/{run['pid']}/cwd") == "/"
    time.sleep(0.2)
    assert control.run(run["name"])["state"] == "running"
    os.kill(run["pid"], signal.SIGTERM)
    assert control.wait_for(run["name"], "exited")["signal"] == signal.SIGTERM


def test_delete_and_prune(control: Control) -> None:
    """What runs is not deleted by mistake, what ended can always be; prune forgets what is old enough."""
    ended, running = control.start("started; exit 3"), control.start(SLEEPS)
    control.wait_for(ended["name"], "exited")
    assert control.one("delete", target={"name": running["name"]})["kind"] == "not_possible"
    assert control.ask("prune", older_s=3600.0) == [{"type": "done", "message": "0 deleted"}]
    assert control.one("delete", target={"name": ended["name"], "id": ended["id"]})["type"] == "done"
    ended = control.start("started; exit 3")
    control.wait_for(ended["name"], "exited")
    pruned, done = control.ask("prune")
    assert (pruned["name"], pruned["exit_code"], done["message"]) == (ended["name"], 3, "1 deleted")
    assert control.one("delete", target={"name": running["name"]}, stop=True)["type"] == "done"
    assert control.ask("list") == [{"type": "done"}]
    assert list(control.runs.iterdir()) == []


def test_a_target_is_exact(control: Control) -> None:
    """No prefix, no guess: what is not there is refused with what is; another session or process is stale."""
    run = control.start(SLEEPS, name="calm-otter")
    unknown = control.one("stop", target={"name": "calm"})
    assert (unknown["kind"], unknown["candidates"]) == ("unknown_session", ["calm-otter"])
    assert control.one("stop", target={"id": "019"})["kind"] == "unknown_session"
    assert control.one("stop", target={})["kind"] == "bad_request"
    assert control.one("stop", target={"name": "calm-otter", "id": "0198"})["kind"] == "stale"
    assert control.one("interrupt", target={"id": "0199", "pids": [1]})["kind"] == "stale"
    facts = json.loads(facts_of(control, "calm-otter").read_bytes())
    both = {"id": "0199", "pids": [run["pid"], facts["tool_pid"]]}
    assert control.one("stop", target=both)["message"] == "stopped"


def test_the_running_one_of_several_with_one_session(control: Control) -> None:
    """A resumed session has the id of the run before: the one that lives is meant, else the newest."""
    old = control.start("started; exit")
    control.wait_for(old["name"], "exited")
    new = control.start("started; says new; sleep 300")
    newest = control.start("started; exit")
    control.wait_for(newest["name"], "exited")
    assert control.ask("stop", target={"id": "0199", "pids": [new["pid"]]})[-1]["type"] == "done"
    assert control.run(new["name"])["state"] == "exited"


def test_every_change_is_audited_and_no_text(control: Control) -> None:
    """PROMISES 28: who did what when, also what was refused; reading leaves no trace."""
    run = control.start("started; sleep 300 # a-secret", by="me@there")
    control.ask("list")
    control.ask("logs", target={"name": run["name"]})
    control.ask("send", target=target(run), text="another-secret", by="you@there")
    control.ask("stop", target=target(run))
    log = rotation.Lines(str(control.state / "fleet-agent/audit.ndjson")).read(1 << 20)
    assert b"secret" not in b"".join(log)
    done = [json.loads(line) for line in log if b'"outcome":"begun"' not in line]
    assert [(line["verb"], line["outcome"], line.get("by")) for line in done] == [
        ("start", "done", "me@there"),
        ("send", "not_possible", "you@there"),
        ("stop", "done", None),
    ]
    assert len(log) == 2 * len(done)
    assert {line["name"] for line in done} == {run["name"]}


def test_what_cannot_be_audited_is_not_done(control: Control) -> None:
    """It fails closed."""
    (control.state / "fleet-agent/audit.lock").mkdir(parents=True)
    refused = control.one("start", prompt=SLEEPS)
    assert (refused["kind"], "cannot be audited" in refused["message"]) == ("internal", True)
    assert control.ask("list") == [{"type": "done"}]


def test_a_run_that_starts_another_does_not_own_it(control: Control) -> None:
    """Stopping the outer one leaves the inner one alone, though it was started from inside of it."""
    ask = json.dumps({"verb": "start", "prompt": SLEEPS, "name": "inner"})
    script = f"started; echo '{ask}' | {sys.executable} -m fleet_agent control >&2; sleep 300"
    outer = control.start(script, name="outer")
    wait_until(lambda: facts_of(control, "inner").exists() or None, "it is started", timeout_s=10)
    wait_until(lambda: control.run("inner").get("id"), "it runs", timeout_s=10)
    assert control.one("stop", target=target(outer))["type"] == "done"
    assert control.run("inner")["state"] == "running"


def test_no_approvals(control: Control) -> None:
    """A run of mode exec never waits for anybody."""
    run = control.start(SLEEPS)
    *others, done = control.ask("approvals")
    assert done["type"] == "done"
    assert run["name"] not in [pending.get("name") for pending in others]


def test_a_reader_that_goes_away_is_no_error(control: Control) -> None:
    """A closed stdout ends the agent quietly."""
    control.start("started; for i in {1..2000}; do says xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done")
    command = [sys.executable, "-m", "fleet_agent", "control"]
    given = json.dumps({"verb": "logs", "target": {"id": "0199"}, "follow": True}) + "\n"
    with subprocess.Popen(
        command,
        env=control.env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as agent:
        assert agent.stdin is not None
        assert agent.stdout is not None
        assert agent.stderr is not None
        agent.stdin.write(given)
        agent.stdin.flush()
        agent.stdout.readline()
        agent.stdout.close()
        assert agent.stderr.read() == ""
        assert agent.wait(10) == 0


@pytest.mark.parametrize("asked", ["control", "control-supervisor", "control --privacy text"])
def test_a_restricted_key_may_not_act(asked: str) -> None:
    """PROMISES 9: the forced command refuses it, however it is asked for."""
    assert serve.arguments(f"fleet-agent {asked}", "text") is None
    assert serve.arguments(f"exec /bin/sh -c 'x' fleet-agent {asked}", "text") is None
    environ = {**os.environ, "SSH_ORIGINAL_COMMAND": f"fleet-agent {asked}"}
    done = subprocess.run(
        [sys.executable, "-m", "fleet_agent", "serve"],
        env=environ,
        capture_output=True,
        text=True,
        input="{}\n",
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "this key may only observe" in done.stderr


def test_reading_never_imports_what_acts() -> None:
    """The start-up of the reading verbs is as it was."""
    code = (
        "import sys; from fleet_agent.__main__ import main; main(['snapshot'])\n"
        "names = [n for n in sys.modules if n.startswith(('fleet_agent.control', 'asyncio'))]\n"
        "print(names, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stderr == "[]\n"


def test_no_variable_of_another_session_is_handed_on(control: Control) -> None:
    """A run that is started from inside a session is not taken for a part of it; its own marks are there."""
    for variable in commands.SESSION_VARIABLES:
        control.env[variable] = "outer"
    run = control.start("started; env > $HOME/env; sleep 300")
    path = Path(control.env["HOME"]) / "env"
    wait_until(lambda: (path.exists() and path.stat().st_size) or None, "it wrote", timeout_s=5)
    environ = dict(line.partition("=")[::2] for line in path.read_text().splitlines())
    assert environ["FLEET_RUN"] == run["name"]
    assert environ["FLEET_RUN_ID"]
    assert not environ.keys() & set(commands.SESSION_VARIABLES)
    assert environ["PATH"].split(":")[0] == str(path.parent / ".local/bin")
