"""Codex's threads on this host: processes and files in, sessions out."""

import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping

import msgspec

from fleet_agent import native
from fleet_agent.evidence import Call, Verdict
from fleet_agent.kin import Child
from fleet_agent.machine import user_name
from fleet_agent.mounts import Mounts
from fleet_agent.processes import Process, ProcessTable
from fleet_agent.status import GATED, judge
from fleet_agent.tail import MAX_LINE_BYTES, Budget
from fleet_agent.tools import Found
from fleet_agent.tools.codex import argv, bare
from fleet_agent.tools.codex.daemon import Daemons
from fleet_agent.tools.codex.holders import Held, Holdings, held_files, holdings, home_of, with_process
from fleet_agent.tools.codex.homes import Homes
from fleet_agent.tools.codex.hooks.events import HookEvents
from fleet_agent.tools.codex.limits import Limits, account
from fleet_agent.tools.codex.packed import SUFFIX, PackedFile
from fleet_agent.tools.codex.recent import revert_id
from fleet_agent.tools.codex.session import Thread, evidence, session
from fleet_agent.tools.codex.thread import ThreadFile
from fleet_agent.wire import Problem, RateLimit, Session

USER_COMMAND = "user_shell"  # as Codex calls it when it is done (CommandExecution.source)
READ_BUDGET_BYTES = 512 << 20  # of all rollouts together, in one reading
# What one reading goes through of rollouts that are new to it, to account for their tokens: 2 to 4 GB a second.
ACCOUNT_BYTES = 64 << 20  # goes on in the next reading
ONE_SHOT_ACCOUNT_BYTES = 768 << 20  # there is no next one, and somebody waits: a third of a second

Loose = dict[str, tuple[str, int]]  # rollouts that no process holds: path -> (thread id, mtime in ns)


class _Row(msgspec.Struct, frozen=True):
    """The row of a thread, and what it was made of."""

    thread: Thread
    name: str | None
    blind: str | None
    verdict: Verdict
    session: Session


