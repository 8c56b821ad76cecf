"""Ways through the states of a terminal session, whatever runs it. Each begins and ends with an idle session.

Truth is what was brought about, seen by other means than fleet's: the model API holds a response back, a tool's
process runs, the screen shows a dialog.
"""

import signal

from lab.stage import WITHIN_S, Stage, Truth
from lab.tmux import Tmux
from lab.waiting import wait_until

MARK = "\u203a"  # before each prompt, and before the next
BUSY = "esc to interrupt"
CONFIRM = "Press enter to confirm"
INTERRUPTED = "Conversation interrupted"
# FAIL directive -> what the screen says of it
FAILURES = {
    "400": "mock failure 400",
    "401": "unexpected status 401",
    "429": "last status: 429",
    "500": "high demand",
    "QUOTA": "hit your usage limit",
}


def ended(tui: Tmux, text: str) -> None:
    """Wait until this text is on the screen, and no turn runs any more."""
    tui.wait_for(text)
    over = lambda: BUSY not in tui.screen()  # noqa: E731
    wait_until(over, f"the turn of {text!r} is over", timeout_s=WITHIN_S)


def think(stage: Stage, truth: Truth, tui: Tmux, thread: str, name: str) -> None:
    """Thinking, steered in mid-turn, done, interrupted."""
    turns = stage.turns(thread)
    tui.type(f"HOLD {name}1 SAY first")
    stage.held(f"{name}1")
    truth("thinking", "working/thinking", thread)
    tui.type(f"HOLD {name}2 SAY second")
    taken = lambda: f"{name}2" not in _composer(tui.screen())  # noqa: E731
    wait_until(taken, "the terminal takes what was typed", timeout_s=WITHIN_S)
    stage.api.release(f"{name}1")
    stage.held(f"{name}2")
    truth("steered", "working/thinking", thread)
    stage.api.release(f"{name}2")
    ended(tui, "• second")
    assert stage.turns(thread) == turns + 1  # what was typed meanwhile began no turn of its own
    truth("turn done", "idle/turn_done", thread)
    tui.type(f"HOLD {name}3 SAY third")
    stage.held(f"{name}3")
    tui.press("Escape")
    ended(tui, INTERRUPTED)
    truth("interrupted", "idle/aborted", thread)


def run_tools(stage: Stage, truth: Truth, tui: Tmux, thread: str) -> None:
    """A tool in the foreground; one in the background, with the turn over."""
    tui.type("TOOL sleep 4001 ;; SAY ran")
    tool = stage.tool("sleep 4001")
    truth("tool", "working/tool", thread)
    tool.signal(signal.SIGKILL)
    ended(tui, "• ran")
    tui.type("BG sleep 4002 ;; SAY begun")
    ended(tui, "• begun")
    tool = stage.tool("sleep 4002")
    truth("turn done, a tool in the background", "idle/turn_done", thread)
    tool.signal(signal.SIGKILL)


def compact(stage: Stage, truth: Truth, tui: Tmux, thread: str) -> None:
    """A compaction that is asked for. (The session has something to compact.)"""
    tui.type("/compact")
    stage.held(stage.compaction)
    truth("compacting", "working/compacting", thread)
    stage.api.release(stage.compaction)
    ended(tui, "• Context compacted")
    truth("compacted", "idle/turn_done", thread)


def run_user_command(stage: Stage, truth: Truth, tui: Tmux, thread: str) -> None:
    """A command that the person runs in the session."""
    tui.type("!sleep 4005")
    tool = stage.tool("sleep 4005")
    truth("command of the person", "working/tool", thread)
    tool.signal(signal.SIGKILL)
    ended(tui, "You ran sleep 4005")


def ask(stage: Stage, truth: Truth, tui: Tmux, thread: str, settle_s: float) -> None:
    """An approval of a command and of a patch; the approved command runs; a question."""
    tui.type("ESC sleep 4003 ;; SAY escaped")
    tui.wait_for(CONFIRM)
    truth("approval of a command", "waiting/approval", thread, settle_s=settle_s)
    tui.press("y")
    tool = stage.tool("sleep 4003")
    truth("approved tool", "working/tool", thread)
    tool.signal(signal.SIGKILL)
    ended(tui, "• escaped")
    tui.type("PATCH new.txt ;; SAY patched")
    tui.wait_for(CONFIRM)
    truth("approval of a patch", "waiting/approval", thread, settle_s=settle_s)
    tui.press("y")
    ended(tui, "• patched")
    tui.type("ASK which ;; SAY answered")
    tui.wait_for("enter to submit answer")
    truth("question", "waiting/question", thread)
    tui.press("Enter")
    ended(tui, "• answered")


