"""`fleet-agent hooks`: puts fleet's entries into hooks.json, takes them out, tells how they are.

It writes to hooks.json and to the directory of the recorded events, and to nothing else. There it keeps what
hooks.json was, to give it back byte for byte unless somebody has changed it since. To trust the entries is the
person's part, in Codex: hooks run outside of its sandbox.
"""

import contextlib
import hashlib
import os
import sys
import time
from collections.abc import Mapping
from typing import Any

import msgspec

from fleet_agent.files import open_regular, read_small
from fleet_agent.machine import user_name
from fleet_agent.tools.codex.hooks import entries, record, trust
from fleet_agent.tools.codex.hooks.events import MAX_HOOKS_JSON_BYTES, asked, read

_TRUST_STEP = """\
Codex runs them only when you trust them. In a terminal, start `codex`: it says "Hooks need review". Choose
"Review hooks" (/hooks leads there too), look at the entries under PermissionRequest and PreToolUse, and press t
where the command is the one above. Sessions that are open already go on without them until they are started
again. `fleet-agent hooks status` tells when it is done."""


class HooksError(Exception):
    """Why nothing was done, with the fix."""


class _File(msgspec.Struct, frozen=True):
    """A hooks.json: `path` behind all links, its text and mode ("" and None where there is none)."""

    path: str
    text: str
    mode: int | None


def state_directory(environ: Mapping[str, str]) -> str:
    """Where events are recorded. XDG_STATE_HOME counts if it is absolute (XDG Base Directory Specification)."""
    state = environ.get("XDG_STATE_HOME", "")
    if not os.path.isabs(state):
        state = os.path.join(environ.get("HOME") or os.path.expanduser("~"), ".local/state")
    return os.path.join(state, "fleet-agent/hooks")


def run(action: str, home: str, environ: Mapping[str, str]) -> str:
    """Do one of install, uninstall and status to a CODEX_HOME; what to tell the person. Raises `HooksError`."""
    if action == "install":
        return install(home, state_directory(environ))
    return uninstall(home) if action == "uninstall" else status(home, time.time())


def install(home: str, directory: str) -> str:
    """Add the entries; what was done. Raises `HooksError`."""
    file = _read(home)
    line = entries.command(sys.executable, record.__file__, directory)
    document = _parse(file)
    wanted = entries.with_ours(document, line)
    try:
        _make_directory(directory)
        if file.mode is not None and not any(entries.ours(document)):
            _write_private(_kept(file.path, directory), file.text)
    except OSError as exc:
        raise HooksError(f"{directory} cannot be written: {exc.strerror or exc}") from exc
    if wanted == document:
        return f"{file.path} has fleet's entries already; nothing was changed."
    _write(file, entries.render(wanted, file.text))
    events = " and ".join(_named(event, matcher) for event, matcher in entries.WANTED)
    return f"Added to {file.path}, for {events}:\n\n    {line}\n\n{_TRUST_STEP}"


def uninstall(home: str) -> str:
    """Remove the entries, and the events recorded through them; what was done. Raises `HooksError`."""
    file = _read(home)
    document = _parse(file)
    found = list(entries.ours(document))
    if not found:
        return f"{file.path} has no entry of fleet; nothing was changed."
    before = _before(file.path, found[0].directory)
    command = found[0].definition["command"]
    if entries.with_ours(_parse(_File(file.path, before or "", None)), command) != document:
        before = entries.render(entries.without_ours(document), file.text)  # it was changed since
    _write(file, before)
    for directory in {entry.directory for entry in found}:
        _remove_events(directory, _kept(file.path, directory))
    return f"Removed fleet's entries from {file.path}, and what they had recorded."


def status(home: str, now: float) -> str:
    """How it stands, a line for each entry. `now` is epoch seconds. Raises `HooksError`."""
    file = _read(home)
    found = list(entries.ours(_parse(file)))
    config = _config(home)
    lines = [f"{file.path}:"]
    for event, matcher in entries.WANTED:
        entry = next((e for e in found if (e.event, e.matcher) == (event, matcher)), None)
        lines.append(f"  {_named(event, matcher)}: {_standing(entry, home, config)}")
    lines += [f"Last event: {_last_event(directory, now)}" for directory in {e.directory for e in found}]
    return "\n".join(lines)


def _standing(entry: entries.Entry | None, home: str, config: dict[str, Any] | None) -> str:
    if entry is None:
        return "not installed"
    gone = [path for path in (entry.python, entry.recorder) if not os.path.exists(path)]
    if gone:
        return f"installed, but {gone[0]} is gone: run `fleet-agent hooks install` again"
    if config is None:
        return "installed; whether it is trusted, /hooks in Codex tells"
    decision = trust.decision(entry, f"{os.path.realpath(home)}/hooks.json", config)
    fix = "" if decision == trust.TRUSTED else ": see /hooks in Codex"
    return f"installed, {decision}{fix}"


