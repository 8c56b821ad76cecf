"""fleet_agent.control.tmux in real tmux: what is started, and when a key is pressed.

The programs in the panes paint screens that were recorded of the real terminal UIs, and write down all that
they get. The real ones: tests/e2e/test_control_tmux.py.
"""

import dataclasses
import functools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fleet_agent.control import groups, keys, terminal, tmux
from fleet_agent.control.commands import Command, NotPossible
from fleet_agent.control.groups import Started
from fleet_agent.control.tmux import Begun, Terminal
from fleet_agent.wire import Pane
from lab import procs
from lab.waiting import wait_until
from screens import painter

pytestmark = pytest.mark.skipif(shutil.which("tmux") is None, reason="needs tmux")

IDLE, DRAFT, WORKING = (f"codex-0.169.0-{name}" for name in ("idle", "draft", "working"))
OPENCODE = "opencode-1.18.33"
APPROVAL, TRUST = "codex-0.169.0-approval-cmd", "codex-0.169.0-trust"
PASTED = "\x1b[201~"  # the end of a bracketed paste
HOME, END = b"\x1b[1~", b"\x1b[4~"  # as tmux sends them


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory with the socket of a tmux server of this test alone, and a home without configuration."""
    with tempfile.TemporaryDirectory(prefix="fleet-tmux-") as directory:
        root = Path(directory)
        (root / "home").mkdir()
        monkeypatch.setenv("HOME", str(root / "home"))
        monkeypatch.setenv("TMUX", "/nowhere,1,0")  # as for whoever runs fleet in tmux
        yield root
        subprocess.run(["tmux", "-S", str(root / "s"), "kill-server"], capture_output=True)


def run(server: Path, *argv: str, tool: str = "any", prompt: str = "", cwd: Path | None = None) -> Begun:
    command = Command(argv, {"FLEET_RUN": "brave-bear"}, prompt.encode())
    directory = str(cwd or server)
    return tmux.start(tool, command, directory, "brave-bear", environ={}, socket=str(server / "s"), ready_s=10)


def painted(server: Path, *frames: tuple[str, str], tool: str = "codex") -> tuple[Terminal, Path]:
    argv, log = painter(server, *frames)
    started = run(server, *argv, tool=tool).terminal
    wait_until(lambda: terminal.look(started).text or None, "the screen is painted", timeout_s=10)
    time.sleep(0.1)
    return started, log


def tmux_says(server: Path, *words: str) -> str:
    done = subprocess.run(["tmux", "-S", str(server / "s"), *words], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def refused(act: Callable[[], object]) -> NotPossible:
    with pytest.raises(NotPossible) as caught:
        act()
    return caught.value


def end_of(started: Terminal) -> tuple[int | None, int | None]:
    ended = wait_until(lambda: tmux.ended(started), "tmux knows how it ended", timeout_s=10)
    assert abs(ended.ended_at - time.time()) < 60
    return ended.exit_code, ended.signal


def test_a_run(server: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command runs in a session of its name, in its directory, at a fixed size, with its arguments whole."""
    monkeypatch.setenv("CODEX_THREAD_ID", "another")
    directory = server / "a #(touch spoilt) #{pane_id};"
    directory.mkdir()
    script = 'pwd; echo "$FLEET_RUN" "$CODEX_THREAD_ID" "$@"; stty size; sleep 600'
    started = run(server, "sh", "-c", script, "sh", "a b", "x;", ";", "#{pane_id}", cwd=directory).terminal
    shown = wait_until(lambda: s if "48 160" in (s := tmux.history(started)) else None, "it ran", timeout_s=10)
    assert shown.splitlines() == [str(directory), "brave-bear  a b x; ; #{pane_id}", "48 160"]
    assert not list(server.rglob("spoilt"))
    assert tmux_says(server, "list-sessions", "-F", "#{session_name}") == "fleet-brave-bear"
    assert groups.started(started.process.pid) == started.process
    assert tmux.attach_command(started.pane, "brave-bear")[-3:] == ("attach-session", "-t", "=fleet-brave-bear")
    assert tmux.ended(started) is None


