"""fleet_agent.control.tmux in real tmux: what is started, how it ended, and each verb in terms of its keys.

The programs in the panes paint screens that were recorded of the real terminal UIs, and write down all that
they get. The real ones: tests/e2e/test_control_tmux.py. Of the keys themselves: test_agent_control_keys.py.
"""

import functools
import os
import shutil
import signal
import sys
import time
from pathlib import Path

import pytest

from fleet_agent.control import groups, keys, terminal, tmux, tmux_runs
from fleet_agent.control.events import Message
from fleet_agent.control.tmux import Terminal
from fleet_agent.control.wire import Done, Said
from fleet_agent.wire import Pane
from lab import procs
from lab.waiting import wait_until
from panes import painted, refused, run, tmux_says
from screens import painter

pytestmark = pytest.mark.skipif(shutil.which("tmux") is None, reason="needs tmux")

IDLE, DRAFT, WORKING = (f"codex-0.169.0-{name}" for name in ("idle", "draft", "working"))
OPENCODE = "opencode-1.18.33"
APPROVAL, TRUST = "codex-0.169.0-approval-cmd", "codex-0.169.0-trust"
PASTED = "\x1b[201~"  # the end of a bracketed paste


def end_of(started: Terminal) -> tuple[int | None, int | None]:
    ended = wait_until(lambda: tmux.ended(started), "tmux knows how it ended", timeout_s=10)
    assert abs(ended.ended_at - time.time()) < 60
    return ended.exit_code, ended.signal