def _config(home: str) -> dict[str, Any] | None:
    """config.toml; None if it cannot be read here."""
    try:
        import tomllib  # Python 3.11
    except ImportError:
        return None
    try:
        with open(f"{home}/config.toml", "rb") as file:
            return tomllib.load(file)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError):
        return None


def _last_event(directory: str, now: float) -> str:
    try:
        names = os.listdir(directory)
    except OSError:
        names = []
    found = (read(os.path.join(directory, name)) for name in names)
    events = [event for event in found if event and asked(event)]
    if not events:
        return f"none yet (in {directory})"
    last = max(events, key=lambda event: event.at)
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(last.at))
    return f"{last.event} at {at}, {max(0, now - last.at):.0f} s ago (in {directory})"


def _named(event: str, matcher: str | None) -> str:
    return f"{event} ({matcher.strip('^$')})" if matcher else event


def _read(home: str) -> _File:
    """The home's hooks.json. A link is followed to a file of this user's, and to no other."""
    if not os.path.isdir(home):
        raise HooksError(f"{home} is no directory: start `codex` once, or name its home with --home")
    path = os.path.realpath(f"{home}/hooks.json")
    try:
        fd = open_regular(path)
    except FileNotFoundError:
        if os.path.islink(f"{home}/hooks.json"):
            raise HooksError(f"{home}/hooks.json is a link to {path}, which is not there: remove it") from None
        return _File(path, "", None)
    except OSError as exc:
        raise HooksError(f"{path} cannot be read: {exc.strerror or exc}") from exc
    with os.fdopen(fd, "rb") as file:
        found = os.fstat(fd)
        if found.st_uid != os.geteuid():
            raise HooksError(f"{path} belongs to {user_name(found.st_uid)}: run this as that user")
        text = _decoded(path, file.read(MAX_HOOKS_JSON_BYTES + 1))
    return _File(path, text, found.st_mode & 0o777)


def _decoded(path: str, data: bytes) -> str:
    if len(data) > MAX_HOOKS_JSON_BYTES:
        raise HooksError(f"{path} is longer than {MAX_HOOKS_JSON_BYTES >> 20} MiB: make it shorter")
    try:
        return data.decode()
    except UnicodeDecodeError as exc:
        raise HooksError(f"{path} is not UTF-8 ({exc.reason} at byte {exc.start}): mend it first") from exc


def _parse(file: _File) -> entries.Json:
    try:
        return entries.parse(file.text) if file.text.strip() else {}
    except ValueError as exc:
        raise HooksError(f"{file.path} is no hooks file that Codex reads: {exc}. Mend it first") from exc


def _write(file: _File, text: str | None) -> None:
    """Replace the file at once, unless somebody else has changed it since it was read. None: remove it."""
    temporary = f"{file.path}.fleet-{os.getpid()}"
    try:
        if text is not None:
            _write_private(temporary, text)
            os.chmod(temporary, 0o600 if file.mode is None else file.mode)
        if _text_now(file.path) != file.text:
            raise HooksError(f"{file.path} was changed by somebody else just now: run this again")
        if text is None:
            os.unlink(file.path)
        else:
            os.replace(temporary, file.path)
    except OSError as exc:
        raise HooksError(f"{file.path} cannot be written: {exc.strerror or exc}") from exc
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)


def _write_private(path: str, text: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(fd, "w", encoding="utf-8", newline="") as new:
        new.write(text)
        new.flush()
        os.fsync(fd)


def _make_directory(directory: str) -> None:
    os.makedirs(directory, mode=0o700, exist_ok=True)
    os.chmod(directory, 0o700)


def _kept(path: str, directory: str) -> str:
    """Where the text is kept that the hooks.json at `path` had before fleet's entries came."""
    return os.path.join(directory, f"before-{hashlib.sha256(os.fsencode(path)).hexdigest()[:16]}.json")


def _before(path: str, directory: str) -> str | None:
    """That text; None if there was no such file."""
    try:
        return read_small(_kept(path, directory), MAX_HOOKS_JSON_BYTES).decode()
    except (OSError, UnicodeDecodeError):
        return None


def _text_now(path: str) -> str:
    try:
        with open(path, encoding="utf-8", newline="") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def _remove_events(directory: str, kept: str) -> None:
    """What was recorded, what was kept, and the directory if nothing else is in it."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(kept)
    with contextlib.suppress(OSError):
        record.prune(directory, keep=0)
        os.rmdir(directory)
