"""Sessions in tmux: a tool's own terminal UI, started in a detached session or found in anybody's pane.

A run is a tmux session `fleet-NAME` on the user's default server: the one that `tmux ls` and `tmux attach`
mean, so that a person gets at it without fleet too. Its pane remains when its program has ended, with all that
it shows and how it ended, until the run is deleted.

What is pressed is pressed only at a screen that is recognised (screens.py), and seen to have had its effect.
All functions raise `NotPossible` where they do nothing, or did not see it.
"""

import contextlib
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass

from fleet_agent.control import groups, keys, screens
from fleet_agent.control.commands import SESSION_VARIABLES, Command, NotPossible
from fleet_agent.control.events import MAX_OUTPUT_CHARS, ApprovalRequested
from fleet_agent.control.groups import Started
from fleet_agent.control.store import Ended
from fleet_agent.control.terminal import DRIVEN, Terminal, ask, look, pane_id, tmux
from fleet_agent.control.wire import Done
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
UNSETTLED_S = 10.0  # a Codex has its input box before it asks for trust; its status line may be switched off
INTERRUPTED_S = 2.5  # until Escape is pressed once more
ESCAPES = 2  # the first may only take back what is queued, or ask for a second one

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
    keys.check_text(tool, prompt)
    if not os.path.isdir(directory):  # tmux would take the home directory instead
        message = f"{directory} is not a directory of this host"
        raise NotPossible(message, "give another --cwd", kind="bad_request")
    terminal = _new_session(tool, command, directory, name, environ, socket)
    try:
        if prompt:
            _wait_ready(terminal, ready_s)
            keys.submit(terminal, prompt, ready_s)
    except NotPossible as trouble:
        return Begun(terminal, trouble)
    return Begun(terminal)


def send(terminal: Terminal, text: str) -> Done:
    """Say something to the session: into its running turn if there is one."""
    keys.check_text(terminal.tool, text)
    screen = keys.see(terminal)
    if screen.draft is None:
        raise keys.not_ready(terminal.tool, screen)
    keys.submit(terminal, text, keys.SHOWN_S)
    return Done("sent into the running turn" if screen.working else "sent")


def interrupt(terminal: Terminal) -> Done:
    """End the running turn."""
    screen = keys.see(terminal)
    if screen.approval is not None:
        return decide(terminal, "cancel", screen.approval.id)
    if not screen.working and screen.draft is not None:
        raise NotPossible("no turn is running", "there is nothing to interrupt")
    if not screen.working:
        raise keys.not_ready(terminal.tool, screen)
    for _ in range(ESCAPES):
        keys.press(terminal, "Escape", lambda shown: shown.screen.working)
        moved = keys.until(
            terminal,
            lambda seen: keys.is_idle(seen) or seen.draft != screen.draft or seen.half_interrupted,
            INTERRUPTED_S,
        )
        if moved and keys.until(terminal, keys.is_idle, keys.SETTLED_S):
            break
    else:
        if not keys.until(terminal, keys.is_idle, keys.SHOWN_S):
            message = "Escape was pressed, and the turn still runs"
            raise NotPossible(message, "attach to it: fleet attach", kind="timeout")
    return Done(keys.clear(terminal) if screen.draft == "" else "interrupted")


def pending(terminal: Terminal) -> ApprovalRequested | None:
    """The approval prompt on its screen. Presses nothing."""
    approval = look(terminal).screen.approval
    return approval.event() if approval else None


def decide(terminal: Terminal, decision: str, request_id: str | None = None) -> Done:
    """Answer the approval prompt on its screen; `request_id` as `pending` told it."""
    if keys.see(terminal).approval:
        time.sleep(
            keys.SETTLED_S
        )  # until it is whole, and takes keys: Claude Code takes none in the first 0.2 s
    approval = keys.see(terminal).approval
    if approval is None:
        kind = "not_possible" if request_id is None else "already_resolved"
        hint = "it may have been answered; fleet attach shows its terminal"
        raise NotPossible("there is no approval prompt on its screen that fleet knows", hint, kind=kind)
    if request_id is not None and request_id != approval.id:
        hint = f"what is asked now: {approval.question} Look at it first: fleet approvals"
        raise NotPossible("that request is no longer on its screen", hint, kind="already_resolved")
    key, note = _key(approval, decision)
    keys.press(terminal, key, lambda shown: _offers(shown.screen, approval), approval.mark)
    # once: a second key could come when the first was read at last, and answer what nobody has seen
    if keys.until(terminal, lambda seen: not _asks(seen, approval), keys.SHOWN_S):
        if blocked := look(terminal).screen.blocked:
            raise NotPossible(f"{key} was pressed, and now {blocked}", keys.IN_ITS_TERMINAL, kind="tool_failed")
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
    until_s = time.monotonic() + keys.SETTLED_S
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
    until_s = time.monotonic() + keys.SHOWN_S  # tmux learns of it a moment later
    while ended(terminal) is None and ask(terminal.pane, "#{pane_id}") and time.monotonic() < until_s:
        time.sleep(keys.POLL_S)
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
        if shown.screen.blocked and now_s - blocked_at_s >= keys.SETTLED_S:
            raise _not_given(shown.screen.blocked, _ANSWER_FIRST)
        if now_s - start_s > ready_s:
            raise _not_given(f"it showed no input box within {ready_s:g} s", _ANSWER_FIRST)
        time.sleep(keys.POLL_S)


def _asks(screen: screens.Screen, approval: screens.Approval) -> bool:
    return screen.approval is not None and screen.approval.id == approval.id


def _offers(screen: screens.Screen, approval: screens.Approval) -> bool:
    """Whether it asks that, and the same keys answer it: in OpenCode somebody may mark another answer."""
    return _asks(screen, approval) and screen.approval is not None and screen.approval.keys == approval.keys


def _key(approval: screens.Approval, decision: str) -> tuple[str, str]:
    """The key for a decision, and what is to be said of it."""
    key = approval.key(decision)
    if key is not None:
        return key, ""
    if decision == "decline" and (key := approval.key("cancel")) is not None:
        return key, "declined, and its turn ended: this prompt has no other No"
    if approval.is_cut and decision in ("accept", "accept_for_session"):
        message = "its terminal does not show all that it asks for, so that cannot be approved from here"
        raise NotPossible(message, f"deny it, or {keys.IN_ITS_TERMINAL}")
    offered = "; ".join(f"{option.number}. {option.text}" for option in approval.options)
    hint = f"it offers: {offered}. What is neither accept nor cancel, a person answers there: fleet attach"
    raise NotPossible(f"its approval prompt has no answer for {decision}", hint)


_ANSWER_FIRST = "answer it with fleet attach, then give the prompt with fleet send"


def _not_given(why: str, hint: str) -> NotPossible:
    message = f"the session was started, but its prompt was not given: {why}"
    return NotPossible(message, hint, kind="tool_failed")


def _last_words(terminal: Terminal) -> str:
    lines = [line.strip() for line in history(terminal).splitlines() if line.strip()]
    own = [line for line in lines if not line.startswith("Pane is dead")]
    return " / ".join(own[-4:])[-400:]


def _word(text: str) -> str:
    """A word of a tmux command line: a semicolon at its end would begin another command."""
    return f"{text[:-1]}\\;" if text.endswith(";") else text
