"""systemd's own checkers, and what its units forbid: neither needs a running systemd."""

import re
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path


def obstacle() -> str | None:
    """Why this machine cannot check units, with the fix; None if it can."""
    found = shutil.which("systemd-analyze")
    return None if found else "systemd-analyze not found: scripts/setup --test installs Debian's systemd"


def analyze(*arguments: str | Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    """`systemd-analyze` with these arguments."""
    argv = ["systemd-analyze", "--no-pager", *arguments]
    return subprocess.run(argv, env=environment or None, capture_output=True, text=True, timeout=60)


def settings(unit: Path) -> dict[str, list[str]]:
    """Key -> its values in order, of all sections: the keys of our units' sections do not meet."""
    found = defaultdict(list)
    for key, value in re.findall(r"^(\w+)=(.*)$", unit.read_text(), re.MULTILINE):
        found[key].append(value)
    return dict(found)


def allowed_calls(filters: Iterable[str]) -> set[str]:
    """The system calls that these `SystemCallFilter=` lines allow, the first of which is an allow-list."""
    sets = _call_sets()
    allowed: set[str] = set()
    for line in filters:
        names = {call for name in line.removeprefix("~").split() for call in _expand(name, sets)}
        allowed = allowed - names if line.startswith("~") else allowed | names
    return allowed


def _expand(name: str, sets: dict[str, list[str]]) -> set[str]:
    if not name.startswith("@"):
        return {name}
    return {call for member in sets[name] for call in _expand(member, sets)}


def _call_sets() -> dict[str, list[str]]:
    """systemd's named sets of system calls, which may name each other."""
    sets: dict[str, list[str]] = {}
    for line in analyze("syscall-filter").stdout.splitlines():
        word = line.strip()
        if line.startswith("@"):
            members = sets[word] = []
        elif re.fullmatch(r"@?[\w-]+", word) and line.startswith(" "):
            members.append(word)
    return sets