def ask_at_once(stage: Stage, truth: Truth, tui: Tmux, thread: str, settle_s: float) -> None:
    """Two calls at once: one is approved, in whatever order they ask, and runs while the other asks; denied."""
    tui.type("ESC sleep 4006 ESC sleep 4007")
    one, other = "sleep 4006", "sleep 4007"
    if f"$ {one}" not in tui.wait_for(CONFIRM):
        one, other = other, one
    truth("approval that was just asked", "waiting/approval", thread, settle_s=0)
    tui.press("y")
    tui.wait_for(f"$ {other}")
    tool = stage.tool(one)
    truth("approval beside a tool", "waiting/approval", thread, settle_s=settle_s)
    tui.press("Escape")
    ended(tui, INTERRUPTED)
    truth("approval denied", "idle/aborted", thread)
    tool.signal(signal.SIGKILL)


def spawn(stage: Stage, truth: Truth, tui: Tmux, parent: str, name: str, settle_s: float) -> None:
    """A subagent that asks while its parent waits for it; one that works on when its parent's turn is over."""
    before = stage.home.threads()
    tui.type("SPAWN {ESC sleep 4008 ;; SAY x} ;; WAITAGENT ;; SAY joined")
    tui.wait_for(CONFIRM)
    child = stage.new_thread(before)
    truth("a subagent asks: the subagent", "waiting/approval", child, settle_s=settle_s)
    truth("a subagent asks: the parent", "working/subagents", parent)
    tui.press("y")
    stage.tool("sleep 4008").signal(signal.SIGKILL)
    ended(tui, "• joined")
    before = stage.home.threads()
    tui.type(f"SPAWN {{HOLD {name} SAY x}} ;; SAY forked")
    stage.held(name)
    ended(tui, "• forked")
    truth("parent done before its subagent: the subagent", "working/thinking", stage.new_thread(before))
    truth("parent done before its subagent: the parent", "idle/turn_done", parent)
    stage.api.release(name)


def retry(stage: Stage, truth: Truth, tui: Tmux, thread: str, name: str) -> None:
    """The model API cuts the connection, and is asked again."""
    tui.type(f"FAIL DISCONNECT*1 HOLD {name} SAY retried")
    stage.held(name)
    truth("thinking, after the connection broke", "working/thinking", thread)
    stage.api.release(name)
    ended(tui, "• retried")


def fail(truth: Truth, tui: Tmux, thread: str) -> None:
    """A turn that fails, in every way that the model API can make it."""
    for failure, said in FAILURES.items():
        tui.type(f"FAIL {failure}")
        ended(tui, said)
        quota = failure == "QUOTA"
        truth(f"failed: {failure}", "waiting/rate_limit" if quota else "idle/failed", thread)


def overflow(stage: Stage, truth: Truth, tui: Tmux, thread: str) -> None:
    """The model's context is full: Codex compacts it in the middle of a turn, and before one, or gives up."""
    tui.type("USAGE 250000 0 50 0 TOOL true")
    stage.held(stage.compaction)
    truth("compacting in mid-turn", "working/compacting", thread)
    stage.api.release(stage.compaction)
    ended(tui, "Another language model")  # the summary takes the place of the prompt
    tui.type("USAGE 250000 0 50 0 SAY heavy")
    ended(tui, "• heavy")
    tui.type("SAY light")
    stage.held(stage.compaction)
    truth("compacting before a turn", "working/compacting", thread)
    stage.api.release(stage.compaction)
    ended(tui, "• light")
    tui.type("FAIL CONTEXT")
    ended(tui, "ran out of room")
    truth("failed: CONTEXT", "idle/failed", thread)


def _composer(screen: str) -> str:
    """The line in which the next prompt is typed: the last one with its mark."""
    return next((line for line in reversed(screen.splitlines()) if line.startswith(MARK)), "")
