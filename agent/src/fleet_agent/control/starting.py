"""Start: a session in the background, of whatever mode."""

import asyncio
import os
import secrets
import time
from collections.abc import Callable
from contextlib import suppress

import msgspec

from fleet_agent.control import commands, locate, logind, programs, rotation
from fleet_agent.control.commands import NotPossible
from fleet_agent.control.ending import forget
from fleet_agent.control.events import Failure
from fleet_agent.control.host import Host
from fleet_agent.control.launch import Job, launch
from fleet_agent.control.store import Entry, Facts, NameTaken, prompt_digest, socket_path
from fleet_agent.control.wire import MODES, Done, Refused, Reply, Run, Said, Start
from fleet_agent.machine import boot_id
from fleet_agent.redact import headline, redact
from fleet_agent.tools.codex.holders import home_of
from fleet_agent.wire import TOOLS

PREVIEW_CHARS = 40
SESSION_S = 3.0  # until the session of a terminal that was given its prompt can be told
TAIL_BYTES = 2048
_UNTRUSTED = "give a git repository as --cwd, or add `--argument --skip-git-repo-check`"

_decode_said = msgspec.json.Decoder(Said).decode


async def start(host: Host, asked: Start, say: Callable[[Reply], None]) -> Done | Refused:
    """A `Run` line, once its session has an id, or it has ended, or it takes too long for that."""
    if asked.mode not in MODES:
        raise NotPossible(
            f"there is no mode {asked.mode}", f"it is one of {', '.join(MODES)}", kind="bad_request"
        )
    asked = msgspec.structs.replace(asked, cwd=directory(host, asked.cwd or _directory_before(host, asked)))
    program = _program(host, asked)
    release = _release(host, asked.tool, program)
    _check(asked, program, release)
    entry = _create(host, asked, release)
    asked = msgspec.structs.replace(asked, name=entry.name)
    if asked.mode == "tmux":
        return await asyncio.to_thread(_start_terminal, host, entry, asked, program, release, say)
    job = Job(host.store.root, entry.directory, asked, program, release)
    environ = {**host.environ, "PATH": programs.path_for(program, host.environ)}
    refused = await asyncio.to_thread(launch, job, host.agent, environ)
    if refused is None:
        return _told(host, entry, say)
    with suppress(FileNotFoundError):  # its supervisor may have done it
        host.store.delete(entry)
    return refused


def directory(host: Host, cwd: str | None) -> str:
    """Where it is to run: an absolute path, `~` and `~/...` being the user's. Raises `NotPossible`."""
    path = cwd or "~"
    if path == "~" or path.startswith("~/"):
        path = host.home + path[1:]
    if not os.path.isabs(path):
        raise NotPossible(f"cwd is not an absolute path: {path}", "give the whole path", kind="bad_request")
    if not os.path.isdir(path):
        raise NotPossible(
            f"there is no directory {path}", "make it first, or give another --cwd", kind="bad_request"
        )
    if not os.access(path, os.R_OK | os.X_OK):
        raise NotPossible(f"{path} may not be entered", "give another --cwd", kind="bad_request")
    return path


def _directory_before(host: Host, asked: Start) -> str | None:
    """Where the session works that it goes on with. Claude Code knows a session in that directory alone."""
    before = asked.resume or asked.fork
    return before and locate.directory_of(asked.tool, before, locate.homes_of(asked.tool, host.environ))


def _program(host: Host, asked: Start) -> str:
    found = programs.find(asked.tool, host.environ)
    if found is None:
        raise NotPossible(
            f"{asked.tool} is not installed here, or not where fleet looks: PATH, ~/.local/bin, nvm, npm ...",
            f"install {asked.tool} for this user, or make a link to it in ~/.local/bin",
            kind="tool_missing",
        )
    return found


def _release(host: Host, tool: str, program: str) -> str | None:
    """Only tools are asked for theirs: what another program does when it is run so, nobody knows."""
    if tool not in TOOLS:
        return None
    return programs.release(program, host.environ, os.path.join(host.store.root, "releases.json"))


def _check(asked: Start, program: str, release: str | None) -> None:
    """That such a run can be started at all, before anything is made for it. Raises `NotPossible`."""
    if asked.resume and asked.fork:
        raise NotPossible(
            "a session is either resumed or forked", "leave out --resume or --fork", kind="bad_request"
        )
    if asked.mode == "exec":
        commands.exec_command(asked.tool, release, asked, program)
    elif asked.mode == "app-server" and asked.tool != "codex":
        raise NotPossible(f"{asked.tool} has no app-server", "mode exec and mode tmux do without it")


def _create(host: Host, asked: Start, release: str | None) -> Entry:
    def facts(name: str) -> Facts:
        run = Run(
            name=name,
            tool=asked.tool,
            mode=asked.mode,
            state="running",
            created_at=time.time(),
            cwd=asked.cwd,
            model=asked.model,
            prompt=headline(asked.prompt, PREVIEW_CHARS) if asked.prompt else None,
            by=asked.by,
            home=home_of(host.environ) if asked.tool == "codex" else None,
            tool_version=release,
        )
        socket = socket_path(os.path.join(host.store.runs, name), host.environ)
        mark = secrets.token_hex(16)
        digest = prompt_digest(asked.prompt, mark) if asked.mode == "tmux" and asked.prompt else ""
        return Facts(run, mark, boot_id(), socket, prompt_digest=digest)

    try:
        return host.store.create(facts, asked.name)
    except NameTaken as exc:
        raise NotPossible(
            f"there is a run named {exc} already", "give another name, or delete that run", kind="bad_request"
        ) from exc


def _start_terminal(
    host: Host, entry: Entry, asked: Start, program: str, release: str | None, say: Callable[[Reply], None]
) -> Done | Refused:
    from fleet_agent.control import tmux_runs

    try:
        begun = tmux_runs.start(host, entry, asked, program, release)
    except BaseException:
        host.store.delete(entry)
        raise
    tmux_runs.settle(entry)
    tmux_runs.identify(entry, SESSION_S if asked.prompt and not begun.trouble else 0.0)
    told = _told(host, entry, say)
    return begun.trouble.refused() if begun.trouble else told


def _told(host: Host, entry: Entry, say: Callable[[Reply], None]) -> Done | Refused:
    run = entry.run()
    if run.state == "lost":
        forget(host, entry)
        return Refused("internal", "the run's supervisor ended at once, and does not say why")
    if run.id is None and run.state == "exited" and run.exit_code != 0:
        why = last_words(entry)
        forget(host, entry)
        how = f"exit status {run.exit_code}" if run.exit_code is not None else f"signal {run.signal or '?'}"
        hint = _UNTRUSTED if "--skip-git-repo-check" in why else ""
        return Refused("tool_failed", f"{run.tool} ended at once, with {how}: {why or 'it said nothing'}", hint)
    say(msgspec.structs.replace(run, prompt=None))
    return Done(logind.warning(run.pid) if run.pid and run.state == "running" else "")


def last_words(entry: Entry) -> str:
    """The end of what it wrote to stderr; else the last failure that it told of."""
    end = max(0, rotation.total_bytes(entry.stderr_path) - TAIL_BYTES)
    text = rotation.Reader(entry.stderr_path, end).read(TAIL_BYTES).data.decode("utf-8", "replace")
    if not text.strip():
        said = (
            _decode_said(line).event for line in rotation.Lines(entry.events_path).read(rotation.READ_BYTES)
        )
        text = next((event.message for event in reversed([*said]) if isinstance(event, Failure)), "")
    return redact("".join(char if char.isprintable() else " " for char in text).strip())
