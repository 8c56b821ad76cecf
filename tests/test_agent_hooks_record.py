"""fleet_agent.tools.codex.hooks.record: what Codex runs."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fleet_agent.tools.codex.hooks import entries, record

THREAD, CHILD = "01a1fd30-d149-7c33-b753-2d90d2dca7e9", "01a1fd31-03a0-7393-9bb5-30f2493fef3e"
SECRET = "touch /home/dev/s3cret"
EVENT: dict[str, object] = {  # a real one, of Codex 0.169
    "session_id": THREAD,
    "turn_id": "01a1fd30-d39d-7bc3-9190-6277e77754a3",
    "transcript_path": f"/home/dev/.codex/sessions/2026/11/21/rollout-2026-11-21T08-19-57-{THREAD}.jsonl",
    "cwd": "/home/dev/s3cret",
    "hook_event_name": "PermissionRequest",
    "model": "gpt-5.5",
    "permission_mode": "default",
    "tool_name": "Bash",
    "tool_input": {"command": SECRET, "description": "mock wants to run this outside the sandbox"},
}


def run(directory: Path | str, stdin: bytes) -> "subprocess.CompletedProcess[bytes]":
    """The command line that is installed, run as Codex runs it."""
    line = entries.command(sys.executable, record.__file__, str(directory))
    return subprocess.run(["/bin/sh", "-c", line], input=stdin, capture_output=True, timeout=60)


def recorded(directory: Path) -> dict[str, Any]:
    return {path.name: json.loads(path.read_text()) for path in directory.iterdir()}


def test_an_event_is_one_small_private_file(tmp_path: Path) -> None:
    """Thread, event, tool, turn and time are kept, for the owner's eyes; no text of the session is."""
    directory = tmp_path / "state" / "hooks"
    done = run(directory, json.dumps(EVENT).encode())
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    ((name, kept),) = recorded(directory).items()
    assert name == f"{THREAD}.json"
    assert kept.keys() == {"at", "event", "tool", "turn_id"}
    assert (kept["event"], kept["tool"], kept["turn_id"]) == ("PermissionRequest", "Bash", EVENT["turn_id"])
    assert "s3cret" not in json.dumps(kept)
    assert stat.S_IMODE((directory / name).stat().st_mode) == 0o600
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700


@pytest.mark.parametrize(
    "stdin",
    [
        b"",
        b"no JSON",
        b"[" * 100_000,
        b"[]",
        b"{}",
        b'{"session_id": 1}',
        b'{"session_id": "../../x", "hook_event_name": "Stop"}',
        b"\xff",
    ],
)
def test_whatever_comes_it_ends_well_and_silently(stdin: bytes, tmp_path: Path) -> None:
    """Codex would show that a hook failed, and take what it prints. Neither happens, and nothing is written."""
    done = run(tmp_path, stdin)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert not list(tmp_path.iterdir())


def test_a_directory_that_cannot_be_written_is_no_failure(tmp_path: Path) -> None:
    """The session goes on without its event."""
    (tmp_path / "file").touch()
    done = run(tmp_path / "file" / "hooks", json.dumps(EVENT).encode())
    assert (done.returncode, done.stdout) == (0, b"")


def test_it_ends_well_when_the_agent_is_gone() -> None:
    """An agent that was removed and its entries not: the hook does nothing, and Codex shows nothing."""
    line = entries.command("/nowhere/python", "/nowhere/record.py", "/nowhere/state")
    assert subprocess.run(["/bin/sh", "-c", line], input=b"{}", capture_output=True).returncode == 0


def test_the_event_of_a_subagent_is_its_own(tmp_path: Path) -> None:
    """Its session_id is that of its root; the file is named after the subagent."""
    record.record(str(tmp_path), {**EVENT, "agent_id": CHILD}, 1.0)
    assert recorded(tmp_path).keys() == {f"{CHILD}.json"}


def test_the_last_event_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    """One file a thread, however many events."""
    record.record(str(tmp_path), EVENT, 1.0)
    record.record(str(tmp_path), {**EVENT, "tool_name": "apply_patch"}, 2.0)
    assert recorded(tmp_path) == {
        f"{THREAD}.json": {
            "at": 2.0,
            "event": "PermissionRequest",
            "tool": "apply_patch",
            "turn_id": EVENT["turn_id"],
        }
    }


def test_old_files_go_and_others_files_stay(tmp_path: Path) -> None:
    """The newest threads are kept, what was never finished goes with its age, and no other file is touched."""
    for age, name in enumerate(["aa.json", "bb.json", "cc.json.17", "dd.json"]):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (100 - age, 100 - age))
    (tmp_path / "notes.txt").touch()
    (tmp_path / "aa.json.backup").touch()
    record.prune(str(tmp_path), keep=2)
    assert {path.name for path in tmp_path.iterdir()} == {"aa.json", "bb.json", "notes.txt", "aa.json.backup"}


def test_it_imports_little() -> None:
    """Codex waits for it: no library but Python's own, and none of the heavy parts of that."""
    code = f"import sys; sys.argv = ['x']; exec(open({record.__file__!r}).read()); print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-ISB", "-c", code], input=b"{}", capture_output=True, check=True, timeout=60
    )
    loaded = set(done.stdout.decode().split())
    assert not loaded & {"typing", "msgspec", "argparse", "subprocess", "pathlib", "fleet_agent", "asyncio"}
