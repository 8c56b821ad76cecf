"""Where the tools keep their record of a session, and which session a Claude Code process has. Reads only.

$CODEX_HOME/sessions/YYYY/MM/DD/rollout-...-ID.jsonl    archived_sessions/ once it is put away; ID_ID once it
                                                        was taken back to an earlier turn
$CLAUDE_CONFIG_DIR/projects/DIRECTORY/ID.jsonl          ~/.claude without it
$CLAUDE_CONFIG_DIR/sessions/PID.json                    of each living Claude Code: its session, its start
"""

import glob
import json
import os
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

import msgspec

from fleet_agent import native, procfs
from fleet_agent.control.groups import Started, started
from fleet_agent.fields import text
from fleet_agent.files import read_small
from fleet_agent.tail import Source, lines_from
from fleet_agent.tools.codex.holders import home_of
from fleet_agent.tools.codex.lines import thread_id

MAX_PROCESSES = 1000  # of one Claude Code home
_MAX_FACTS_BYTES = 64 << 10
_BEGINNING_BYTES = 1 << 20  # Codex's first line has all its instructions
_RECORDS = {
    "codex": tuple(
        f"{directory}/rollout-*-{{}}{revert}.jsonl{packed}"
        for directory in ("sessions/*/*/*", "archived_sessions")
        for revert in ("_*", "")
        for packed in ("", ".zst")
    ),
    "claude": ("projects/*/{}.jsonl",),
}
_FACTS = re.compile(r"\d{1,10}\.json")  # beside them are secrets


def homes_of(tool: str, environ: Mapping[str, str]) -> tuple[str, ...]:
    """Where a tool keeps its state, by the environment that it runs in: the place set there, and the usual."""
    default = {"HOME": environ.get("HOME", "")}
    find = claude_home if tool == "claude" else home_of
    return tuple(dict.fromkeys(home for home in (find(environ), find(default)) if home))


def claude_home(environ: Mapping[str, str]) -> str | None:
    """The CLAUDE_CONFIG_DIR of a process with this environment."""
    home = environ.get("HOME")
    return environ.get("CLAUDE_CONFIG_DIR") or (f"{home}/.claude" if home else None)


def record(tool: str, session_id: str | None, homes: Iterable[str]) -> str | None:
    """The file in which a session is written down; None if there is none."""
    if thread_id(session_id) is None:  # Claude Code's ids look the same
        return None
    for home in homes:
        for pattern in _RECORDS.get(tool, ()):
            found = glob.glob(os.path.join(glob.escape(home), pattern.format(session_id)))
            if found:
                return max(found)
    return None


def claude_session(pid: int) -> tuple[str, str] | None:
    """The session that this Claude Code has now, and its home; None if it is none, or says nothing."""
    environ = native.variables(pid, ("CLAUDE_CONFIG_DIR", "HOME"))
    home, process = claude_home(environ or {}), started(pid)
    found = _session(f"{home}/sessions/{pid}.json", process) if home and process else None
    return (found, home) if found and home else None


def claude_process(session_id: str, homes: Iterable[str]) -> Started | None:
    """The living Claude Code that has this session."""
    for home in homes:
        for name in _facts_in(f"{home}/sessions"):
            process = started(int(name.removesuffix(".json")))
            if process and process.lives() and _session(f"{home}/sessions/{name}", process) == session_id:
                return process
    return None


def _facts_in(directory: str) -> list[str]:
    try:
        return [name for name in os.listdir(directory) if _FACTS.fullmatch(name)][:MAX_PROCESSES]
    except OSError:
        return []


def _session(path: str, process: Started) -> str | None:
    """The session in the file of a process, if that was written by this very process.

    It is rewritten in place, so that the end of what it was before may follow: only its first value counts.
    """
    try:
        facts: Any = json.JSONDecoder().raw_decode(read_small(path, _MAX_FACTS_BYTES).decode())[0]
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(facts, dict):
        return None
    begun = text(facts.get("procStart"))  # since 2.1.120; on Linux as in /proc/PID/stat
    if procfs.AVAILABLE and begun is not None and begun != str(process.ticks):
        return None
    return thread_id(facts.get("sessionId"))


class _At(msgspec.Struct):
    """Where a line of a record was written. Codex has it in the payload of the first."""

    cwd: str | None = None
    payload: Any = None


def directory_of(tool: str, session_id: str, homes: Iterable[str]) -> str | None:
    """The directory in which a session works, as its record begins; None if that does not say."""
    path = record(tool, session_id, homes)
    if path is None or path.endswith(".zst"):
        return None
    with suppress(OSError), Source(path) as source:
        for line in lines_from(source, 0, _BEGINNING_BYTES):
            with suppress(ValueError, RecursionError):
                at = msgspec.json.decode(line.data, type=_At)
                payload = at.payload if isinstance(at.payload, dict) else {}
                if cwd := at.cwd or text(payload.get("cwd")):
                    return cwd
    return None
