"""fleet_agent.control.watching: what runs there are, and what they said."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec

from fleet_agent.control import rotation
from fleet_agent.control.events import Message
from fleet_agent.control.store import Facts, Store
from fleet_agent.control.wire import Run, Said
from lab.control import Control
from lab.waiting import wait_until
from stand_in import SLEEPS, facts_of, target


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
    later = control.ask("logs", target={"name": run["name"]}, since_at=whole[3]["at"])
    assert later == [*whole[3:], {"type": "done"}]
    errors = control.ask("logs", target={"id": "0199"}, stderr=True)
    assert errors == [{"type": "stderr", "text": "oops\n", "end_bytes": 5}, {"type": "done"}]
    assert (control.run(run["name"])["err_bytes"], control.ask("logs", target={"id": "0199"})[:-1]) == (
        5,
        whole,
    )


def test_logs_go_on_where_they_were_read_to(control: Control) -> None:
    """Behind a number, from a byte of stderr: each once, whoever reads it in two pieces."""
    run = control.start("started; says one; echo oops >&2; says two")
    whole = control.ask("logs", target=target(run), follow=True)[:-1]
    for seq in range(len(whole) + 1):
        assert control.ask("logs", target=target(run), after_seq=seq) == [*whole[seq:], {"type": "done"}]
    errors = control.ask("logs", target=target(run), stderr=True, from_bytes=2)
    assert errors[0] == {"type": "stderr", "text": "ps\n", "end_bytes": 5}


def test_who_attaches_again_misses_nothing(control: Control) -> None:
    """Behind the last number, or from the moment of the first time: what was said meanwhile is there."""
    run = control.start("started; says one; says two; exec sleep 300")

    def spoken() -> list[dict[str, Any]] | None:
        found = control.ask("logs", target=target(run))[:-1]
        return found if len(found) == 4 else None

    whole = wait_until(spoken, "it spoke", timeout_s=20)
    for again in ({"after_seq": 2}, {"since_at": whole[2]["at"]}):
        control.write("attach", target=target(run), **again)
        assert [control.read(), control.read()] == whole[2:4]
        assert control.hang_up() == 0


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
    seen = lines[0]["seq"]
    assert control.ask("logs", target={"name": "long"}, after_seq=seen - 1)[:-1] == lines
    assert control.ask("logs", target={"name": "long"}, after_seq=seen - 2)[0]["event"]["type"] == "error"


def test_attach(control: Control, tmp_path: Path) -> None:
    """From now on; further requests are answered in between; the end of stdin ends it and nothing else."""
    go = tmp_path / "go"
    script = f"until [ -e {go} ]; do sleep 0.05; done"
    run = control.start(f"started; says before; {script}; says after; exec sleep 300")
    wait_until(lambda: len(control.events(run["name"])) == 3, "it spoke", timeout_s=20)
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