def test_how_it_ended(server: Path) -> None:
    """The exit code stays with the pane, and what it showed, until the run is forgotten; then nobody knows."""
    started = run(server, "sh", "-c", "echo last words; exit 3").terminal
    assert end_of(started) == (3, None)
    assert tmux.history(started).startswith("last words")
    tmux.forget(started, "another-name")
    assert tmux.ended(started) is not None
    tmux.forget(started, "brave-bear")
    assert tmux.ended(started) is None


def test_stop(server: Path) -> None:
    """The program and what it started are ended; by which signal is told."""
    started = run(server, "sh", "-c", "sleep 600 & exec sleep 601").terminal
    below = wait_until(lambda: procs.family([started.process.pid]) or None, "it started more", timeout_s=10)
    assert tmux.stop(started, grace_s=5) == []
    assert not any(process.alive() for process in below)
    assert end_of(started) == (None, signal.SIGTERM)


def test_a_server_that_keeps_nothing_unattached(server: Path) -> None:
    """A run survives `destroy-unattached` in the user's tmux.conf."""
    (server / "home/.tmux.conf").write_text("set -g destroy-unattached on\n")
    started = run(server, "sleep", "600").terminal
    time.sleep(0.3)
    assert started.process.lives()


def test_what_is_not_started(server: Path) -> None:
    """A directory that is not there, a name that is taken, a text that is more than that: nothing runs."""
    assert "is not a directory" in refused(lambda: run(server, "sleep", "1", cwd=server / "none")).message
    assert "does not know the screens" in refused(lambda: run(server, "sleep", "1", prompt="hello")).message
    for prompt in ("\x1b[201~x", "a\rb", "!rm -rf x", " !x"):
        asked = functools.partial(run, server, "sleep", "1", tool="codex", prompt=prompt)
        assert refused(asked).kind == "bad_request"
    assert not (server / "s").exists()
    run(server, "sleep", "600")
    assert "duplicate session" in refused(lambda: run(server, "sleep", "601")).message


def test_a_prompt(server: Path) -> None:
    """It is pasted into the empty box as one text, shown there, and only then comes Enter."""
    argv, log = painter(server, (IDLE, PASTED), (DRAFT, "\r"), (WORKING, ""))
    begun = run(server, *argv, tool="codex", prompt="two\nlines")
    assert begun.trouble is None
    assert log.read_bytes() == b"\x1b[200~two\nlines\x1b[201~\r"
    assert tmux_says(server, "list-buffers") == ""


def test_a_dialog_of_the_start(server: Path) -> None:
    """A question of trust is told, and nobody answers it; the session stays for a person."""
    argv, log = painter(server, (TRUST, ""))
    begun = run(server, *argv, tool="codex", prompt="hello")
    assert begun.trouble is not None
    assert "asks whether this folder is to be trusted" in begun.trouble.message
    assert begun.terminal.process.lives()
    assert log.read_bytes() == b""


def test_an_end_at_the_start(server: Path) -> None:
    """A tool that ends before it takes a prompt: what it said is told."""
    begun = run(server, "sh", "-c", "echo not logged in; exit 1", tool="codex", prompt="hello")
    assert begun.trouble is not None
    assert "ended at once" in begun.trouble.message
    assert "not logged in" in begun.trouble.hint


def test_send(server: Path) -> None:
    """A text goes into the running turn, and is gone from the box before anything is said to be done."""
    started, log = painted(server, (WORKING, PASTED), ("codex-0.169.0-working-draft", "\r"), (WORKING, ""))
    assert tmux.send(started, "more, of @file").message == "sent into the running turn"
    assert log.read_bytes() == b"\x1b[200~more, of @file \x1b[201~\r"


