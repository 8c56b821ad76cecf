"""Which processes hold which threads open, by the files they have open.

Since 0.150 the one writer of a thread holds thread-writer-locks/<thread id>.lock; all releases keep the rollout
open for writing as long as the thread is loaded. Locks are never taken or probed: that could make Codex fail.
"""

import os
import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache

import msgspec

from fleet_agent.evidence import Call
from fleet_agent.kin import Child
from fleet_agent.openfiles import Files, Telling, Wanted
from fleet_agent.processes import Process
from fleet_agent.tools.codex import argv
from fleet_agent.tools.codex.lines import THREAD_ID, release

# Since when Codex marks its tools' processes with CODEX_THREAD_ID; from 0.163 on also with CODEX_TOOL_CALL_ID.
MARKS_SINCE = (0, 116)
_CLOCK_SLACK_S = 0.25  # a process's start is known to 10 ms, the time of its call's line to 1 ms

_OWN_LOCK = re.compile(r".+/tmp/arg0[^/]*/codex-arg0[^/]+/\.lock")  # each process makes one when it starts
_DAEMON_LOCK = "/app-server-daemon/daemon.lock"
_LOCK = re.compile(rf"(.+)/thread-writer-locks/({THREAD_ID})\.lock")
_ROLLOUT = re.compile(
    rf"(.*?)(?:/sessions/\d+/\d+/\d+|/archived_sessions)?"
    rf"/rollout-[\dT-]+-({THREAD_ID})(?:_{THREAD_ID})?\.jsonl(?: \(deleted\))?"
)


OpenFilesOf = Callable[[Process, Wanted, Telling], Files]
Held = tuple[Process, Files | None]  # None: it may not be read


class Holder(msgspec.Struct):
    """Who holds one thread open; before 0.150 it can be several. `path` is its rollout if that is open.

    `daemon`: one of them is a daemon, and of this user.
    """

    processes: list[Process]
    home: str
    path: str | None = None
    daemon: bool = False

    @property
    def pids(self) -> tuple[int, ...]:
        """The processes' pids."""
        return tuple(process.pid for process in self.processes)


class Holdings(msgspec.Struct):
    """What all Codex processes hold open: threads by id, every CODEX_HOME in use, and who could not be read.

    `bare` are the processes that could hold a thread and hold none; `own_locks` the file, by pid, that a
    process made when it started and holds since (measured on 0.145 to 0.169).
    """

    threads: dict[str, Holder]
    homes: set[str]
    unreadable: list[Process]
    bare: list[Process]
    own_locks: dict[int, str]


def held_files(processes: Iterable[Process], open_files: OpenFilesOf) -> list[Held]:
    """Read which files of interest every process that can hold sessions has open."""
    held: list[Held] = []
    for process in processes:
        if argv.kind(process.argv) is None:
            continue
        try:
            held.append((process, open_files(process, _is_held, _telling)))
        except PermissionError:
            held.append((process, None))
        except OSError:
            continue  # it ended meanwhile
    return held


def holdings(held: Iterable[Held]) -> Holdings:
    """What is made of that."""
    found, homes = Holdings({}, set(), [], [], {}), set[str]()
    for process, files in held:
        if files is None:
            found.unreadable.append(process)
            continue
        home = home_of(process.environ or {})
        homes.update([home] if home else [])
        holds = [_hold(found, process, path, writable) for path, writable in files]
        if not any(holds):
            found.bare.append(process)
        if own := next((path for path, _ in files if _OWN_LOCK.fullmatch(path)), None):
            found.own_locks[process.pid] = own
    found.homes.update(map(os.path.realpath, homes))
    return found


def home_of(environ: Mapping[str, str]) -> str | None:
    """The CODEX_HOME of a process with this environment."""
    home = environ.get("HOME")
    return environ.get("CODEX_HOME") or (f"{home}/.codex" if home else None)


def _is_held(path: str) -> bool:
    ours = "/thread-writer-locks/" in path or "/rollout-" in path or path.endswith(_DAEMON_LOCK)
    return ours or (path.endswith("/.lock") and _OWN_LOCK.fullmatch(path) is not None)


def _telling(files: Files) -> Files:
    """Without the locks of threads whose rollouts are open, as Codex opens and closes the two together.

    Nor with its own, which it keeps.
    """
    rollouts = {_named(path)[1] for path, writable in files if writable and _named(path)[2]}
    others = (file for file in files if not _OWN_LOCK.fullmatch(file[0]))
    return [file for file in others if _named(file[0])[2] or _named(file[0])[1] not in rollouts]


def _hold(found: Holdings, process: Process, path: str, writable: bool) -> bool:
    """Whether this file says what the process is for: a thread, or the daemon that it is just starting."""
    home, thread, rollout = _named(path)
    if not thread or not writable:  # Codex also opens rollouts for a moment to list them
        return path.endswith(_DAEMON_LOCK)
    holder = found.threads.setdefault(thread, Holder([], home))
    if process not in holder.processes:
        holder.processes.append(process)
        holder.daemon |= argv.kind(process.argv) == "daemon" and process.uid == os.geteuid()
    if rollout:
        holder.path = path
    found.homes.add(home)
    return True


@lru_cache(maxsize=4096)
def _named(path: str) -> tuple[str, str, bool]:
    """Home and thread of a lock or a rollout, and whether it is a rollout. Without a thread it is neither."""
    lock = _LOCK.fullmatch(path)
    match = lock or _ROLLOUT.fullmatch(path)
    return (match[1], match[2], lock is None) if match else ("", "", False)


def with_process(call: Call, thread: str, version: str | None, children: Iterable[Child]) -> Call:
    """The call, and whether one of its writer's children is its process. Pure."""
    seen = {_is_process_of(child, call, thread, version) for child in children}
    process = "yes" if "yes" in seen else "maybe" if "maybe" in seen else "no"
    return msgspec.structs.replace(call, process=process)


def _is_process_of(child: Child, call: Call, thread: str, version: str | None) -> str:
    later = call.at is None or child.created_at >= call.at - _CLOCK_SLACK_S
    if child.environ is None:
        return "maybe" if later else "no"
    owner, call_id = child.environ.get("CODEX_THREAD_ID"), child.environ.get("CODEX_TOOL_CALL_ID")
    if owner == thread:
        # In code mode the id is the command's own, not the call's; then only the time tells them apart.
        named = call_id is not None and call.kind != "script"
        return "yes" if (call_id == call.id if named else later) else "no"
    unmarked = owner is None and (release(version) or MARKS_SINCE) < MARKS_SINCE
    return "maybe" if unmarked and later else "no"
