"""One pane of tmux that a tool's process is in: what it shows, and keys pressed in it, or not.

Keys go to whatever has the terminal at that moment. So they are pressed only if the pane still is held by the
very process, that process is in the foreground, nobody scrolls in the pane, and the cursor is where it was when
the screen was looked at. tmux itself compares that as it presses, in one step.
"""

import os
import re
import secrets
import subprocess
from dataclasses import dataclass

from fleet_agent import native, procfs
from fleet_agent.control import screens
from fleet_agent.control.commands import NotPossible
from fleet_agent.control.groups import Started
from fleet_agent.control.programs import find
from fleet_agent.wire import Pane

TMUX_S = 10.0  # for one command of tmux
MAX_PARENTS = 64
DRIVEN = ("codex", "claude", "opencode")  # whose screens are known

_PANE = re.compile(r"%\d{1,10}")
# A comma would end an operand, so there is none. A pane that was scrolled back takes keys for its own.
_NOW = "#{pane_pid} #{pane_dead} #{pane_in_mode} #{pane_synchronized} #{cursor_x} #{cursor_y} #{cursor_flag}"


@dataclass(frozen=True)
class Terminal:
    """A session in a pane: `process` is the tool's, whose screens are those of `tool`."""

    pane: Pane
    process: Started
    tool: str


@dataclass(frozen=True)
class Shown:
    """A pane in one moment. `now`: what must still be so when a key is pressed; `pid`: of the program that the
    pane was made for, 0 if there is no such pane."""

    now: str
    pid: int
    is_dead: bool
    in_mode: bool
    is_synchronized: bool
    text: str
    screen: screens.Screen


def look(terminal: Terminal) -> Shown:
    """The pane and its screen, in one moment."""
    pane = terminal.pane
    asked = ("display-message", "-p", "-t", pane_id(pane), _NOW, ";", "capture-pane", "-p", "-e", "-t", pane.id)
    try:
        now, _, captured = tmux(pane.socket, *asked).partition("\n")
        pid, dead, mode, synchronized, _, row, shows = now.split()
    except (NotPossible, ValueError):
        return Shown("", 0, True, False, False, "", screens.Screen())
    screen = screens.look(terminal.tool, captured, (int(row), shows == "1"))
    is_dead, in_mode, is_synchronized = dead == "1", mode != "0", synchronized == "1"
    return Shown(now, int(pid), is_dead, in_mode, is_synchronized, screens.plain(captured), screen)


def press(terminal: Terminal, shown: Shown, key: str, mark: str = "") -> bool:
    """Press a key, by tmux's name, if the pane is as it was `shown` and has `mark` on it; False: it is not."""
    return _act(terminal, shown, f"send-keys -t {terminal.pane.id} {key}", mark)


def paste(terminal: Terminal, shown: Shown, text: str) -> bool:
    """Paste a text, if the pane is as it was `shown`; False: it is not.

    Through a buffer that tmux fills from its stdin: a prompt is never part of an argv.
    """
    buffer = f"fleet-{secrets.token_hex(8)}"
    tmux(terminal.pane.socket, "load-buffer", "-b", buffer, "-", given=text.encode())
    # -p: as a paste, where a newline is no Enter; -r: newlines as they are; -d: the buffer goes
    done = _act(terminal, shown, f"paste-buffer -p -r -d -b {buffer} -t {terminal.pane.id}")
    if not done:
        tmux(terminal.pane.socket, "delete-buffer", "-b", buffer)
    return done


def check(terminal: Terminal) -> Shown:
    """The pane as it is, if what is pressed in it goes to this process and nothing else; else `NotPossible`."""
    if terminal.tool not in DRIVEN:
        hint = "type into its terminal: fleet attach"
        raise NotPossible(
            f"fleet does not know the screens of {terminal.tool}, and presses no keys at it", hint
        )
    if terminal.pane.kind != "tmux":
        hint = "what runs in tmux can be driven, and what fleet starts"
        raise NotPossible(f"it runs in {terminal.pane.kind}, where fleet presses no keys", hint)
    shown = look(terminal)
    if shown.is_dead or not terminal.process.lives() or not _is_below(terminal.process.pid, shown.pid):
        raise NotPossible("the process is not in that pane any more", "look again: fleet status", kind="stale")
    if not _in_foreground(terminal.process.pid):
        raise NotPossible("it is suspended, or behind another program of its terminal", "bring it back: fg")
    if shown.in_mode:
        raise NotPossible("somebody scrolls in its terminal (copy mode of tmux)", "leave that mode there: q")
    if shown.is_synchronized:
        raise NotPossible("keys in its pane go to other panes too", "tmux set -w synchronize-panes off")
    return shown


def ask(pane: Pane, what: str) -> str:
    """A format of tmux, of this pane; empty if there is none."""
    try:
        return tmux(pane.socket, "display-message", "-p", "-t", pane_id(pane), what).strip("\n")
    except NotPossible:
        return ""


def tmux(socket: str | None, *arguments: str, given: bytes = b"") -> str:
    """Run one command of tmux. Raises `NotPossible` with what it says."""
    program = find("tmux", os.environ)
    if program is None:
        hint = "install it, or use mode exec or app-server"
        raise NotPossible("tmux is not installed on this host", hint, kind="tool_missing")
    server = ("-S", socket) if socket else ()
    # TMUX would name the server of whoever runs us. -u: UTF-8, whatever locale an SSH command has
    environ = {key: value for key, value in os.environ.items() if key not in ("TMUX", "TMUX_PANE")}
    argv = [program, "-u", *server, *arguments]
    try:
        done = subprocess.run(argv, input=given, env=environ, capture_output=True, timeout=TMUX_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise NotPossible(f"tmux {arguments[0]} failed: {exc}", kind="tool_failed") from exc
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip()[:400]
        raise NotPossible(f"tmux {arguments[0]} failed: {said}", kind="tool_failed")
    return done.stdout.decode(errors="replace")


def pane_id(pane: Pane) -> str:
    """The id of a pane, and nothing else: tmux takes many things for a target."""
    if not _PANE.fullmatch(pane.id):
        raise NotPossible(f"not a pane of tmux: {pane.id}", kind="bad_request")
    return pane.id


def _act(terminal: Terminal, shown: Shown, command: str, mark: str = "") -> bool:
    pane = pane_id(terminal.pane)
    condition = f"#{{==:{_NOW},{shown.now}}}"
    if mark:
        condition = f"#{{&&:{condition},#{{C:{mark}}}}}"
    acted = f"{command} ; display-message -p -t {pane} acted"
    return "acted" in tmux(terminal.pane.socket, "if-shell", "-F", "-t", pane, condition, acted)


def _is_below(pid: int, ancestor: int) -> bool:
    """Whether a process is this one, or was started by it or by what it started."""
    for _ in range(MAX_PARENTS):
        if pid == ancestor:
            return True
        stat = native.stat(pid)
        if stat is None or stat.ppid <= 1:
            return False
        pid = stat.ppid
    return False


def _in_foreground(pid: int) -> bool:
    """Whether it gets what is typed: its process group has the terminal, and is not stopped. proc(5), ps(1)."""
    if procfs.AVAILABLE:
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                fields = file.read().rpartition(b")")[2].split()
        except OSError:
            return False
        return fields[2] == fields[5] and fields[0] != b"T"
    argv = ["ps", "-o", "pgid=,tpgid=,stat=", "-p", str(pid)]
    words = subprocess.run(argv, capture_output=True, text=True, timeout=TMUX_S, check=False).stdout.split()
    return len(words) == 3 and words[0] == words[1] and not words[2].startswith("T")
