"""How each tool is started: a `Start` -> argv, and what goes to its stdin. Pure.

A prompt is never part of an argv, which every user of the machine can read. What a tool, or this release of it,
does not take is refused here, in words, rather than by the tool in a log that nobody reads. The flags are those
that the real programs take: Codex 0.36 to 0.169, Claude Code 2.1, OpenCode 1.18.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from fleet_agent.control import wire

RUN_VARIABLE = "FLEET_RUN"  # the name of the run, in the environment of all that it starts
# Of a session that this one is started from inside of, with a tool call: not ours to hand on. A Codex would
# take another's thread for its parent, and a Claude Code refuses to start in another.
SESSION_VARIABLES = (
    "CODEX_THREAD_ID",
    "CODEX_SESSION_ID",
    "CODEX_TOOL_CALL_ID",
    "CODEX_CI",
    "CODEX_SANDBOX",
    "CODEX_SANDBOX_NETWORK_DISABLED",
    "CLAUDECODE",
    "CLAUDE_CODE_ENTRYPOINT",
    "CLAUDE_CODE_SESSION_ID",
    "CLAUDE_CODE_SESSION_KIND",
    "CLAUDE_JOB_DIR",
)
CODEX_SANDBOXES = ("read-only", "workspace-write", "danger-full-access")
CODEX_APPROVALS = ("untrusted", "on-request", "never")
CODEX_APPROVALS_NOW = ("on-request", "never")  # from 0.150 on
CODEX_EXEC_FORKS = (0, 150)  # the first release, of those that were tried, that has `codex exec fork`
CLAUDE_PERMISSIONS = ("default", "manual", "plan", "acceptEdits", "auto", "dontAsk", "bypassPermissions")

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_OPENCODE_ID = re.compile(r"ses_[0-9A-Za-z]+")
_RELEASE = re.compile(r"(\d+)\.(\d+)")
_FORMAT_FLAGS = ("--json", "--experimental-json", "--output-format", "--input-format")


@dataclass(frozen=True)
class Command:
    """What to run. `argv[0]` is the program; `environ` is added to the environment; `stdin` is the prompt.

    The stdin of a terminal UI is text to be pasted, where there is any.
    """

    argv: tuple[str, ...]
    environ: Mapping[str, str]
    stdin: bytes = b""


class NotPossible(Exception):
    """What is asked for cannot be done; nothing was changed. `kind`: one of `wire.REFUSALS`."""

    def __init__(self, message: str, hint: str = "", *, kind: str = "not_possible") -> None:
        super().__init__(message)
        self.kind, self.message, self.hint = kind, message, hint

    def refused(self) -> wire.Refused:
        """The reply that says so."""
        return wire.Refused(self.kind, self.message, self.hint)


def exec_command(tool: str, release: str | None, start: wire.Start, program: str) -> Command:
    """One prompt to its end, events as JSON lines on stdout. `release` None: not known, taken for a new one."""
    build = _EXEC.get(tool)
    if build is None:
        raise NotPossible(
            f"fleet reads no event stream of {tool}, so it has no mode exec",
            f"mode tmux runs {tool} in a terminal; mode exec is for {' and '.join(_EXEC)}",
        )
    if not start.prompt or not start.prompt.strip():
        raise _bad("mode exec needs a prompt: it runs one to its end", "pass a prompt, or use mode tmux")
    _check(tool, release, start)
    if tool == "codex" and start.fork and _number(release) < CODEX_EXEC_FORKS:
        raise NotPossible(
            f"codex {release} has no `codex exec fork`",
            "mode app-server and mode tmux fork sessions with it, too",
        )
    return Command((program, *build(start)), _environ(start), start.prompt.encode())


def terminal_command(tool: str, release: str | None, start: wire.Start, program: str) -> Command:
    """The tool's own terminal UI, or any other command. The prompt is in `stdin`, to be pasted into it."""
    _check(tool, release, start)
    arguments = _TERMINAL.get(tool, _any_terminal)(start)
    return Command((program, *arguments), _environ(start), (start.prompt or "").encode())


def resume_command(tool: str, session_id: str) -> tuple[str, ...]:
    """What a person types to go on with a session in a terminal. Not for subagent threads."""
    words = _RESUME.get(tool)
    if words is None:
        raise NotPossible(f"fleet does not know how {tool} resumes a session", f"see {tool} --help")
    return (*words, _session_id(tool, session_id))


def environment(inherited: Mapping[str, str], command: Command) -> dict[str, str]:
    """The environment to run a command in: what is inherited, without the marks of another session."""
    return {name: value for name, value in inherited.items() if name not in SESSION_VARIABLES} | dict(
        command.environ
    )


def _check(tool: str, release: str | None, start: wire.Start) -> None:
    if start.cwd is not None and not start.cwd.startswith("/"):
        raise _bad(f"cwd is not an absolute path: {start.cwd}", "give the whole path of the directory")
    if any("\0" in text for text in (start.prompt or "", start.cwd or "", start.model or "", *start.arguments)):
        raise _bad("a NUL character in the request", "remove it")
    if tool == "codex":
        _check_codex(release, start)


def _environ(start: wire.Start) -> dict[str, str]:
    return {RUN_VARIABLE: start.name} if start.name else {}


