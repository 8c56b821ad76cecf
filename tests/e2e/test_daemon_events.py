"""What the daemon tells as it happens: each change once, numbered, resumable, and a gap is said."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from fleet import client
from fleet.cli.daemon_events import Event, parsed
from fleet.journal import MAX_EVENTS
from fleet.text import FORBIDDEN
from lab.emitters import restless, script, steady
from lab.fleetd import Fleetd
from lab.waiting import wait_until

INTERVAL_S = 0.2


def tables(agent: Path) -> dict[str, Any]:
    return {"defaults": {"agent_command": str(agent), "interval_s": INTERVAL_S}, "hosts": {}}


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Fleetd]:
    """One whose only session changes at each reading; its title counts how often."""
    with Fleetd(tmp_path / "daemon", tables(steady(tmp_path / "emitter", changes_every=1))) as fleetd:
        fleetd.until_link("up")
        yield fleetd


def consecutive(numbers: list[int]) -> bool:
    return numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def test_each_change_is_told_once_and_in_order(daemon: Fleetd) -> None:
    """Numbers without a hole; every state of the session, none twice; each client the same."""
    with daemon.events() as first, daemon.events() as second:
        wait_until(lambda: len(second.events) > 10, "changes come", timeout_s=10)
        for listener in (first, second):
            assert listener.events[0].type == "hello"
            assert consecutive(listener.seqs())
            assert consecutive([int(told["entry"]["title"]) for told in listener.told("session")])
    assert set(second.events[1:9]) <= set(first.events)


def test_a_client_that_comes_back_misses_nothing(daemon: Fleetd) -> None:
    """With the last id that it saw it gets what followed, once (Last-Event-ID, or ?after=)."""
    with daemon.events() as before:
        wait_until(lambda: len(before.events) > 4, "changes come", timeout_s=10)
    time.sleep(3 * INTERVAL_S)
    with daemon.events(before.events[-1].id) as after:
        wait_until(lambda: len(after.events) > 8, "more changes come", timeout_s=10)
    assert after.events[0].id == before.events[-1].id  # the hello says where it goes on
    assert consecutive([*before.seqs(), *after.seqs()[1:]])
    titles = [int(told["entry"]["title"]) for told in before.told("session") + after.told("session")]
    assert consecutive(titles)


def test_an_answer_and_the_events_after_it_leave_nothing_out(daemon: Fleetd) -> None:
    """The fleet comes with the number of the event after which others are newer."""
    answer = daemon.ask("/v1/fleet")
    (row,) = json.loads(answer.body)["sessions"]
    time.sleep(3 * INTERVAL_S)
    with daemon.events(answer.headers["fleet-event-id"]) as listener:
        wait_until(lambda: listener.told("session"), "a change comes", timeout_s=10)
    assert int(listener.told("session")[0]["entry"]["title"]) == int(row["title"]) + 1


def test_an_id_that_is_not_ours_is_a_gap(daemon: Fleetd) -> None:
    """Another run's, or no id at all: it is said, and the events go on from now."""
    ours = daemon.json("/v1/daemon")["event_id"].partition("-")[0]
    for last_id in ("deadbeef-7", "nonsense", f"{ours}-", f"{ours}-%C2%B2", f"{ours}-{'9' * 5000}"):
        with daemon.events(query=f"?after={last_id}") as listener:
            wait_until(lambda: len(listener.events) > 1, "events come", timeout_s=10)
        assert listener.events[0].type == "gap"
        assert listener.told("gap")[0]["reason"] == "the daemon was started anew since"
        assert consecutive(listener.seqs())


