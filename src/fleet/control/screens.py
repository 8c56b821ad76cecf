"""What is run in a person's own terminal: tmux attached to a session, or a session's own tool going on with it.

The words are from hosts; each is quoted, and a pane is a pane. Pure.
"""

import re
import shlex

from fleet.config import HostSpec
from fleet.control.selectors import Candidate
from fleet.errors import UsageError

_PANE = re.compile(r"%\d{1,9}", re.ASCII)
_PATH = "PATH=$PATH:/usr/local/bin:/opt/homebrew/bin:$HOME/.local/bin"
# tool -> what goes on with a session by its id
_RESUME = {
    "codex": ("codex", "resume"),
    "claude": ("claude", "--resume"),
    "opencode": ("opencode", "--session"),
}
_HOMES = {"codex": "CODEX_HOME", "claude": "CLAUDE_CONFIG_DIR"}


def attach_argv(session: Candidate) -> tuple[str, ...] | None:
    """What attaches to the session's tmux pane; None if it is in none."""
    pane = session.pane
    if pane is None or pane.kind != "tmux" or not _PANE.fullmatch(pane.id):
        return None
    # -u: the locale stays here, as all of the environment does, and tmux takes its absence for ASCII.
    return ("tmux", "-u", *(("-S", pane.socket) if pane.socket else ()), "attach-session", "-t", pane.id)


def remote_command(argv: tuple[str, ...]) -> str:
    """The argv as a command for the user's login shell on a host, whose PATH may lack the usual places."""
    return f"exec /bin/sh -c '{_PATH}; exec \"$@\"' sh {shlex.join(argv)}"


def resume_command(session: Candidate) -> str:
    """The shell command that goes on with a session in its own tool. Raises `UsageError`."""
    words = _RESUME.get(session.tool)
    if words is None or session.id is None or session.id.startswith("pid-"):
        reason = (
            f"fleet knows no way to go on with a session of {session.tool}" if words is None else "it has no id"
        )
        raise UsageError(f"{session.key}: {reason}; attach to it, or start anew with `fleet run`")
    home = (
        f"{_HOMES[session.tool]}={shlex.quote(session.home)} " if session.home and _needs_home(session) else ""
    )
    there = f"cd {shlex.quote(session.cwd)} && " if session.cwd else ""
    return f"{there}{home}{shlex.join((*words, session.id))}"


def in_login_shell(command: str) -> str:
    """The command in the user's own interactive shell, with the PATH that the user has there."""
    return f'exec "${{SHELL:-/bin/sh}}" -ilc {shlex.quote(command)}'


def by_ssh(spec: HostSpec, command: str) -> str:
    """What a person types here to run the command on a host, in a terminal."""
    if spec.is_local:
        return command
    to = f"{spec.user}@{spec.address or spec.name}" if spec.user else spec.address or spec.name
    options = [f"-p {spec.port}"] if spec.port else []
    options += [f"-i {shlex.quote(path)}" for path in spec.identity]
    options += [f"-J {_hop(spec.jump)}"] if spec.jump else []
    return " ".join(["ssh -t", *options, shlex.quote(to), shlex.quote(command)])


def _needs_home(session: Candidate) -> bool:
    default = {"codex": "/.codex", "claude": "/.claude"}.get(session.tool)
    return default is not None and not (session.home or "").endswith(default)


def _hop(jump: HostSpec) -> str:
    user = f"{jump.user}@" if jump.user else ""
    port = f":{jump.port}" if jump.port else ""
    before = f"{_hop(jump.jump)}," if jump.jump else ""
    return f"{before}{user}{jump.address or jump.name}{port}"