def _codex_exec(start: wire.Start) -> list[str]:
    """`-a` is an option of `codex` alone; -s and -C come before `resume`, which does not take them."""
    _no_format(start)
    for word in start.arguments:
        if word in ("-a", "--ask-for-approval") or word.startswith("--ask-for-approval="):
            raise _bad(f"codex exec does not take {word}", "give the approval policy as --approval")
        if word == "--full-auto":
            raise _bad("codex exec does not take --full-auto any more", "use --sandbox workspace-write")
    approval = _option("-a", start.approval)
    options = [*_option("-s", start.sandbox), *_option("-C", start.cwd), *_option("-m", start.model)]
    # --json is last, so that an option with many values (-i FILE...) among the arguments ends there
    return [*approval, "exec", *options, *start.arguments, "--json", *_codex_before(start), "-"]


def _codex_terminal(start: wire.Start) -> list[str]:
    options = [*_option("-m", start.model), *_option("-s", start.sandbox), *_option("-a", start.approval)]
    return [*_codex_before(start), *start.arguments, *options, *_option("-C", start.cwd)]


def _codex_before(start: wire.Start) -> list[str]:
    """Which session it goes on with, or with a copy of which."""
    if start.fork:
        return ["fork", _session_id("codex", start.fork)]
    return ["resume", _session_id("codex", start.resume)] if start.resume else []


def _check_codex(release: str | None, start: wire.Start) -> None:
    if start.sandbox is not None and start.sandbox not in CODEX_SANDBOXES:
        raise _unknown("codex", "sandbox", start.sandbox, CODEX_SANDBOXES)
    policies = CODEX_APPROVALS if _number(release) < (0, 150) else CODEX_APPROVALS_NOW
    if start.approval is not None and start.approval not in policies:
        raise _unknown(f"codex {release or ''}".strip(), "approval policy", start.approval, policies)


def _claude_exec(start: wire.Start) -> list[str]:
    _no_format(start)
    streams = ["--input-format", "text", "--output-format", "stream-json", "--verbose"]
    return ["-p", *_claude_options(start), *streams]


def _claude_terminal(start: wire.Start) -> list[str]:
    return _claude_options(start)


def _claude_options(start: wire.Start) -> list[str]:
    if start.sandbox is not None:
        raise NotPossible(
            "claude has no sandbox mode to choose",
            "its permission mode is --approval; a sandbox is set up in its settings.json",
        )
    if start.approval is not None and start.approval not in CLAUDE_PERMISSIONS:
        raise _unknown("claude", "permission mode", start.approval, CLAUDE_PERMISSIONS)
    before = start.resume or start.fork
    resume = _option("--resume", _session_id("claude", before) if before else None)
    fork = ["--fork-session"] if start.fork else []
    mode = _option("--permission-mode", start.approval)
    # the arguments first: an option with many values among them ends at the next option
    return [*start.arguments, *_option("--model", start.model), *mode, *resume, *fork]


def _opencode_terminal(start: wire.Start) -> list[str]:
    _refuse_options("opencode", start, ("sandbox", "approval"), "permissions are set up in opencode.json")
    before = start.resume or start.fork
    session = _option("--session", _session_id("opencode", before) if before else None)
    return [*start.arguments, *_option("--model", start.model), *session, *(["--fork"] if start.fork else [])]


def _any_terminal(start: wire.Start) -> list[str]:
    hint = f"give {start.tool}'s own options after the options of fleet"
    _refuse_options(start.tool, start, ("model", "sandbox", "approval", "resume", "fork"), hint)
    return list(start.arguments)


def _no_format(start: wire.Start) -> None:
    """The formats are ours to choose: what comes out is read."""
    for word in start.arguments:
        if word.partition("=")[0] in _FORMAT_FLAGS:
            raise _bad(f"{word} is fleet's to choose: it reads the output", "leave it out")


def _refuse_options(tool: str, start: wire.Start, names: tuple[str, ...], hint: str) -> None:
    for name in names:
        if getattr(start, name) is not None:
            raise NotPossible(f"fleet knows no option of {tool} for --{name}", hint)


def _session_id(tool: str, text: str) -> str:
    """An id and nothing else: a Codex takes an unknown name for the wish to start a new session."""
    shape = _OPENCODE_ID if tool == "opencode" else _UUID
    if not shape.fullmatch(text):
        raise _bad(f"not the id of a {tool} session: {text}", "it is the whole id, as fleet status shows it")
    return text


def _option(flag: str, value: str | None) -> list[str]:
    """A flag and its value as one or two words; a value must not be read as a flag."""
    if value is None:
        return []
    if value.startswith("-"):
        raise _bad(
            f"{value} looks like an option, as the value of {flag}", "give it after the options of fleet"
        )
    return [flag, value]


def _number(release: str | None) -> tuple[int, int]:
    """Major and minor number; of what says none, those of a new release."""
    found = _RELEASE.search(release or "")
    return (int(found[1]), int(found[2])) if found else (999, 0)


def _unknown(tool: str, what: str, value: str, known: tuple[str, ...]) -> NotPossible:
    return _bad(f"{tool} has no {what} {value}", f"it takes {', '.join(known)}")


def _bad(message: str, hint: str) -> NotPossible:
    return NotPossible(message, hint, kind="bad_request")


_EXEC = {"codex": _codex_exec, "claude": _claude_exec}
_TERMINAL = {"codex": _codex_terminal, "claude": _claude_terminal, "opencode": _opencode_terminal}
_RESUME = {
    "codex": ("codex", "resume"),
    "claude": ("claude", "--resume"),
    "opencode": ("opencode", "--session"),
}
