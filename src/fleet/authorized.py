"""authorized_keys (sshd(8), AUTHORIZED_KEYS FILE FORMAT): the line of a key that may only observe. Pure.

The commands here read and replace that file on a host. They are run by /bin/sh whatever the login shell is,
with no single quote, backslash or exclamation mark inside.
"""

import re
from typing import NamedTuple

from fleet.errors import UsageError
from fleet.launch import KEPT_AGENT

DEFAULT_FILE = ".ssh/authorized_keys"  # from the user's home directory
BACKUP_SUFFIX = ".fleet-backup"
_PATH = re.compile(r"[\w.~/+-]*/[\w.+-]+", re.ASCII)
_AGENT = re.compile(r"[\w.~/+ -]+", re.ASCII)
_PUBLIC_KEY = re.compile(r"([a-z][\w@.-]+) ([A-Za-z0-9+/]{40,}=*)(?: ([^\r\n]*))?", re.ASCII)
_READING = re.compile(rb"([0-9]{1,10} [0-9]{1,10}|absent)\n(.*)", re.DOTALL)
_OURS = re.compile(r'command="[^"]*fleet-agent (?:serve|stream)[^"]*",restrict ')

_READ = (
    'cd; if [ -L "$1" ]; then echo it is a symbolic link >&2; exit 3; fi; '
    'if [ -e "$1" ]; then cksum < "$1" && cat "$1"; else echo absent; fi'
)
# The new file is whole, and the old one is the one that was read, or nothing happens.
_WRITE = (
    'cd; umask 077; n="$1.fleet-new.$$"; trap "rm -f $n" EXIT; mkdir -p "${1%/*}" || exit; '
    'if [ -e "$1" ]; then cp -p "$1" "$n" || exit; fi; cat > "$n" || exit; '
    'if [ "$(wc -c < "$n")" -ne "$3" ]; then echo the new file did not come whole >&2; exit 4; fi; '
    'if [ -e "$1" ]; then s=$(cksum < "$1"); else s=absent; fi; '
    'if [ "$s" = "$2" ]; then :; else echo it was changed meanwhile >&2; exit 5; fi; '
    f'if [ -e "$1" ]; then cp -p "$1" "$1{BACKUP_SUFFIX}" || exit; fi; mv "$n" "$1"'
)


class Reading(NamedTuple):
    """The file as it is on a host. `checksum`: of cksum(1), or "absent"."""

    checksum: str
    text: str


def line(public_key: str, agent: str, privacy: str) -> str:
    """The line, without a newline. `public_key`: what a .pub file holds. Raises `UsageError`."""
    found = _PUBLIC_KEY.fullmatch(public_key.strip())
    if found is None:
        raise UsageError("that is no OpenSSH public key; name the .pub file of the observer's key with --key")
    if _AGENT.fullmatch(agent) is None:
        raise UsageError(f"agent {agent!r}: a forced command takes a plain path, like {KEPT_AGENT}")
    return f'command="{agent} serve --privacy {privacy}",restrict {found[0]}'


def with_line(text: str, new: str) -> str:
    """The file with this line, in the place of the one that its key had. Every other line stays as it is.

    Raises `UsageError` when that key has options of somebody's own: they may be there for a reason.
    """
    blob = new.split(",restrict ", 1)[1].split()[1]
    lines, is_there = [], False
    for old in text.splitlines(keepends=True):
        if blob not in old.split() or old.startswith("#"):
            lines.append(old)
            continue
        if not (_PUBLIC_KEY.fullmatch(old.strip()) or _OURS.match(old)):
            options = old.partition(blob)[0].rstrip().rpartition(" ")[0]
            raise UsageError(f"the key is there with options of its own ({options}); merge the two by hand")
        if not is_there:
            lines.append(old if old.strip() == new else f"{new}\n")
        is_there = True
    if not is_there:
        torn = lines and not lines[-1].endswith("\n")
        lines.append(f"{chr(10) if torn else ''}{new}\n")
    return "".join(lines)


def read_command(path: str) -> str:
    """Prints the file. Raises `UsageError` for a path that needs quotes."""
    return f"exec /bin/sh -c '{_READ}' authorized_keys {_plain(path)}"


def read(output: bytes) -> Reading | None:
    """What `read_command` printed; None if it is nothing of the kind."""
    found = _READING.fullmatch(output)
    if found is None:
        return None
    try:
        return Reading(found[1].decode("ascii"), found[2].decode("utf-8"))
    except UnicodeDecodeError:
        return None


def write_command(path: str, checksum: str, size_bytes: int) -> str:
    """Replaces the file by what comes on stdin, if it is still the one with that checksum. Keeps a backup."""
    return f"exec /bin/sh -c '{_WRITE}' authorized_keys {_plain(path)} \"{checksum}\" {size_bytes}"


def _plain(path: str) -> str:
    if _PATH.fullmatch(path) is None or path.startswith("-"):
        raise UsageError(f"--file {path!r}: must be a plain path with a directory, like {DEFAULT_FILE}")
    return path
