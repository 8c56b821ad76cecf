"""fleet_agent.control.ending: runs are stopped and forgotten, and nothing else is hit."""

import json
import os
import signal
import subprocess
import time

from lab import procs
from lab.control import Control
from stand_in import SLEEPS, facts_of, target


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
    run = control.start("started; exec sleep 300")  # one process: a shell could tell its child's end as its own
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
