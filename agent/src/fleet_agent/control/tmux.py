"""Sessions in tmux: a tool's own terminal UI, started in a detached session or found in anybody's pane.

A run is a tmux session `fleet-NAME` on the user's default server: the one that `tmux ls` and `tmux attach`
mean, so that a person gets at it without fleet too. Its pane remains when its program has ended, with all that
it shows and how it ended, until the run is deleted.

What is pressed is pressed only at a screen that is recognised (screens.py), and seen to have had its effect.
All functions raise `NotPossible` where they do nothing, or did not see it.
"""

import contextlib
import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from fleet_agent.control import groups, screens
from fleet_agent.control.commands import SESSION_VARIABLES, Command, NotPossible
from fleet_agent.control.groups import Started
from fleet_agent.control.store import Ended
from fleet_agent.control.terminal import DRIVEN, Shown, Terminal, ask, check, look, pane_id, paste, press, tmux
from fleet_agent.control.wire import MAX_OUTPUT_CHARS, ApprovalRequested, Done
from fleet_agent.wire import Pane

__all__ = [
    "Begun",
    "Terminal",
    "attach_command",
    "decide",
    "ended",
    "forget",
    "history",
    "interrupt",
    "pending",
    "send",
    "start",
    "stop",
]

PREFIX = "fleet-"
COLUMNS, LINES = 160, 48  # until somebody attaches
HISTORY_LINES = 10_000  # of what `history` returns
READY_S = 60.0  # the first start of a Codex copies 440 MB
SHOWN_S = 20.0  # on a busy machine, until a screen shows what a key did
SETTLED_S = 0.6  # what has stood on a screen for so long is not about to go
UNSETTLED_S = 10.0  # a Codex has its input box before it asks for trust; its status line may be switched off
INTERRUPTED_S = 2.5  # until Escape is pressed once more
BEFORE_ENTER_S = 0.6  # a TUI takes an Enter that comes with the text for a part of it; 0.2 s was too soon
POLL_S = 0.05
STEADY_LOOKS = 2
PRESSES = 2  # of Escape or Enter: the first may only take back what is queued, or close a list

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_COMPLETED = "@$#"  # a word that begins so opens a list, in which Enter chooses
_DEATH = "#{pane_pid} #{pane_dead} #{pane_dead_status}|#{pane_dead_signal}|#{pane_dead_time}"


@dataclass(frozen=True)
class Begun:
    """A run that was started. `trouble`: it runs, but its prompt was not given, and why."""

    terminal: Terminal
    trouble: NotPossible | None = None


def start(
    tool: str,
    command: Command,
    directory: str,
    name: str,
    *,
    environ: Mapping[str, str],
    socket: str | None = None,
    ready_s: float = READY_S,
) -> Begun:
    """Start a run, and give it its prompt (`command.stdin`) as soon as it takes input.

    `environ` is added to the environment that the tmux server gives; `socket`: of another server than the
    user's default one. Raises `NotPossible` if nothing was started.
    """
    prompt = command.stdin.decode()
    if prompt and tool not in DRIVEN:
        raise NotPossible(
            f"fleet does not know the screens of {tool}, so it cannot tell when it takes a prompt",
            "start it without a prompt, and type into it: fleet attach",
        )
    _check_text(tool, prompt)
    if not os.path.isdir(directory):  # tmux would take the home directory instead
        message = f"{directory} is not a directory of this host"
        raise NotPossible(message, "give another --cwd", kind="bad_request")
    terminal = _new_session(tool, command, directory, name, environ, socket)
    try:
        if prompt:
            _wait_ready(terminal, ready_s)
            _submit(terminal, prompt, ready_s)
    except NotPossible as trouble:
        return Begun(terminal, trouble)
    return Begun(terminal)


def send(terminal: Terminal, text: str) -> Done:
    """Say something to the session: into its running turn if there is one."""
    _check_text(terminal.tool, text)
    screen = _see(terminal)
    if screen.draft is None:
        raise _not_ready(terminal.tool, screen)
    _submit(terminal, text, SHOWN_S)
    return Done("sent into the running turn" if screen.working else "sent")


