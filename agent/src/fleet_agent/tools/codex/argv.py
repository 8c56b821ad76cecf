"""What a native codex process is, by its program and its arguments. Pure.

Measured on Codex 0.21 to 0.169. The npm wrapper is a `node` process and never matches; helpers of the sandbox
run the same program under another argv[0].
"""

import os
import re
from functools import lru_cache

# The npm package of 0.36 and older names the binary for its platform; the kernel cuts short names at 15
# characters, and that is all that can be seen of another user's process.
_PROGRAM = re.compile(r"codex(-(x86_64|aarch64|arm64)(-[\w-]+)?|-x86_64-un|-aarch64-u|-aarch64-a)?")

_VALUED = re.compile(
    r"-[cmpsCai]|--(config|model|profile|sandbox|cd|ask-for-approval|image|enable|disable|remote|local-provider"
    r"|remote-auth-token-env|add-dir)"
)
_HELPERS = re.compile(r"(.*/)?(codex-linux-sandbox|apply_?patch)")
_HELPER_PROGRAMS = ("bwrap", "codex-code-mode-host", "codex-linux-sandbox")
_HELPER_FLAG = "--codex-run-as-"  # Codex runs itself to start a tool, to patch a file ...
_EXEC = ("exec", "e", "review")
_SERVERS = ("app-server", "mcp-server", "proto")  # the last two until 0.152 and 0.36
_OWN_SERVER = re.compile(r"--no-daemon|-[cp].*|--(config|profile)(=.*)?|--disable=daemon_auto_start")
_NOT_SESSIONS = re.compile(
    r"login|logout|mcp|plugin|completion|debug|apply|a|sandbox|cloud|cloud-tasks|features|queue|doctor|archive"
    r"|unarchive|delete|migrate-rollouts|exec-server|execpolicy|responses-api-proxy|remote-control|update|app|help"
    r"|stdio-to-uds|generate-ts"
)


def is_codex(image: str) -> bool:
    """Whether a program (its path, or a short process name) is the native Codex binary."""
    return _PROGRAM.fullmatch(os.path.basename(image)) is not None


def is_helper(image: str) -> bool:
    """Whether a program below Codex is part of Codex: its sandbox, its own binary, code mode's host."""
    return is_codex(image) or os.path.basename(image) in _HELPER_PROGRAMS


@lru_cache(maxsize=512)
def kind(argv: tuple[str, ...]) -> str | None:
    """tui | exec | app-server | daemon; None for what holds no session: sandbox helpers, updaters, `login` ...

    >>> kind(("codex", "-m", "gpt-5.5", "exec", "hello"))
    'exec'
    """
    if (argv and _HELPERS.fullmatch(argv[0])) or "".join(argv[1:2]).startswith(_HELPER_FLAG):
        return None
    command, rest = _command(argv)
    if command in _EXEC:
        return "exec"
    if command in _SERVERS:
        if "--managed-daemon" in rest:
            return "daemon"
        return None if rest[:1] == ["daemon"] or rest[:1] == ["proxy"] else "app-server"
    return None if command and _NOT_SESSIONS.fullmatch(command) else "tui"


def is_ephemeral(argv: tuple[str, ...]) -> bool:
    """Whether a `codex exec` was told to write nothing down: it has no lock and no rollout."""
    return kind(argv) == "exec" and "--ephemeral" in _options(argv)


def is_terminal(argv: tuple[str, ...]) -> bool:
    """Whether this is a terminal UI for one conversation: `codex`, `codex resume`, `codex "do this"`.

    `codex agents` and words that no release is known to have as a command are not.
    """
    command, _ = _command(argv)
    return kind(argv) == "tui" and (command in (None, "resume", "fork") or " " in command)


def runs_own_server(argv: tuple[str, ...]) -> bool:
    """Whether a terminal UI of 0.163+ holds its thread itself, by its options, not through the daemon."""
    options = _options(argv)
    return "daemon_auto_start" in options or any(_OWN_SERVER.fullmatch(option) for option in options)


def is_remote(argv: tuple[str, ...]) -> bool:
    """Whether a terminal UI shows the threads of a server that was named to it, be it on another host."""
    return any(option == "--remote" or option.startswith("--remote=") for option in _options(argv))


def _options(argv: tuple[str, ...]) -> tuple[str, ...]:
    return argv[1 : argv.index("--")] if "--" in argv else argv[1:]


def _command(argv: tuple[str, ...]) -> tuple[str | None, list[str]]:
    """The first argument that is no option and no option's value, and what follows it."""
    arguments = iter(argv[1:])
    for argument in arguments:
        if _VALUED.fullmatch(argument):
            next(arguments, None)
        elif not argument.startswith("-"):
            return argument, list(arguments)
    return None, []
