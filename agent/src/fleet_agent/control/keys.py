"""What is typed into a tool's terminal UI: pressed at a screen that is right for it, seen to have its effect.

All functions raise `NotPossible` where they do nothing, or did not see it.
"""

import contextlib
import re
import time
from collections.abc import Callable

from fleet_agent.control import screens
from fleet_agent.control import terminal as terminals
from fleet_agent.control.commands import NotPossible
from fleet_agent.control.terminal import Shown, Terminal, check, look

SHOWN_S = 20.0  # on a busy machine, until a screen shows what a key did
SETTLED_S = 0.6  # what has stood on a screen for so long is not about to go
POLL_S = 0.05
BEFORE_ENTER_S = 0.6  # a TUI takes an Enter that comes with the text for a part of it; 0.2 s was too soon
ENTERS = 5  # the first may only close a list, or be lost
TAKEN_S = 3.0  # until it is looked whether an Enter was lost
STEADY_LOOKS = 2
IN_ITS_TERMINAL = "answer that in its terminal: fleet attach"

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
# What moves the cursor to the begin and the end of a line, and does nothing in an empty box or a prompt. (Left
# does there: Codex lists its agents.) Home has OpenCode scroll.
_HOME_END = {"opencode": ("C-a", "C-e")}
_COMPLETED = "@$#"  # a word that begins so opens a list, in which Enter chooses


def check_text(tool: str, text: str) -> None:
    """A terminal takes control characters for keys, and these tools a leading ! for a shell command."""
    if found := _CONTROL.search(text):
        message = f"a terminal takes the control character U+{ord(found[0]):04X} in the text for a key"
        raise NotPossible(message, "remove it", kind="bad_request")
    if text.lstrip().startswith("!"):
        message = f"{tool} takes a text that begins with ! for a shell command, and runs it without asking"
        raise NotPossible(message, "put a word before it", kind="bad_request")


def submit(terminal: Terminal, text: str, within_s: float) -> None:
    """Paste a text into the empty input box, and Enter; each seen to have had its effect.

    An Enter that had no effect is pressed again if it surely was read.
    """
    text = text.strip("\n")  # in an empty line the cursor could not be moved
    last = text.split()[-1:]
    if last and (last[0][0] in _COMPLETED or text.endswith("\\")) and not text[-1].isspace():
        text += " "  # Claude Code takes an Enter behind a backslash for a new line
    _do(terminal, lambda shown: terminals.paste(terminal, shown, text), _has_empty_box)
    if not until(terminal, lambda seen: bool(seen.draft), SHOWN_S):
        raise NotPossible("its input box did not take the text", "look at it: fleet attach", kind="tool_failed")
    time.sleep(BEFORE_ENTER_S)
    for _ in range(ENTERS):  # one may choose from a list of completions, which changes the text
        draft = look(terminal).screen.draft
        press(terminal, "Enter", lambda shown: bool(shown.screen.draft))
        gone = until(terminal, lambda seen: seen.draft != draft, TAKEN_S)  # noqa: B023 - called at once
        is_read = gone or _is_read(terminal, within_s)
        if not look(terminal).screen.draft:  # empty, or a dialog has come for it
            return
        if not is_read:
            break  # not once more: it could be read as the answer to a prompt that comes meanwhile
    hint = "send it, or clear it, in its terminal: fleet attach"
    raise NotPossible("the text stands in its input box and was not taken", hint, kind="tool_failed")


def _is_read(terminal: Terminal, within_s: float) -> bool:
    """Whether all that was pressed has been read: a key after it moves the cursor, and another moves it back.

    Keys are read one after the other. So an Enter before them that left the text where it is was lost, and can
    be pressed again: it will not come late, as the answer to a prompt that nobody has seen.
    """
    for key in _HOME_END.get(terminal.tool, ("Home", "End")):
        before = look(terminal).now
        with contextlib.suppress(NotPossible):  # the text has gone; or the next key says why none is pressed
            press(terminal, key, lambda shown: bool(shown.screen.draft))
        until_s, times = time.monotonic() + within_s, 0
        while times < STEADY_LOOKS:
            shown = look(terminal)
            if time.monotonic() > until_s:
                return False
            times = times + 1 if not shown.screen.draft or shown.now != before else 0
            time.sleep(POLL_S)
    return True


def clear(terminal: Terminal) -> str:
    """Empty the input box of what an interrupted turn puts back there: what was queued, or not yet answered."""
    back = look(terminal).screen.draft or ""
    for _ in range(back.count("\n") * 2 + 1):
        if look(terminal).screen.draft:
            press(terminal, "C-u", lambda shown: bool(shown.screen.draft))
            until(terminal, is_idle, SETTLED_S)
    return (
        f"what was said last is not answered, and was put back (Ctrl-Y in its input box): {back}"
        if back
        else "interrupted"
    )


def press(terminal: Terminal, key: str, is_right: Callable[[Shown], bool], mark: str = "") -> None:
    """Press a key, by tmux's name, once the screen is right and has `mark` on it."""
    _do(terminal, lambda shown: terminals.press(terminal, shown, key, mark), is_right)


def _do(terminal: Terminal, act: Callable[[Shown], bool], is_right: Callable[[Shown], bool]) -> None:
    """Act while the screen is right, as often as it moves under our hands."""
    until_s = time.monotonic() + SHOWN_S
    wrong_looks = 0
    while wrong_looks < STEADY_LOOKS:
        shown = check(terminal)
        if not is_right(shown):
            wrong_looks += 1
        elif act(shown):
            return
        elif time.monotonic() > until_s:
            raise NotPossible(
                "its screen does not keep still: nothing was pressed", "try again", kind="timeout"
            )
        else:
            wrong_looks = 0
        time.sleep(POLL_S)
    raise not_ready(terminal.tool, shown.screen)


def see(terminal: Terminal) -> screens.Screen:
    """What it shows, if keys may be pressed there at all; a screen may be half drawn for a moment."""
    for _ in range(STEADY_LOOKS):
        if (screen := check(terminal).screen) != screens.Screen():
            break
        time.sleep(POLL_S)
    return screen


def until(terminal: Terminal, is_so: Callable[[screens.Screen], bool], within_s: float) -> bool:
    """Whether its screen comes to be so in time, and stays so: a screen may be half drawn for a moment."""
    until_s = time.monotonic() + within_s
    times = 0
    while (times := times + 1 if is_so(look(terminal).screen) else 0) < STEADY_LOOKS:
        if time.monotonic() > until_s:
            return False
        time.sleep(POLL_S)
    return True


def is_idle(screen: screens.Screen) -> bool:
    """Whether it takes a text, and no turn runs."""
    return screen.draft is not None and not screen.working


def _has_empty_box(shown: Shown) -> bool:
    return shown.screen.draft == ""


def not_ready(tool: str, screen: screens.Screen) -> NotPossible:
    """Why nothing was pressed at this screen."""
    if screen.approval is not None:
        question = screen.approval.question
        return NotPossible(
            f"it waits for an answer: {question}", "answer that first: fleet approve, fleet deny"
        )
    if screen.blocked is not None:
        return NotPossible(f"it takes no input: {screen.blocked}", IN_ITS_TERMINAL)
    if screen.draft:
        hint = "send it, or clear it, in its terminal: fleet attach"
        return NotPossible("there is text in its input box: somebody is writing", hint)
    if screen.draft is not None:
        return NotPossible("its screen changed in that moment: nothing was pressed", "look again", kind="stale")
    hint = "a dialog may be open; look at it: fleet attach"
    return NotPossible(f"there is no input box on its screen that fleet knows of {tool}", hint)