def test_a_text_that_is_not_taken(server: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A text that still stands in the box was not sent, and that is said. Enter is not pressed again: nothing
    shows that the first one was read."""
    monkeypatch.setattr(keys, "SHOWN_S", 1.0)
    monkeypatch.setattr(keys, "TAKEN_S", 0.5)
    started, log = painted(server, (IDLE, PASTED), (DRAFT, ""))
    assert "was not taken" in refused(lambda: tmux.send(started, "hello")).message
    assert log.read_bytes().endswith(b"\x1b[201~\r" + HOME)


def test_an_enter_that_is_lost(server: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Enter is pressed again when later keys had their effect, and it had none; so often at most."""
    monkeypatch.setattr(keys, "SHOWN_S", 3.0)
    monkeypatch.setattr(keys, "TAKEN_S", 0.5)
    home, end = HOME.decode(), END.decode()
    lost = ((DRAFT, home), (f"{DRAFT}@2", end), (DRAFT, "\r"))
    always = lost[:2] * keys.ENTERS
    started, log = painted(server, (IDLE, PASTED), *lost, (WORKING, PASTED), *always, (DRAFT, ""))
    assert tmux.send(started, "hello").message == "sent"
    assert log.read_bytes() == b"\x1b[200~hello\x1b[201~" + b"\r" + HOME + END + b"\r"
    assert "was not taken" in refused(lambda: tmux.send(started, "more")).message
    assert log.read_bytes().endswith((b"\r" + HOME + END) * keys.ENTERS)


def test_an_enter_that_comes_late(server: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An approval prompt that comes for it meanwhile gets no Enter."""
    monkeypatch.setattr(keys, "SHOWN_S", 1.0)
    monkeypatch.setattr(keys, "TAKEN_S", 0.5)
    started, log = painted(server, (IDLE, PASTED), (DRAFT, HOME.decode()), (APPROVAL, ""))
    assert tmux.send(started, "hello").message == "sent"
    assert log.read_bytes() == b"\x1b[200~hello\x1b[201~" + b"\r" + HOME


@pytest.mark.parametrize(
    ("screen", "says"),
    [
        (DRAFT, "somebody is writing"),
        (TRUST, "trusted"),
        (APPROVAL, "it waits for an answer"),
        ("codex-0.145.0-dialog-model", "no input box"),
    ],
)
def test_where_nothing_is_sent(server: Path, screen: str, says: str) -> None:
    """Into a text of somebody's, a dialog, an approval: not one key is pressed."""
    started, log = painted(server, (screen, ""))
    assert says in refused(lambda: tmux.send(started, "hello")).message
    assert log.read_bytes() == b""


def test_interrupt(server: Path) -> None:
    """Escape, only while a turn runs, and the turn is seen to have ended."""
    started, log = painted(server, (WORKING, "\x1b"), ("codex-0.169.0-interrupted", ""))
    assert tmux.interrupt(started).message == "interrupted"
    assert "no turn is running" in refused(lambda: tmux.interrupt(started)).message
    assert log.read_bytes() == b"\x1b"


def test_interrupt_opencode(server: Path) -> None:
    """It wants a second Escape, and says so."""
    frames = (
        (f"{OPENCODE}-working", "\x1b"),
        (f"{OPENCODE}-working-again", "\x1b"),
        (f"{OPENCODE}-interrupted", ""),
    )
    started, log = painted(server, *frames, tool="opencode")
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
def test_decide(server: Path, tool: str, screen: str, decision: str, key: bytes) -> None:
    """The one key that the prompt itself names; it is seen to go; a second answer finds it resolved."""
    after = {"codex": IDLE, "claude": "claude-2.1.329-idle", "opencode": f"{OPENCODE}-idle"}[tool]
    started, log = painted(server, (screen, key.decode()), (after, ""), tool=tool)
    asked = tmux.pending(started)
    assert asked is not None
    tmux.decide(started, decision, asked.request_id)
    assert log.read_bytes() == key
    assert refused(lambda: tmux.decide(started, decision, asked.request_id)).kind == "already_resolved"
    assert tmux.pending(started) is None
    assert log.read_bytes() == key


def test_what_is_not_decided(server: Path) -> None:
    """Another request than the one that was seen, an answer that it does not offer: no key."""
    started, log = painted(server, (APPROVAL, ""))
    assert refused(lambda: tmux.decide(started, "accept", "screen-0")).kind == "already_resolved"
    assert (
        "no answer for accept_for_session"
        in refused(lambda: tmux.decide(started, "accept_for_session")).message
    )
    assert log.read_bytes() == b""


def test_what_opencode_does_not_show(server: Path) -> None:
    """What may ask for more than it shows is not approved; and a refusal that is not one yet is told."""
    frames = ((f"{OPENCODE}-approval-long", "\x1b"), (f"{OPENCODE}-reject-why", ""))
    started, log = painted(server, *frames, tool="opencode")
    assert "does not show all" in refused(lambda: tmux.decide(started, "accept")).message
    assert log.read_bytes() == b""
    assert "what is to be done instead" in refused(lambda: tmux.decide(started, "decline")).message


def test_an_answer_that_somebody_marked(server: Path) -> None:
    """Enter would give the answer that is marked: it is not pressed for another one than was seen."""
    frames = ((f"{OPENCODE}-approval-always", "\x1b[C"), (f"{OPENCODE}-approval-cmd", "\x1b[C"))
    started, log = painted(server, *frames, (f"{OPENCODE}-approval-always", ""), tool="opencode")
    assert "no answer for accept" in refused(lambda: tmux.decide(started, "accept")).message
    tmux_says(server, "send-keys", "-t", started.pane.id, "Right")
    seen = wait_until(lambda: tmux.pending(started), "it can be accepted", timeout_s=10)
    wait_until(lambda: "accept" in (tmux.pending(started) or seen).decisions or None, "it is", timeout_s=10)
    marked = terminal.look(started).screen.approval
    tmux_says(server, "send-keys", "-t", started.pane.id, "Right")
    gone = lambda: "accept" not in (tmux.pending(started) or seen).decisions or None  # noqa: E731
    wait_until(gone, "another answer is marked", timeout_s=10)
    assert marked is not None
    assert not tmux._offers(terminal.look(started).screen, marked)
    assert b"\r" not in log.read_bytes()


def test_a_prompt_that_stays(server: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key without effect is no success, and is not pressed again."""
    monkeypatch.setattr(keys, "SHOWN_S", 1.0)
    started, log = painted(server, (APPROVAL, ""))
    assert refused(lambda: tmux.decide(started, "accept")).kind == "timeout"
    assert log.read_bytes() == b"y"


def test_a_screen_that_changed(server: Path) -> None:
    """tmux itself compares, as it presses: what was seen is no longer there, so nothing is."""
    started, log = painted(server, (APPROVAL, "z"), (DRAFT, "z"), (IDLE, ""))
    asked = terminal.look(started)
    tmux_says(server, "send-keys", "-t", started.pane.id, "z")
    wait_until(lambda: terminal.look(started).screen.draft or None, "the screen changes", timeout_s=10)
    assert not terminal.press(started, asked, "y")
    assert not terminal.press(started, terminal.look(started), "y", "Press enter to confirm")
    before = terminal.look(started)
    tmux_says(server, "send-keys", "-t", started.pane.id, "z")
    wait_until(lambda: terminal.look(started).screen.draft == "" or None, "it changes again", timeout_s=10)
    assert not terminal.press(started, before, "Enter")
    assert not terminal.paste(started, before, "text")
    assert log.read_bytes() == b"zz"
    assert tmux_says(server, "list-buffers") == ""


def test_another_process(server: Path) -> None:
    """A pid that was reused, a process of another pane, a pane that is gone: stale, and no key."""
    started, log = painted(server, (WORKING, ""))
    other = subprocess.Popen(["sleep", "600"])
    try:
        stranger = groups.started(other.pid)
        assert stranger is not None
        for wrong in (
            dataclasses.replace(started, process=Started(started.process.pid, started.process.ticks + 1)),
            dataclasses.replace(started, process=stranger),
            dataclasses.replace(started, pane=Pane("tmux", "%77", started.pane.socket)),
        ):
            assert refused(functools.partial(tmux.interrupt, wrong)).kind == "stale"
            assert refused(functools.partial(tmux.send, wrong, "x")).kind == "stale"
            assert refused(functools.partial(tmux.decide, wrong, "accept")).kind == "stale"
    finally:
        other.kill()
        other.wait()
    assert log.read_bytes() == b""


def test_a_pane_of_anybody(server: Path) -> None:
    """A tool that a person started in a shell is driven as well; suspended, its shell gets nothing."""
    argv, log = painter(server, (WORKING, "\x1b"), ("codex-0.169.0-interrupted", ""))
    shell = run(server, "bash", "--norc", "-i").terminal
    tmux_says(server, "send-keys", "-t", shell.pane.id, "-l", " ".join(argv))
    tmux_says(server, "send-keys", "-t", shell.pane.id, "Enter")
    (child,) = wait_until(lambda: procs.children(shell.process.pid) or None, "it runs", timeout_s=10)
    process = groups.started(child)
    assert process is not None
    theirs = Terminal(shell.pane, process, "codex")
    wait_until(lambda: terminal.look(theirs).screen.working or None, "it shows its screen", timeout_s=10)
    os.kill(child, signal.SIGSTOP)
    suspended = lambda: "suspended" in refused(lambda: tmux.interrupt(theirs)).message or None  # noqa: E731
    wait_until(suspended, "the shell is back", timeout_s=10)
    assert log.read_bytes() == b""
    tmux_says(server, "send-keys", "-t", shell.pane.id, "fg", "Enter")
    wait_until(lambda: terminal.look(theirs).screen.working or None, "it is back", timeout_s=10)
    assert tmux.interrupt(theirs).message == "interrupted"


def test_a_pane_that_takes_keys_for_itself(server: Path) -> None:
    """Somebody scrolls, or types into several panes at once: refused with what would help."""
    started, log = painted(server, (WORKING, ""))
    tmux_says(server, "copy-mode", "-t", started.pane.id)
    assert "copy mode" in refused(lambda: tmux.interrupt(started)).message
    tmux_says(server, "send-keys", "-X", "-t", started.pane.id, "cancel")
    tmux_says(server, "set-option", "-w", "-t", started.pane.id, "synchronize-panes", "on")
    assert "other panes" in refused(lambda: tmux.interrupt(started)).message
    assert log.read_bytes() == b""


def test_tools_that_are_not_known(server: Path) -> None:
    """No key for a tool whose dialogs nobody knows, none in a terminal that is not tmux's."""
    started = run(server, "sleep", "600", tool="gemini").terminal
    assert "does not know the screens of gemini" in refused(lambda: tmux.send(started, "x")).message
    kitty = Terminal(Pane("kitty", "3"), started.process, "codex")
    assert "runs in kitty" in refused(lambda: tmux.send(kitty, "x")).message


def test_without_tmux(server: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host without tmux says so, and what would work there."""
    monkeypatch.setattr(terminal, "find", lambda *_: None)
    caught = refused(lambda: run(server, sys.executable))
    assert (caught.kind, caught.hint) == ("tool_missing", "install it, or use mode exec or app-server")


def test_a_server_that_is_gone(server: Path) -> None:
    """A run whose tmux server was killed is not told to have ended in any way: it is lost."""
    started = run(server, "sleep", "600").terminal
    tmux_says(server, "kill-server")
    wait_until(lambda: not started.process.lives() or None, "it is gone", timeout_s=10)
    assert tmux.ended(started) is None
    tmux.forget(started, "brave-bear")