def interrupt(terminal: Terminal) -> Done:
    """End the running turn."""
    screen = _see(terminal)
    if screen.approval is not None:
        return decide(terminal, "cancel", screen.approval.id)
    if not screen.working and screen.draft is not None:
        raise NotPossible("no turn is running", "there is nothing to interrupt")
    if not screen.working:
        raise _not_ready(terminal.tool, screen)
    for _ in range(PRESSES):
        _press(terminal, "Escape", lambda shown: shown.screen.working)
        moved = _until(terminal, lambda seen: _is_idle(seen) or seen.draft != screen.draft, INTERRUPTED_S)
        if moved and _until(terminal, _is_idle, SETTLED_S):
            return Done(_clear(terminal) if screen.draft == "" else "interrupted")
    raise NotPossible(
        "Escape was pressed, and the turn still runs", "attach to it: fleet attach", kind="timeout"
    )


def pending(terminal: Terminal) -> ApprovalRequested | None:
    """The approval prompt on its screen. Presses nothing."""
    approval = look(terminal).screen.approval
    return approval.event() if approval else None


def decide(terminal: Terminal, decision: str, request_id: str | None = None) -> Done:
    """Answer the approval prompt on its screen; `request_id` as `pending` told it."""
    approval = _see(terminal).approval
    if approval is None:
        kind = "not_possible" if request_id is None else "already_resolved"
        hint = "it may have been answered; fleet attach shows its terminal"
        raise NotPossible("there is no approval prompt on its screen that fleet knows", hint, kind=kind)
    if request_id is not None and request_id != approval.id:
        hint = f"what is asked now: {approval.question} Look at it first: fleet approvals"
        raise NotPossible("that request is no longer on its screen", hint, kind="already_resolved")
    key, note = _key(approval, decision)
    time.sleep(SETTLED_S)  # Claude Code takes no key in the first 0.2 s of a prompt
    _press(terminal, key, lambda shown: _asks(shown.screen, approval), approval.mark)
    # once: a second key could come when the first was read at last, and answer what nobody has seen
    if _until(terminal, lambda seen: not _asks(seen, approval), SHOWN_S):
        return Done(note)
    raise NotPossible(
        f"{key} was pressed, and the prompt is still there", "attach to it: fleet attach", kind="timeout"
    )


def history(terminal: Terminal) -> str:
    """What its pane shows, and what has scrolled out of it: nothing, of a TUI on the alternate screen."""
    pane = terminal.pane
    shown = tmux(pane.socket, "capture-pane", "-p", "-S", str(-HISTORY_LINES), "-t", pane_id(pane))
    return screens.plain(shown)[-MAX_OUTPUT_CHARS:]


def ended(terminal: Terminal) -> Ended | None:
    """How its program ended; None while it runs, and where nobody can tell any more."""
    until_s = time.monotonic() + SETTLED_S
    while True:
        said = ask(terminal.pane, _DEATH).split(" ", 2)
        if len(said) < 3 or said[:2] != [str(terminal.process.pid), "1"]:
            return None
        code, number, at = (int(word) if word.isdigit() else None for word in said[2].split("|"))
        if (code, number) != (None, None) or time.monotonic() > until_s:
            return Ended(time.time() if at is None else float(at), code, number)
        # A program that ends at once may end unnoticed by tmux 3.3, until the next child of its server does
        tmux(terminal.pane.socket, "run-shell", "true")


def stop(terminal: Terminal, grace_s: float) -> list[Started]:
    """End its processes, and before that its turn, which a Codex daemon would go on with. Its pane remains.

    Returns what still runs.
    """
    with contextlib.suppress(NotPossible):
        interrupt(terminal)
    # not by what its environment carries: of that a Codex daemon has what the first terminal UI had
    left = groups.end(lambda: groups.members(terminal.process, {}), grace_s)
    until_s = time.monotonic() + SHOWN_S  # tmux learns of it a moment later
    while ended(terminal) is None and ask(terminal.pane, "#{pane_id}") and time.monotonic() < until_s:
        time.sleep(POLL_S)
    return left


def forget(terminal: Terminal, name: str) -> None:
    """Remove the tmux session of a run, if it still is the run's."""
    if ask(terminal.pane, "#{pane_pid} #{session_name}") == f"{terminal.process.pid} {PREFIX}{name}":
        tmux(terminal.pane.socket, "kill-session", "-t", f"={PREFIX}{name}")


