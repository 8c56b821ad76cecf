"""Where a tool's program is, and which release it is.

PATH of a non-interactive shell lacks what ~/.bashrc, nvm and the like add to it, so the usual places are
searched too. They are also what the tool gets as its PATH: an npm program needs its `node`.
"""

import glob
import os
import re
import select
import signal
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress

import msgspec

from fleet_agent.control.store import private_directory, write_json
from fleet_agent.files import read_small

VERSION_S = 15.0  # a node program on a busy machine
_PLACES = (
    "~/.local/bin",
    "~/bin",
    "~/.npm-global/bin",
    "~/.npm/bin",
    "~/.bun/bin",
    "~/.cargo/bin",
    "~/.volta/bin",
    "~/.asdf/shims",
    "~/.local/share/mise/shims",
    "~/.local/share/pnpm",
    "~/.opencode/bin",
    "~/.claude/local",
    "~/.nvm/versions/node/*/bin",
    "~/.local/share/fnm/node-versions/*/installation/bin",
    "/opt/homebrew/bin",
    "/home/linuxbrew/.linuxbrew/bin",
    "/usr/local/bin",
    "/opt/node/bin",
    "/usr/bin",
    "/bin",
    "/snap/bin",
)
_NUMBER = re.compile(r"\d+")
_RELEASE = re.compile(r"\b\d+\.\d+\.\d+[\w.-]*")
_MAX_CACHE_BYTES = 64 << 10
_MAX_CACHED = 100
_MAX_SAID_BYTES = 4096


class _Cache(msgspec.Struct, frozen=True):
    """The release of programs by what identifies their file: an update never leaves all of that as it was."""

    releases: dict[str, str]


def find(tool: str, environ: Mapping[str, str]) -> str | None:
    """The program of this name that would be run; None if there is none. A whole path is itself."""
    if os.path.isabs(tool):
        return tool if _is_program(tool) else None
    if os.path.dirname(tool):
        return None
    candidates = (os.path.join(directory, tool) for directory in directories(environ))
    return next((path for path in candidates if _is_program(path)), None)


def directories(environ: Mapping[str, str]) -> list[str]:
    """PATH, and behind it the usual places that are there; of several node releases the newest first."""
    home = environ.get("HOME") or os.path.expanduser("~")
    path = [directory for directory in environ.get("PATH", "").split(os.pathsep) if os.path.isabs(directory)]
    for place in _PLACES:
        path += sorted(glob.glob(place.replace("~", glob.escape(home), 1)), key=_by_number, reverse=True)
    return list(dict.fromkeys(path))


def path_for(program: str, environ: Mapping[str, str]) -> str:
    """PATH for a program: what lies beside it comes first, as its own `node` does."""
    return os.pathsep.join(dict.fromkeys([os.path.dirname(program), *directories(environ)]))


def release(program: str, environ: Mapping[str, str], cache_path: str) -> str | None:
    """What the program says of itself with --version; None if it says nothing of the kind.

    It is asked once: what it said is kept at `cache_path` for as long as its file is the same.
    """
    try:
        found = os.stat(program)
    except OSError:
        return None
    # npm gives files the time they were packed at, or one and the same to all: the mtime alone says too little.
    key = f"{os.path.realpath(program)} {found.st_ino} {found.st_size} {found.st_mtime_ns} {found.st_ctime_ns}"
    known = _read(cache_path)
    if key not in known:
        said = _ask(program, environ)
        if said is None:
            return None
        known = dict([*known.items(), (key, said)][-_MAX_CACHED:])
        private_directory(os.path.dirname(cache_path))
        write_json(cache_path, _Cache(known))
    return known[key]


def _ask(program: str, environ: Mapping[str, str]) -> str | None:
    try:
        process = subprocess.Popen(
            [program, "--version"],
            env={**environ, "PATH": path_for(program, environ)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except (OSError, ValueError):
        return None
    with process:
        assert process.stdout is not None
        said = _first_bytes(process.stdout.fileno(), time.monotonic() + VERSION_S)
        with suppress(OSError):  # with all that it started; the pid is its own until it is waited for
            os.killpg(process.pid, signal.SIGKILL)
    match = _RELEASE.search(said.decode("utf-8", "replace"))
    return match[0] if match else None


def _first_bytes(fd: int, until_s: float) -> bytes:
    """What comes until it ends, is enough, or takes too long."""
    said = b""
    while len(said) < _MAX_SAID_BYTES:
        ready, _, _ = select.select([fd], [], [], max(0.0, until_s - time.monotonic()))
        data = os.read(fd, _MAX_SAID_BYTES) if ready else b""
        if not data:
            break
        said += data
    return said


def _read(cache_path: str) -> dict[str, str]:
    try:
        return msgspec.json.decode(read_small(cache_path, _MAX_CACHE_BYTES), type=_Cache).releases
    except (OSError, ValueError):
        return {}


def _is_program(path: str) -> bool:
    return os.path.isfile(path) and os.access(path, os.X_OK)


def _by_number(path: str) -> list[int]:
    return [int(number) for number in _NUMBER.findall(path)]
