"""fleet_agent.control.verbs: what `fleet-agent control` is asked is answered, exact and audited, or refused."""

import json
import os
import subprocess
import sys

import pytest

from fleet_agent import serve
from fleet_agent.control import rotation
from lab.control import Control
from stand_in import SLEEPS, facts_of, target

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
    assert (refused["kind"], "cannot be audited" in refused["message"]) == ("not_possible", True)
    assert control.ask("list") == [{"type": "done"}]


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