class Codex:
    """Finds Codex's threads. Keeps what it read, so that the next reading costs only what is new.

    `privacy` is one of `fleet_agent.tools.PRIVACIES`; `environ` names the homes of the user who runs the agent.
    """

    name = "codex"
    session_variable, call_variable = "CODEX_THREAD_ID", "CODEX_TOOL_CALL_ID"
    variables = ("CODEX_HOME", "HOME", session_variable, call_variable)

    def __init__(
        self,
        privacy: str = "meta",
        environ: Mapping[str, str] = os.environ,
        clock: Callable[[], float] = time.monotonic,
        account_bytes: int = ACCOUNT_BYTES,
    ) -> None:
        self._account_bytes = account_bytes
        own = (home_of(environ), home_of({"HOME": environ.get("HOME", "")}))
        self._homes = Homes([home for home in own if home], clock, given_only=privacy == "meta")
        self._want_prompts = privacy != "meta"
        self._show_steps = privacy == "text"
        self._limits = Limits()
        self._files: dict[str, ThreadFile] = {}
        self._writerless: Loose = {}
        self._mounts = Mounts(clock)
        self._daemons = Daemons(clock)
        self._hooks = HookEvents()
        self._problems: list[Problem] = []
        # As of the last reading:
        self._held: tuple[list[Held], Holdings] = ([], holdings([]))
        self._wanted: list[Thread] = []
        self._wanted_for: tuple[Holdings, Loose] = (self._held[1], {})
        self._before: dict[str, Thread] = {}
        self._rows: dict[str, _Row] = {}

    def is_tool(self, image: str) -> bool:
        """Whether a program is the native Codex binary."""
        return argv.is_codex(image)

    def is_helper(self, image: str) -> bool:
        """Whether a program below Codex is part of Codex."""
        return argv.is_helper(image)

    def find(self, table: ProcessTable, now: float) -> Found:
        """All threads that a process holds open, and those that ended lately. `now` is epoch seconds."""
        self._hooks.begin()
        held, loose = self._look(table, now)
        self._problems = list(self._homes.problems)
        self._check_permissions(table.hidden, held)
        sees_all = not (table.hidden or held.unreadable)
        threads = _with_processes(self._threads(held, loose), table)
        threads = self._with_words([_with_stop(t) if _is_in_turn(t) else t for t in threads])
        sessions = [self._session(thread, now, sees_all) for thread in threads]
        self._rows = {thread.id: self._rows[thread.id] for thread in threads if thread.id in self._rows}
        sessions += self._bare_sessions(held, threads, table, now)
        complete = sees_all and self._homes.complete
        return Found(tuple(sessions), tuple(self._problems), complete, self._rate_limits(threads, now))

    def _look(self, table: ProcessTable, now: float) -> tuple[Holdings, Loose]:
        """What is held open, and what was written lately and is not.

        A file without a writer is only believed after a second look at all processes: its writer may have
        started since the first, or may have been another program when it was looked at last. (On a network file
        system the writer is likely on another host.)
        """
        held = self._holdings(table)
        open_paths = {holder.path for holder in held.threads.values() if holder.path}
        loose = _without(held, self._homes.poll(held.homes, now, open_paths))
        new = loose.items() - self._writerless.items()
        if any(not self._mounts.on_network(path) for path, _ in new):
            table.scan(full=True)
            held = self._holdings(table)
            loose = _without(held, loose)
        self._writerless = loose
        return held, loose

    def _holdings(self, table: ProcessTable) -> Holdings:
        """What is held open now."""
        files = held_files(table.processes, table.open_files)
        if files != self._held[0]:
            self._held = files, holdings(files)
        return self._held[1]

    def _threads(self, held: Holdings, loose: Loose) -> list[Thread]:
        """Every thread with what its file says. Files that are not needed any more are forgotten."""
        if self._wanted_for[0] is not held or self._wanted_for[1] != loose:
            wanted = [self._dated(thread, held) if thread.holder else thread for thread in _wanted(held, loose)]
            self._wanted_for, self._wanted = (held, loose), wanted
            used = {thread.path for thread in self._wanted}
            self._files = {path: file for path, file in self._files.items() if path in used}
        budget = Budget(READ_BUDGET_BYTES)
        threads = [self._read(t, t.path, budget) if t.path else t for t in self._wanted]
        return self._accounted([thread for thread in threads if thread.holder or not thread.gone])

    def _accounted(self, threads: list[Thread]) -> list[Thread]:
        """The threads with what they spent. The least to read comes first: gigabytes keep nobody waiting."""
        budget = Budget(self._account_bytes)
        grown = [file for file in self._files.values() if file.unaccounted_bytes]
        for file in sorted(grown, key=lambda file: file.unaccounted_bytes):
            try:
                file.account(budget)
            except Exception as exc:
                self._bug(exc, file.path)
        if grown:
            threads = [_with_usage(t, self._files[t.path]) if t.path in self._files else t for t in threads]
        self._before = {thread.id: thread for thread in threads}
        return threads

    def _read(self, thread: Thread, path: str, budget: Budget) -> Thread:
        """The thread with what its file says. Whatever goes wrong with it leaves the other threads alone."""
        packed = path.endswith(SUFFIX)
        file = self._files.get(path) or (PackedFile if packed else ThreadFile)(path, self._want_prompts)
        self._files[path] = file
        try:
            file.poll(budget)
        except Exception as exc:
            del self._files[path]  # what it holds may be half of something
            self._bug(exc, path)
            return msgspec.structs.replace(thread, readable=False)
        if thread.holder or not file.gone:
            self._check_file(file)
        in_turn = file.facts and file.facts.turn and file.facts.turn.status == "open"
        asked = self._hooks.asked(thread.home, thread.id) if in_turn and thread.home else None
        before = self._before.get(thread.id)
        if before and before.asked == asked and _is_as_before(before, thread, file):
            return before
        return msgspec.structs.replace(
            thread,
            asked=asked,
            facts=file.facts,
            calls=tuple(file.facts.calls.values()) if file.facts else (),
            readable=file.fault is None,
            gone=file.gone,
            behind=file.behind,
            packed=packed and file.facts is None,
            size_bytes=file.size_bytes,
            grown_bytes=file.growth.grown_bytes,
            show_steps=self._show_steps,
            modified_at=file.modified_at,
            prompt=file.prompt,
            usage=file.usage,
            readings=file.readings,
        )

    def _dated(self, thread: Thread, held: Holdings) -> Thread:
        """The thread, with when the first of its processes began."""
        writer_at = min((self._began_at(process, held) for process in thread.writers), default=None)
        return msgspec.structs.replace(thread, writer_at=writer_at)

    def _began_at(self, process: Process, held: Holdings) -> float:
        """When a process began, by the clock of then.

        The system tells it by the clock of now. Where this was put forward since, as in a virtual machine that
        was asleep, every process seems to have begun after what it did; but not after the file that it made
        when it started. (A file server's clock says nothing.)
        """
        path = held.own_locks.get(process.pid)
        try:
            made_at = os.lstat(path).st_mtime if path and not self._mounts.on_network(path) else None
        except OSError:
            made_at = None
        return process.created_at if made_at is None else min(process.created_at, made_at)

    def _with_words(self, threads: list[Thread]) -> list[Thread]:
        """Add what the daemons say of the threads that they hold; asked last, as theirs is the last word."""
        told = self._daemons.words(_held_by_daemons(threads))
        self._problems += self._daemons.problems
        if not told:
            return threads
        return [msgspec.structs.replace(t, told=told[t.id]) if t.id in told else t for t in threads]

    def _session(self, thread: Thread, now: float, sees_all: bool) -> Session:
        """The row of a thread; a bug in making it is a problem, and leaves the other threads alone."""
        try:
            shared = thread.holder is None and thread.path is not None and self._mounts.on_network(thread.path)
            blind = "network" if shared else None if sees_all else "scan"
            name = self._homes.name(thread.home, thread.id)
            made = self._rows.get(thread.id)
            if made and (made.thread, made.name, made.blind) != (thread, name, blind):
                made = None
            if made and thread.is_settled:
                return made.session
            verdict = judge(evidence(thread, now, blind))
            if made and made.verdict == verdict:
                return made.session
            row = session(msgspec.structs.replace(thread, name=name), verdict)
        except Exception as exc:
            self._bug(exc, thread.path)
            return Session("codex", thread.id, reason="The agent failed to read it; see its problems.")
        self._rows[thread.id] = _Row(thread, name, blind, verdict, row)
        return row

    def _bare_sessions(
        self, held: Holdings, threads: list[Thread], table: ProcessTable, now: float
    ) -> list[Session]:
        """The sessions that are a process and no thread."""
        if not held.bare:
            return []
        children = table.children(frozenset(process.pid for process in table.processes))
        return bare.sessions(held.bare, table.processes, children, threads, now)

    def _rate_limits(self, threads: list[Thread], now: float) -> tuple[RateLimit, ...]:
        """The newest word on every account's limits, as long as it holds."""
        for thread in threads:
            if thread.home and thread.facts and thread.facts.limits:
                self._limits.note(account(thread.home, thread.facts.provider), thread.facts.limits, now)
        return self._limits.current(now)

    def _check_permissions(self, hidden: bool, held: Holdings) -> None:
        if held.unreadable:
            counts = Counter(user_name(process.uid) for process in held.unreadable)
            whose = ", ".join(f"{count} of {user}" for user, count in sorted(counts.items()))
            message = f"Codex processes could not be read ({whose}); run the agent as that user or as root"
            self._problem("permission", message)
        if hidden:
            message = "this system hides other users' processes (hidepid): their sessions cannot be seen"
            self._problem("permission", message)

    def _check_file(self, file: ThreadFile) -> None:
        if file.fault:
            self._problem("unreadable", f"this rollout cannot be read: {file.fault}", file.path)
        elif file.facts and file.facts.cut_lines:
            lines = f"{file.facts.cut_lines} line(s) of more than {MAX_LINE_BYTES >> 20} MiB"
            self._problem("oversize", f"{lines} were read only in part", file.path)
        elif file.behind:
            self._problem("limit", "this rollout grows faster than it is read", file.path)

    def _bug(self, exc: Exception, path: str | None) -> None:
        self._problem("internal", f"a bug of the agent: {type(exc).__name__}: {exc}", path)

    def _problem(self, kind: str, message: str, path: str | None = None) -> None:
        self._problems.append(Problem(kind, message, path))


