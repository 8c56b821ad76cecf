r"""What may be answered without a person: ~/.config/fleet-agent/policy.json. By default nothing.

    {"allow": [{"command": ["git", "status"], "cwd": "/srv/x"}]}

A rule allows commands whose words begin with those of `command`, run in `cwd` or below it. It never matches a
command that a shell would do more with than split it into words (pipes, redirections, variables, globs, quotes
that do not close ...), nor one that asks for more rights than its sandbox gives, unless `"escalated": true` is
said, nor a patch, a question or anything else. Whoever can write the file can have commands run without being
asked, so it must be the user's own, and nobody else's to write.
"""

import os
import shlex
import stat
from collections.abc import Mapping
from typing import Annotated

import msgspec

MAX_FILE_BYTES = 256 << 10
MAX_RULES = 1000
# Each of these makes a shell do something else than run one program with these words as they stand.
_SPECIAL = frozenset("|&;<>()$`\\*?[]{}~#!^\n\r\t\0")
# The model may name a shell of its own: only those in directories of the system are taken for what they say.
_SHELLS = frozenset(f"{at}/{name}" for at in ("/bin", "/usr/bin") for name in ("sh", "bash", "zsh", "dash"))
_SHELL_FLAGS = ("-c", "-lc")

_Word = Annotated[str, msgspec.Meta(min_length=1, max_length=4096)]


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One rule. `cwd` None: anywhere."""

    command: Annotated[tuple[_Word, ...], msgspec.Meta(min_length=1, max_length=100)]
    cwd: Annotated[str, msgspec.Meta(pattern="^/", max_length=4096)] | None = None
    escalated: bool = False


class Policy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    allow: Annotated[tuple[Rule, ...], msgspec.Meta(max_length=MAX_RULES)] = ()

    def allows(self, command: str, cwd: str | None, *, escalated: bool) -> bool:
        """Whether this may be run without a person. `command`: as the tool runs it, with its shell.

        `escalated`: it is to have more rights than its sandbox gives.
        """
        words = plain_words(command)
        return words is not None and any(_matches(rule, words, cwd, escalated) for rule in self.allow)


NOTHING = Policy()


class BadPolicy(Exception):
    """The file cannot be used, so nothing is allowed. The message names the file, the key and the fix."""


def path_of(environ: Mapping[str, str]) -> str:
    """Where the file is."""
    home = environ.get("HOME") or os.path.expanduser("~")
    config = environ.get("XDG_CONFIG_HOME") or os.path.join(home, ".config")
    return os.path.join(config, "fleet-agent", "policy.json")


def load(path: str) -> Policy:
    """The policy of a file; one that allows nothing where there is no file. Raises `BadPolicy`."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a pipe would be waited for
    except FileNotFoundError:
        return NOTHING
    except OSError as exc:
        raise BadPolicy(f"{path}: cannot be read: {exc.strerror}") from exc
    try:
        _check_owner(path, os.fstat(fd))
        content = os.read(fd, MAX_FILE_BYTES + 1)
    finally:
        os.close(fd)
    if len(content) > MAX_FILE_BYTES:
        raise BadPolicy(f"{path}: larger than {MAX_FILE_BYTES >> 10} KiB")
    return parse(content, path)


def parse(content: bytes, path: str) -> Policy:
    """The policy in a file's content. Raises `BadPolicy`. Pure."""
    try:
        return msgspec.json.decode(content, type=Policy)
    except (ValueError, RecursionError) as exc:
        raise BadPolicy(
            f'{path}: {exc}. It looks like {{"allow": [{{"command": ["git", "status"], "cwd": "/srv/x"}}]}}'
        ) from exc


def plain_words(command: str) -> tuple[str, ...] | None:
    """The words of a command that any shell runs as just these; None if it might do more. Pure.

    Codex shows what it runs through a shell as `/bin/bash -lc 'git status'`: then the inner one counts.

    >>> plain_words("/bin/bash -lc 'git status'"), plain_words("git status | sh")
    (('git', 'status'), None)
    """
    words = _split(command)
    if words and len(words) == 3 and words[0] in _SHELLS and words[1] in _SHELL_FLAGS:
        inner = words[2]
        return None if _SPECIAL.intersection(inner) else _split(inner)
    return None if _SPECIAL.intersection(command) else words


def _split(command: str) -> tuple[str, ...] | None:
    try:
        return tuple(shlex.split(command)) or None
    except ValueError:  # a quote that does not close
        return None


def _matches(rule: Rule, words: tuple[str, ...], cwd: str | None, escalated: bool) -> bool:
    if words[: len(rule.command)] != rule.command or (escalated and not rule.escalated):
        return False
    return rule.cwd is None or (cwd is not None and _is_within(cwd, rule.cwd))


def _is_within(path: str, directory: str) -> bool:
    """After symbolic links: a link in the directory may lead out of it."""
    path, directory = os.path.realpath(path), os.path.realpath(directory)
    return path == directory or path.startswith(directory.rstrip("/") + "/")


def _check_owner(path: str, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise BadPolicy(f"{path}: not a file")
    if found.st_uid != os.geteuid():
        raise BadPolicy(f"{path}: belongs to uid {found.st_uid}; chown it to {os.geteuid()}")
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise BadPolicy(f"{path}: others can write it; chmod 600 {shlex.quote(path)}")