def attach_command(pane: Pane, name: str) -> tuple[str, ...]:
    """What puts a person into the terminal of a run."""
    server = ("-S", pane.socket) if pane.socket else ()
    return ("tmux", "-u", *server, "attach-session", "-t", f"={PREFIX}{name}")


def _new_session(
    tool: str, command: Command, directory: str, name: str, environ: Mapping[str, str], socket: str | None
) -> Terminal:
    session = PREFIX + name
    unset = [word for variable in SESSION_VARIABLES for word in ("-u", variable)]
    # not `new-session -e`, which tmux has only since 3.2
    settings = [f"{key}={value}" for key, value in {**environ, **command.environ}.items()]
    program = [_word(word) for word in ("env", *unset, *settings, *command.argv)]
    size = ("-x", str(COLUMNS), "-y", str(LINES))
    where = directory.replace("#", "##")  # else a format, which could even run a command
    shown = "#{pane_id} #{pane_pid} #{socket_path}"
    created = ("new-session", "-d", "-P", "-F", shown, "-s", session, *size, "-c", _word(where), "--", *program)
    # at once, before the program could end, or a server that keeps nothing unattached could act on it
    options = (("-w", "remain-on-exit", "on"), ("destroy-unattached", "off"))
    kept = [word for option in options for word in (";", "set-option", "-t", f"={session}:", *option)]
    said = tmux(socket, *created, *kept).split(maxsplit=2)
    if len(said) != 3:
        raise NotPossible("tmux did not say which pane it made", "look at: tmux ls", kind="tool_failed")
    process = groups.started(int(said[1])) or Started(int(said[1]), 0)  # it has ended already
    return Terminal(Pane("tmux", said[0], said[2].strip()), process, tool)


def _wait_ready(terminal: Terminal, ready_s: float) -> None:
    """Wait for an input box. A dialog that a person has to answer, or an end, is told."""
    start_s = time.monotonic()
    boxed_at_s = blocked_at_s = 0.0
    while True:
        shown, now_s = look(terminal), time.monotonic()
        boxed_at_s = (boxed_at_s or now_s) if shown.screen.draft is not None else 0.0
        blocked_at_s = (blocked_at_s or now_s) if shown.screen.blocked else 0.0
        if boxed_at_s and (shown.screen.is_settled or now_s - boxed_at_s > UNSETTLED_S):
            return
        if shown.is_dead or not terminal.process.lives():
            raise _not_given("it ended at once", f"its last words: {_last_words(terminal)}")
        if shown.screen.blocked and now_s - blocked_at_s >= SETTLED_S:
            raise _not_given(shown.screen.blocked, _ANSWER_FIRST)
        if now_s - start_s > ready_s:
            raise _not_given(f"it showed no input box within {ready_s:g} s", _ANSWER_FIRST)
        time.sleep(POLL_S)


def _submit(terminal: Terminal, text: str, within_s: float) -> None:
    """Paste a text into the empty input box, and Enter; each seen to have had its effect."""
    last = text.split()[-1:]
    if last and last[0][0] in _COMPLETED and not text[-1].isspace():
        text += " "
    _do(terminal, lambda shown: paste(terminal, shown, text), _has_empty_box)
    if not _until(terminal, lambda seen: bool(seen.draft), SHOWN_S):
        raise NotPossible("its input box did not take the text", "look at it: fleet attach", kind="tool_failed")
    time.sleep(BEFORE_ENTER_S)
    for _ in range(PRESSES):  # the first Enter may choose from a list of completions, which changes the text
        draft = look(terminal).screen.draft
        _press(terminal, "Enter", lambda shown: bool(shown.screen.draft))
        _until(terminal, lambda seen: seen.draft != draft, within_s)  # noqa: B023 - called at once
        if not look(terminal).screen.draft:  # empty, or a dialog has come for it
            return
        if look(terminal).screen.draft == draft:
            break  # not once more: it could be read as the answer to a prompt that comes meanwhile
    hint = "send it, or clear it, in its terminal: fleet attach"
    raise NotPossible("the text stands in its input box and was not taken", hint, kind="tool_failed")


def _clear(terminal: Terminal) -> str:
    """Empty the input box of what an interrupted turn puts back there: what was queued, or not yet answered."""
    back = look(terminal).screen.draft or ""
    for _ in range(back.count("\n") * 2 + 1):
        if look(terminal).screen.draft:
            _press(terminal, "C-u", lambda shown: bool(shown.screen.draft))
            _until(terminal, _is_idle, SETTLED_S)
    return (
        f"what was said last is not answered, and was put back (Ctrl-Y in its input box): {back}"
        if back
        else "interrupted"
    )