def _wanted(held: Holdings, loose: Loose) -> list[Thread]:
    """Every thread, and which file to read of it."""
    best_last = sorted(loose.items(), key=_preference)
    paths = {thread_id: path for path, (thread_id, _) in best_last}
    wanted = [
        # A thread may be loaded, and its rollout not opened yet.
        Thread(thread_id, holder.home, holder.path or paths.pop(thread_id, None), holder)
        for thread_id, holder in held.threads.items()
    ]
    return wanted + [Thread(thread_id, _home_above(path), path) for thread_id, path in paths.items()]


def _preference(found: tuple[str, tuple[str, int]]) -> tuple[str, bool, int]:
    """Of the files of one thread the one that it goes on in, plain before packed; of two homes' the newer."""
    path, (_, modified_ns) = found
    return revert_id(path), not path.endswith(SUFFIX), modified_ns


def _is_as_before(before: Thread, thread: Thread, file: ThreadFile) -> bool:
    """Whether nothing that is known of a thread is other than at the last reading."""
    return (before.holder, before.path, before.home) == (thread.holder, thread.path, thread.home) and (
        (before.readings, before.grown_bytes, before.readable, before.gone, before.behind)
        == (file.readings, file.growth.grown_bytes, file.fault is None, file.gone, file.behind)
    )


