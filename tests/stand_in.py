"""`fleet-agent control` with a stand-in for the tool.

The stand-in is a program named codex that runs its prompt as a shell script. What the real one does is in
e2e/test_control_exec.py; here are the things that it does not do when one wants it to.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lab.control import Control

TOOL = """#!/bin/bash
if [ "$1" = --version ]; then echo "codex-cli 0.169.0"; exit; fi
started() { echo '{"type":"thread.started","thread_id":"'${1-0199}'"}'; }
says() { echo '{"type":"item.completed","item":{"id":"i","type":"agent_message","text":"'$1'"}}'; }
eval "$(cat)"
"""
SLEEPS = "started; sleep 300"


@contextmanager
def stand_in_control(tmp_path: Path) -> Iterator[Control]:
    """`fleet-agent control` in a home of its own where the stand-in is installed."""
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
