"""fleet_agent.control.keys in real tmux: what is typed, at which screen, and when a key is pressed again.

The programs in the panes paint screens that were recorded of the real terminal UIs, and write down all that
they get. The real ones: tests/e2e/test_control_tmux.py.
"""

import dataclasses
import functools
import shutil
import subprocess
from pathlib import Path

import pytest

from fleet_agent.control import groups, keys, terminal, tmux
from fleet_agent.control.groups import Started
from fleet_agent.wire import Pane
from lab.waiting import wait_until
from panes import painted, refused, tmux_says

pytestmark = pytest.mark.skipif(shutil.which("tmux") is None, reason="needs tmux")

IDLE, DRAFT, WORKING = (f"codex-0.169.0-{name}" for name in ("idle", "draft", "working"))
APPROVAL, TRUST = "codex-0.169.0-approval-cmd", "codex-0.169.0-trust"
PASTED = "\x1b[201~"  # the end of a bracketed paste
HOME, END = b"\x1b[1~", b"\x1b[4~"  # as tmux sends them


def test_send(tmux_server: Path) -> None:
    """A text goes into the running turn, and is gone from the box before anything is said to be done."""
    started, log = painted(tmux_server, (WORKING, PASTED), ("codex-0.169.0-working-draft", "\r"), (WORKING, ""))
    assert tmux.send(started, "more, of @file").message == "sent into the running turn"
    assert log.read_bytes() == b"\x1b[200~more, of @file \x1b[201~\r"


def test_a_text_that_is_not_taken(tmux_server: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A text that still stands in the box was not sent, and that is said. Enter is not pressed again: nothing
    shows that the first one was read."""
    monkeypatch.setattr(keys, "SHOWN_S", 1.0)
    monkeypatch.setattr(keys, "TAKEN_S", 0.5)
    started, log = painted(tmux_server, (IDLE, PASTED), (DRAFT, ""))
    assert "was not taken" in refused(lambda: tmux.send(started, "hello")).message
    assert log.read_bytes().endswith(b"\x1b[201~\r" + HOME)


def test_an_enter_that_is_lost(tmux_server: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Enter is pressed again when later keys had their effect, and it had none; so often at most."""
    monkeypatch.setattr(keys, "SHOWN_S", 3.0)
    monkeypatch.setattr(keys, "TAKEN_S", 0.5)
    home, end = HOME.decode(), END.decode()
    lost = ((DRAFT, home), (f"{DRAFT}@2", end), (DRAFT, "\r"))
    always = lost[:2] * keys.ENTERS
    started, log = painted(tmux_server, (IDLE, PASTED), *lost, (WORKING, PASTED), *always, (DRAFT, ""))
    assert tmux.send(started, "hello").message == "sent"
    assert log.read_bytes() == b"\x1b[200~hello\x1b[201~" + b"\r" + HOME + END + b"\r"
    assert "was not taken" in refused(lambda: tmux.send(started, "more")).message
    assert log.read_bytes().endswith((b"\r" + HOME + END) * keys.ENTERS)


def test_an_enter_that_comes_late(tmux_server: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An approval prompt that comes for it meanwhile gets no Enter."""
    monkeypatch.setattr(keys, "SHOWN_S", 1.0)
    monkeypatch.setattr(keys, "TAKEN_S", 0.5)
    started, log = painted(tmux_server, (IDLE, PASTED), (DRAFT, HOME.decode()), (APPROVAL, ""))
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
def test_where_nothing_is_sent(tmux_server: Path, screen: str, says: str) -> None:
    """Into a text of somebody's, a dialog, an approval: not one key is pressed."""
    started, log = painted(tmux_server, (screen, ""))
    assert says in refused(lambda: tmux.send(started, "hello")).message
    assert log.read_bytes() == b""


def test_a_screen_that_changed(tmux_server: Path) -> None:
    """tmux itself compares, as it presses: what was seen is no longer there, so nothing is."""
    started, log = painted(tmux_server, (APPROVAL, "z"), (DRAFT, "z"), (IDLE, ""))
    asked = terminal.look(started)
    tmux_says(tmux_server, "send-keys", "-t", started.pane.id, "z")
    wait_until(lambda: terminal.look(started).screen.draft, "the screen changes", timeout_s=10)
    assert not terminal.press(started, asked, "y")
    assert not terminal.press(started, terminal.look(started), "y", "Press enter to confirm")
    before = terminal.look(started)
    tmux_says(tmux_server, "send-keys", "-t", started.pane.id, "z")
    wait_until(lambda: terminal.look(started).screen.draft == "", "it changes again", timeout_s=10)
    assert not terminal.press(started, before, "Enter")
    assert not terminal.paste(started, before, "text")
    assert log.read_bytes() == b"zz"
    assert tmux_says(tmux_server, "list-buffers") == ""


def test_another_process(tmux_server: Path) -> None:
    """A pid that was reused, a process of another pane, a pane that is gone: stale, and no key."""
    started, log = painted(tmux_server, (WORKING, ""))
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


def test_a_pane_that_takes_keys_for_itself(tmux_server: Path) -> None:
    """Somebody scrolls, or types into several panes at once: refused with what would help."""
    started, log = painted(tmux_server, (WORKING, ""))
    tmux_says(tmux_server, "copy-mode", "-t", started.pane.id)
    assert "copy mode" in refused(lambda: tmux.interrupt(started)).message
    tmux_says(tmux_server, "send-keys", "-X", "-t", started.pane.id, "cancel")
    tmux_says(tmux_server, "set-option", "-w", "-t", started.pane.id, "synchronize-panes", "on")
    assert "other panes" in refused(lambda: tmux.interrupt(started)).message
    assert log.read_bytes() == b""