def _press(terminal: Terminal, key: str, is_right: Callable[[Shown], bool], mark: str = "") -> None:
    _do(terminal, lambda shown: press(terminal, shown, key, mark), is_right)


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
    raise _not_ready(terminal.tool, shown.screen)


def _see(terminal: Terminal) -> screens.Screen:
    """What it shows, if keys may be pressed there at all; a screen may be half drawn for a moment."""
    for _ in range(STEADY_LOOKS):
        if (screen := check(terminal).screen) != screens.Screen():
            break
        time.sleep(POLL_S)
    return screen


def _until(terminal: Terminal, is_so: Callable[[screens.Screen], bool], within_s: float) -> bool:
    """Whether its screen comes to be so in time, and stays so: a screen may be half drawn for a moment."""
    until_s = time.monotonic() + within_s
    times = 0
    while (times := times + 1 if is_so(look(terminal).screen) else 0) < STEADY_LOOKS:
        if time.monotonic() > until_s:
            return False
        time.sleep(POLL_S)
    return True


def _is_idle(screen: screens.Screen) -> bool:
    return screen.draft is not None and not screen.working


def _has_empty_box(shown: Shown) -> bool:
    return shown.screen.draft == ""


def _asks(screen: screens.Screen, approval: screens.Approval) -> bool:
    return screen.approval is not None and screen.approval.id == approval.id


def _key(approval: screens.Approval, decision: str) -> tuple[str, str]:
    """The key for a decision, and what is to be said of it."""
    key = approval.key(decision)
    if key is not None:
        return key, ""
    if decision == "decline" and (key := approval.key("cancel")) is not None:
        return key, "declined, and its turn ended: this prompt has no other No"
    offered = "; ".join(f"{option.number}. {option.text}" for option in approval.options)
    hint = f"it offers: {offered}. What is neither accept nor cancel, a person answers there: fleet attach"
    raise NotPossible(f"its approval prompt has no answer for {decision}", hint)


def _not_ready(tool: str, screen: screens.Screen) -> NotPossible:
    """Why nothing was pressed at this screen."""
    if screen.approval is not None:
        question = screen.approval.question
        return NotPossible(
            f"it waits for an answer: {question}", "answer that first: fleet approve, fleet deny"
        )
    if screen.blocked is not None:
        return NotPossible(f"it takes no input: {screen.blocked}", "answer that in its terminal: fleet attach")
    if screen.draft:
        hint = "send it, or clear it, in its terminal: fleet attach"
        return NotPossible("there is text in its input box: somebody is writing", hint)
    if screen.draft is not None:
        return NotPossible("its screen changed in that moment: nothing was pressed", "look again", kind="stale")
    hint = "a dialog may be open; look at it: fleet attach"
    return NotPossible(f"there is no input box on its screen that fleet knows of {tool}", hint)


_ANSWER_FIRST = "answer it with fleet attach, then give the prompt with fleet send"


def _not_given(why: str, hint: str) -> NotPossible:
    message = f"the session was started, but its prompt was not given: {why}"
    return NotPossible(message, hint, kind="tool_failed")


def _last_words(terminal: Terminal) -> str:
    lines = [line.strip() for line in history(terminal).splitlines() if line.strip()]
    own = [line for line in lines if not line.startswith("Pane is dead")]
    return " / ".join(own[-4:])[-400:]


def _check_text(tool: str, text: str) -> None:
    """A terminal takes control characters for keys, and these tools a leading ! for a shell command."""
    if found := _CONTROL.search(text):
        message = f"a terminal takes the control character U+{ord(found[0]):04X} in the text for a key"
        raise NotPossible(message, "remove it", kind="bad_request")
    if text.lstrip().startswith("!"):
        message = f"{tool} takes a text that begins with ! for a shell command, and runs it without asking"
        raise NotPossible(message, "put a word before it", kind="bad_request")


def _word(text: str) -> str:
    """A word of a tmux command line: a semicolon at its end would begin another command."""
    return f"{text[:-1]}\\;" if text.endswith(";") else text