def test_a_client_that_reads_too_slowly_is_told_what_it_missed(tmp_path: Path) -> None:
    """The journal is bounded: whoever reads more slowly than the fleet changes is told of the gap."""
    agent = restless(tmp_path / "emitter", 400, MAX_EVENTS // 400 + 20)  # a busy daemon reads two as one
    events: list[Event] = []
    with Fleetd(tmp_path / "daemon", tables(agent)) as fleetd, client.connected(fleetd.socket, 10) as deaf:
        deaf.sendall(client.request("GET", "/v1/events?after=-"))
        wait_until(lambda: newest(fleetd) > MAX_EVENTS + 1500, "the journal is full", timeout_s=60)
        last = newest(fleetd)
        for event in parsed(deaf.makefile("rb")):
            events.append(event)
            if number(event.id) >= last:
                break
    assert events[0].type == "gap"  # of the id that was none
    (at,) = [i for i, event in enumerate(events) if event.type == "gap" and i > 0]
    assert consecutive([number(event.id) for event in events[:at]])
    assert consecutive([number(event.id) for event in events[at:]])
    missed = number(events[at].id) - number(events[at - 1].id)
    assert json.loads(events[at].data)["reason"] == f"{missed} events are no longer kept"


def newest(fleetd: Fleetd) -> int:
    return number(fleetd.json("/v1/daemon")["event_id"])


def number(event_id: str) -> int:
    return int(event_id.rpartition("-")[2])


def test_watch_goes_on_across_a_restart_and_says_the_gap(daemon: Fleetd) -> None:
    """`fleet watch --ndjson`: each change once with its number; after kill -9 and a new daemon, a gap."""
    command = [sys.executable, "-m", "fleet", "watch", "--ndjson"]
    lines: list[dict[str, Any]] = []
    with subprocess.Popen(command, env=daemon.environ, stdout=subprocess.PIPE) as watch:
        assert watch.stdout is not None
        reader = threading.Thread(target=lambda out: lines.extend(map(json.loads, out)), args=(watch.stdout,))
        reader.start()
        try:
            wait_until(has(lines, "session", 3), "it prints changes", timeout_s=15)
            daemon.signal(signal.SIGKILL)
            daemon.ended(5)
            daemon.start()
            wait_until(has(lines, "gap", 1), "it says the gap", timeout_s=15)
            seen = len(lines)
            wait_until(lambda: len(lines) > seen + 3, "it goes on", timeout_s=15)
        finally:
            watch.terminate()
            reader.join(10)
    at = next(i for i, line in enumerate(lines) if line["type"] == "gap")
    for run in (lines[:at], lines[at:]):
        assert consecutive([line["seq"] for line in run])
        assert len({line["id"].partition("-")[0] for line in run}) == 1


def has(lines: list[dict[str, Any]], type_: str, count: int) -> Callable[[], bool]:
    return lambda: sum(line["type"] == type_ for line in list(lines)) >= count


EVIL = r"\u001b]0;evil\u0007\u009b31m\u202eevil\u200f\u007f\udb40\udc41"  # as in JSON; the last is a tag
COLOURS = re.compile("\x1b\\[[0-9;]*m")  # fleet's own


def test_nothing_of_a_host_comes_out_raw(tmp_path: Path) -> None:
    """C0, C1, DEL, bidi and tags of a host: in no answer, event, metric, view, message or log (PROMISES 4)."""
    evil = f'{{"tool":"codex","id":"{EVIL}","state":"{EVIL}","title":"{EVIL}","cwd":"{EVIL}"}}'
    raw = json.loads(f'"{EVIL}"')
    body = f"snapshot '{evil}'\nsleep 1.5\nprintf '%s' '{raw}' >&2\nexit 3"
    with Fleetd(tmp_path / "daemon", tables(script(tmp_path / "emitter", body))) as daemon:
        with daemon.events(query="?after=x") as listener:
            daemon.until_link("stale", "local", timeout_s=20)
            said = [event.data.decode() for event in listener.events]
        said += [daemon.ask(path).body.decode() for path in ("/v1/fleet", "/v1/hosts", "/metrics")]
        for command in (["status"], ["status", "--format", "csv"], ["hosts"], ["status", "--json"]):
            done = daemon.run(*command)
            said += [done.stdout, done.stderr]
        said.append(daemon.log())
        shown = [on_terminal(daemon, command) for command in ("status", "hosts")]
    assert all("evil" in text for text in shown)
    assert any("exit status 3: \ufffd]0;evil" in text for text in said)
    assert all(COLOURS.search(text) for text in shown)
    said += [COLOURS.sub("", text).replace("\r\n", "\n") for text in shown]
    for text in said:
        assert not {char for char in raw if not char.isprintable()} & set(text), text
        assert not FORBIDDEN.search(text.replace("\n", "").replace("\t", "")), text
        assert not {"\\u001b", "\\u009b", "\\u202e"} & {text[i : i + 6] for i in range(len(text))}


def on_terminal(daemon: Fleetd, command: str) -> str:
    """What a command of fleet shows on a terminal."""
    ours, theirs = pty.openpty()
    shown = b""
    with open(ours, "rb", buffering=0) as screen:
        process = subprocess.Popen(
            [sys.executable, "-m", "fleet", command],
            env=daemon.environ | {"TERM": "xterm", "COLUMNS": "300"},
            stdin=theirs, stdout=theirs, stderr=theirs,
        )  # fmt: skip
        os.close(theirs)
        with suppress(OSError):  # EIO, when the other side is closed
            while piece := screen.read(65536):
                shown += piece
        process.wait(10)
    return shown.decode()


def test_a_clock_that_is_wrong_or_steps_is_shown_and_never_used(tmp_path: Path) -> None:
    """A day ahead, then a day back in mid-stream: ages stay right, the skew is told (PROMISES 15)."""
    body = (
        "for day in 86400 -86400; do for i in {1..6}; do\n  now=$((${EPOCHREALTIME%.*} + day))\n"
        '  printf \'{"type":"snapshot","seq":%d,"now":%d,"sessions":[{"tool":"codex","id":"x",'
        '"state":"idle","since_at":%d}]}\\n\' $((++seq)) $now $((now - 60))\n'
        "  sleep 0.2\ndone; done; exec sleep 60"
    )
    skews, ages = set(), []
    with Fleetd(tmp_path / "daemon", tables(script(tmp_path / "emitter", body))) as daemon:
        daemon.until_link("up")
        until = time.monotonic() + 2.5
        while time.monotonic() < until:
            known = daemon.json("/v1/fleet")
            skews.add(round(known["hosts"][0]["skew_s"] / 86400))
            ages += [known["hosts"][0]["age_s"], known["sessions"][0]["age_s"] - 60]
            time.sleep(0.1)
    assert skews == {1, -1}
    assert all(-2 < age < 2 for age in ages)