def test_a_run(tmux_server: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command runs in a session of its name, in its directory, at a fixed size, with its arguments whole."""
    monkeypatch.setenv("CODEX_THREAD_ID", "another")
    directory = tmux_server / "a #(touch spoilt) #{pane_id};"
    directory.mkdir()
    script = 'pwd; echo "$FLEET_RUN" "$CODEX_THREAD_ID" "$@"; stty size; sleep 600'
    started = run(tmux_server, "sh", "-c", script, "sh", "a b", "x;", ";", "#{pane_id}", cwd=directory).terminal
    shown = wait_until(lambda: s if "48 160" in (s := tmux.history(started)) else None, "it ran", timeout_s=10)
    assert shown.splitlines() == [str(directory), "brave-bear  a b x; ; #{pane_id}", "48 160"]
    assert not list(tmux_server.rglob("spoilt"))
    assert tmux_says(tmux_server, "list-sessions", "-F", "#{session_name}") == "fleet-brave-bear"
    assert groups.started(started.process.pid) == started.process
    assert tmux.attach_command(started.pane, "brave-bear")[-3:] == ("attach-session", "-t", "=fleet-brave-bear")
    assert tmux.ended(started) is None


def test_how_it_ended(tmux_server: Path) -> None:
    """The exit code stays with the pane, and what it showed, until the run is forgotten; then nobody knows."""
    started = run(tmux_server, "sh", "-c", "echo last words; exit 3").terminal
    assert end_of(started) == (3, None)
    assert tmux.history(started).startswith("last words")
    tmux.forget(started, "another-name")
    assert tmux.ended(started) is not None
    tmux.forget(started, "brave-bear")
    assert tmux.ended(started) is None


def test_what_it_shows_is_its_log(tmux_server: Path) -> None:
    """One text, from its first line on; nothing, as long as it has shown nothing."""

    def logged() -> list[object]:
        said: list[object] = []
        assert tmux_runs.logs(started, said.append) == Done()
        return [one.event for one in said if isinstance(one, Said)]

    started = run(tmux_server, "sh", "-c", "read x; printf '\n\n  first\nsecond\n'; sleep 600").terminal
    assert logged() == []
    tmux_says(tmux_server, "send-keys", "-t", "=fleet-brave-bear:", "Enter")
    shown = wait_until(
        lambda: logged() if "second" in tmux.history(started) else None, "it shows it", timeout_s=10
    )
    assert shown == [Message("  first\nsecond")]


def test_stop(tmux_server: Path) -> None:
    """The program and what it started are ended; by which signal is told."""
    started = run(tmux_server, "sh", "-c", "sleep 600 & exec sleep 601").terminal
    below = wait_until(lambda: procs.family([started.process.pid]), "it started more", timeout_s=10)
    assert tmux.stop(started, grace_s=5) == []
    assert not any(process.alive() for process in below)
    assert end_of(started) == (None, signal.SIGTERM)


def test_a_server_that_keeps_nothing_unattached(tmux_server: Path) -> None:
    """A run survives `destroy-unattached` in the user's tmux.conf."""
    (tmux_server / "home/.tmux.conf").write_text("set -g destroy-unattached on\n")
    started = run(tmux_server, "sleep", "600").terminal
    time.sleep(0.3)
    assert started.process.lives()


def test_what_is_not_started(tmux_server: Path) -> None:
    """A directory that is not there, a name that is taken, a text that is more than that: nothing runs."""
    assert (
        "is not a directory"
        in refused(lambda: run(tmux_server, "sleep", "1", cwd=tmux_server / "none")).message
    )
    assert (
        "does not know the screens" in refused(lambda: run(tmux_server, "sleep", "1", prompt="hello")).message
    )
    for prompt in ("\x1b[201~x", "a\rb", "!rm -rf x", " !x"):
        asked = functools.partial(run, tmux_server, "sleep", "1", tool="codex", prompt=prompt)
        assert refused(asked).kind == "bad_request"
    assert not (tmux_server / "s").exists()
    run(tmux_server, "sleep", "600")
    assert "duplicate session" in refused(lambda: run(tmux_server, "sleep", "601")).message


def test_a_prompt(tmux_server: Path) -> None:
    """It is pasted into the empty box as one text, shown there, and only then comes Enter."""
    argv, log = painter(tmux_server, (IDLE, PASTED), (DRAFT, "\r"), (WORKING, ""))
    begun = run(tmux_server, *argv, tool="codex", prompt="two\nlines")
    assert begun.trouble is None
    assert log.read_bytes() == b"\x1b[200~two\nlines\x1b[201~\r"
    assert tmux_says(tmux_server, "list-buffers") == ""


def test_a_dialog_of_the_start(tmux_server: Path) -> None:
    """A question of trust is told, and nobody answers it; the session stays for a person."""
    argv, log = painter(tmux_server, (TRUST, ""))
    begun = run(tmux_server, *argv, tool="codex", prompt="hello")
    assert begun.trouble is not None
    assert "asks whether this folder is to be trusted" in begun.trouble.message
    assert begun.terminal.process.lives()
    assert log.read_bytes() == b""


def test_an_end_at_the_start(tmux_server: Path) -> None:
    """A tool that ends before it takes a prompt: what it said is told."""
    begun = run(tmux_server, "sh", "-c", "echo not logged in; exit 1", tool="codex", prompt="hello")
    assert begun.trouble is not None
    assert "ended at once" in begun.trouble.message
    assert "not logged in" in begun.trouble.hint


def test_interrupt(tmux_server: Path) -> None:
    """Escape, only while a turn runs, and the turn is seen to have ended."""
    started, log = painted(tmux_server, (WORKING, "\x1b"), ("codex-0.169.0-interrupted", ""))
    assert tmux.interrupt(started).message == "interrupted"
    assert "no turn is running" in refused(lambda: tmux.interrupt(started)).message
    assert log.read_bytes() == b"\x1b"


def test_interrupt_opencode(tmux_server: Path) -> None:
    """It wants a second Escape, and says so."""
    frames = (
        (f"{OPENCODE}-working", "\x1b"),
        (f"{OPENCODE}-working-again", "\x1b"),
        (f"{OPENCODE}-interrupted", ""),
    )
    started, log = painted(tmux_server, *frames, tool="opencode")
    assert tmux.interrupt(started).message == "interrupted"
    assert log.read_bytes() == b"\x1b\x1b"


@pytest.mark.parametrize(
    ("tool", "screen", "decision", "key"),
    [
        ("codex", APPROVAL, "accept", b"y"),
        ("codex", APPROVAL, "decline", b"\x1b"),
        ("codex", "codex-0.145.0-approval-patch", "accept_for_session", b"a"),
        ("claude", "claude-2.1.329-approval-cmd", "accept", b"1"),
        ("claude", "claude-2.1.329-approval-write", "cancel", b"3"),
        ("opencode", "opencode-1.18.33-approval-cmd", "accept", b"\r"),
        ("opencode", "opencode-1.18.33-approval-long", "decline", b"\x1b"),
    ],
)
def test_decide(tmux_server: Path, tool: str, screen: str, decision: str, key: bytes) -> None:
    """The one key that the prompt itself names; it is seen to go; a second answer finds it resolved."""
    after = {"codex": IDLE, "claude": "claude-2.1.329-idle", "opencode": f"{OPENCODE}-idle"}[tool]
    started, log = painted(tmux_server, (screen, key.decode()), (after, ""), tool=tool)
    asked = tmux.pending(started)
    assert asked is not None
    tmux.decide(started, decision, asked.request_id)
    assert log.read_bytes() == key
    assert refused(lambda: tmux.decide(started, decision, asked.request_id)).kind == "already_resolved"
    assert tmux.pending(started) is None
    assert log.read_bytes() == key


def test_what_is_not_decided(tmux_server: Path) -> None:
    """Another request than the one that was seen, an answer that it does not offer: no key."""
    started, log = painted(tmux_server, (APPROVAL, ""))
    assert refused(lambda: tmux.decide(started, "accept", "screen-0")).kind == "already_resolved"
    assert (
        "no answer for accept_for_session"
        in refused(lambda: tmux.decide(started, "accept_for_session")).message
    )
    assert log.read_bytes() == b""


def test_what_opencode_does_not_show(tmux_server: Path) -> None:
    """What may ask for more than it shows is not approved; and a refusal that is not one yet is told."""
    frames = ((f"{OPENCODE}-approval-long", "\x1b"), (f"{OPENCODE}-reject-why", ""))
    started, log = painted(tmux_server, *frames, tool="opencode")
    assert "does not show all" in refused(lambda: tmux.decide(started, "accept")).message
    assert log.read_bytes() == b""
    assert "what is to be done instead" in refused(lambda: tmux.decide(started, "decline")).message


def test_an_answer_that_somebody_marked(tmux_server: Path) -> None:
    """Enter would give the answer that is marked: it is not pressed for another one than was seen."""
    frames = ((f"{OPENCODE}-approval-always", "\x1b[C"), (f"{OPENCODE}-approval-cmd", "\x1b[C"))
    started, log = painted(tmux_server, *frames, (f"{OPENCODE}-approval-always", ""), tool="opencode")
    assert "no answer for accept" in refused(lambda: tmux.decide(started, "accept")).message
    tmux_says(tmux_server, "send-keys", "-t", started.pane.id, "Right")
    seen = wait_until(lambda: tmux.pending(started), "it can be accepted", timeout_s=10)
    wait_until(lambda: "accept" in (tmux.pending(started) or seen).decisions, "it is", timeout_s=10)
    marked = terminal.look(started).screen.approval
    tmux_says(tmux_server, "send-keys", "-t", started.pane.id, "Right")
    gone = lambda: "accept" not in (tmux.pending(started) or seen).decisions  # noqa: E731
    wait_until(gone, "another answer is marked", timeout_s=10)
    assert marked is not None
    assert not tmux._offers(terminal.look(started).screen, marked)
    assert b"\r" not in log.read_bytes()


def test_a_prompt_that_stays(tmux_server: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key without effect is no success, and is not pressed again."""
    monkeypatch.setattr(keys, "SHOWN_S", 1.0)
    started, log = painted(tmux_server, (APPROVAL, ""))
    assert refused(lambda: tmux.decide(started, "accept")).kind == "timeout"
    assert log.read_bytes() == b"y"


def test_a_pane_of_anybody(tmux_server: Path) -> None:
    """A tool that a person started in a shell is driven as well; suspended, its shell gets nothing."""
    argv, log = painter(tmux_server, (WORKING, "\x1b"), ("codex-0.169.0-interrupted", ""))
    shell = run(tmux_server, "bash", "--norc", "-i").terminal
    tmux_says(tmux_server, "send-keys", "-t", shell.pane.id, "-l", " ".join(argv))
    tmux_says(tmux_server, "send-keys", "-t", shell.pane.id, "Enter")
    (child,) = wait_until(lambda: procs.children(shell.process.pid), "it runs", timeout_s=10)
    process = groups.started(child)
    assert process is not None
    theirs = Terminal(shell.pane, process, "codex")
    wait_until(lambda: terminal.look(theirs).screen.working, "it shows its screen", timeout_s=10)
    os.kill(child, signal.SIGSTOP)
    suspended = lambda: "suspended" in refused(lambda: tmux.interrupt(theirs)).message  # noqa: E731
    wait_until(suspended, "the shell is back", timeout_s=10)
    assert log.read_bytes() == b""
    tmux_says(tmux_server, "send-keys", "-t", shell.pane.id, "fg", "Enter")
    wait_until(lambda: terminal.look(theirs).screen.working, "it is back", timeout_s=10)
    assert tmux.interrupt(theirs).message == "interrupted"


def test_tools_that_are_not_known(tmux_server: Path) -> None:
    """No key for a tool whose dialogs nobody knows, none in a terminal that is not tmux's."""
    started = run(tmux_server, "sleep", "600", tool="gemini").terminal
    assert "does not know the screens of gemini" in refused(lambda: tmux.send(started, "x")).message
    kitty = Terminal(Pane("kitty", "3"), started.process, "codex")
    assert "runs in kitty" in refused(lambda: tmux.send(kitty, "x")).message


def test_without_tmux(tmux_server: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host without tmux says so, and what would work there."""
    monkeypatch.setattr(terminal, "find", lambda *_: None)
    caught = refused(lambda: run(tmux_server, sys.executable))
    assert (caught.kind, caught.hint) == ("tool_missing", "install it, or use mode exec or app-server")


def test_a_server_that_is_gone(tmux_server: Path) -> None:
    """A run whose tmux server was killed is not told to have ended in any way: it is lost."""
    started = run(tmux_server, "sleep", "600").terminal
    tmux_says(tmux_server, "kill-server")
    wait_until(lambda: not started.process.lives(), "it is gone", timeout_s=10)
    assert tmux.ended(started) is None
    tmux.forget(started, "brave-bear")