def _with_usage(thread: Thread, file: ThreadFile) -> Thread:
    return thread if thread.usage == file.usage else msgspec.structs.replace(thread, usage=file.usage)


def _without(held: Holdings, recent: Loose) -> Loose:
    """What no process holds open. What is held by its lock alone stays: its rollout is found this way."""
    open_paths = {holder.path for holder in held.threads.values()}
    open_ids = {thread_id for thread_id, holder in held.threads.items() if holder.path}
    return {p: found for p, found in recent.items() if p not in open_paths and found[0] not in open_ids}


def _home_above(path: str | None) -> str | None:
    """The home of a rollout at sessions/YYYY/MM/DD/."""
    return path.rsplit("/", 5)[0] if path else None


def _held_by_daemons(threads: list[Thread]) -> dict[str, list[str]]:
    """Home -> the threads that its daemon, a process of this user, holds open; first those in mid-turn."""
    held: dict[str, list[str]] = {}
    theirs = [t for t in threads if t.holder and t.holder.daemon]
    for t in sorted(theirs, key=lambda t: not (t.facts and t.facts.turn and t.facts.turn.status == "open")):
        if t.home:
            held.setdefault(t.home, []).append(t.id)
    return held


def _with_processes(threads: list[Thread], table: ProcessTable) -> list[Thread]:
    """Tell which open calls have a live process. Only asked when there is such a call."""
    threads = [_with_user_command(t) if _is_in_turn(t) else t for t in threads]
    gated = [t.holder for t in threads if t.calls and t.holder and any(c.kind in GATED for c in t.calls)]
    if not gated:
        return threads
    children = table.children(frozenset(pid for holder in gated for pid in holder.pids))
    return [_with_seen(t, children) if t.calls else t for t in threads]


def _with_seen(t: Thread, children: Iterable[Child]) -> Thread:
    """The thread with its open calls, told which of them has a live process among these `children`."""
    pids = t.holder.pids if t.holder else ()
    own = [child for child in children if child.ppid in pids]
    calls = (with_process(call, t.id, t.meta.version, own) for call in t.calls)
    seen = tuple(call for call in calls if call.name != USER_COMMAND or call.process == "yes")
    return msgspec.structs.replace(t, calls=seen)


def _with_stop(t: Thread) -> Thread:
    """A thread in mid-turn, and whether its processes are stopped; not asked while a tool of it runs."""
    runs = any(call.process == "yes" for call in t.calls)
    stopped = not runs and all(map(_is_stopped, t.writers))
    return t if stopped == t.stopped else msgspec.structs.replace(t, stopped=stopped)


def _is_stopped(process: Process) -> bool:
    """As of now: the figures of the table may be many seconds old."""
    stat = native.stat(process.pid)
    return stat is not None and stat.stopped


def _is_in_turn(t: Thread) -> bool:
    return bool(t.holder and t.facts and t.facts.turn and t.facts.turn.status == "open")


def _with_user_command(t: Thread) -> Thread:
    """A person's own command begins a turn that says nothing: only its process shows it, if there is one."""
    if not (t.facts and t.facts.turn and t.facts.compaction.bare):
        return t
    return msgspec.structs.replace(t, calls=(Call("", USER_COMMAND, "shell", t.facts.turn.started_at),))
