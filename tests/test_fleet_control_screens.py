"""fleet.control.screens: what is run in a person's terminal, with a host's words quoted."""

import shlex
import subprocess

import pytest

from fleet.config import HostSpec
from fleet.control import screens
from fleet.control.selectors import Candidate
from fleet.errors import UsageError
from fleet_agent.wire import Pane

EVIL = "x'; touch /tmp/planted; '$(id)"


def test_tmux_is_attached_to_a_pane() -> None:
    """By its id, on its own server."""
    session = Candidate("h", "codex", "i", pane=Pane("tmux", "%3", "/tmp/a b"))
    assert screens.attach_argv(session) == ("tmux", "-u", "-S", "/tmp/a b", "attach-session", "-t", "%3")


@pytest.mark.parametrize(
    "pane", [None, Pane("kitty", "%3"), Pane("tmux", "%3;kill-server"), Pane("tmux", "-x")]
)
def test_what_is_no_pane_is_not_attached_to(pane: Pane | None) -> None:
    """tmux takes many things for a target, and a host may send any."""
    assert screens.attach_argv(Candidate("h", "codex", "i", pane=pane)) is None


def test_a_hosts_words_stay_words() -> None:
    """Whatever they are, the shell there runs the program that was meant, with them as arguments."""
    command = screens.remote_command(("printf", "%s|", EVIL, "b c"))
    ran = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True)
    assert ran.stdout == f"{EVIL}|b c|"


@pytest.mark.parametrize(
    ("session", "command"),
    [
        (Candidate("h", "codex", "i1", cwd="/w x", home="/root/.codex"), "cd '/w x' && codex resume i1"),
        (Candidate("h", "codex", "i1", home="/other"), "CODEX_HOME=/other codex resume i1"),
        (Candidate("h", "claude", EVIL), f"claude --resume {shlex.quote(EVIL)}"),
    ],
)
def test_a_tools_own_command_goes_on(session: Candidate, command: str) -> None:
    """In its directory, with its home where that is not the usual one."""
    assert screens.resume_command(session) == command


@pytest.mark.parametrize(
    "session",
    [Candidate("h", "vim", "i"), Candidate("h", "codex", None, "a-b"), Candidate("h", "codex", "pid-1-2")],
)
def test_what_cannot_go_on_is_said_to(session: Candidate) -> None:
    """A tool that fleet does not know, a session that its tool has no id for."""
    with pytest.raises(UsageError, match="fleet run"):
        screens.resume_command(session)


def test_what_a_person_types_here() -> None:
    """The ssh command with all that hosts.toml says; on this machine the command itself."""
    outer = HostSpec("outer", "o.example", "jump", 2200)
    spec = HostSpec(
        "gpu", "10.0.0.4", "dev", 22, identity=("/k y",), jump=HostSpec("b", "b.example", jump=outer)
    )
    expected = "ssh -t -p 22 -i '/k y' -J jump@o.example:2200,b.example dev@10.0.0.4 'codex resume i'"
    assert screens.by_ssh(spec, "codex resume i") == expected
    assert screens.by_ssh(HostSpec("alias"), "x y") == "ssh -t alias 'x y'"
    assert screens.by_ssh(HostSpec("local"), "x y") == "x y"
