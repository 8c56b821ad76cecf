"""How long an app-server may be silent, as a thing of its own: no clock, no task. Pure.

The figures are those that others arrived at with the same server: with half a minute for the first progress,
healthy turns were taken for dead. Nothing is ended here in any case: what is overdue is told, once.
"""

from dataclasses import dataclass

HANDSHAKE_S = 30.0  # each request until the session has its thread, and each later one
FIRST_PROGRESS_S = 60.0  # from the start of a turn to anything of it
INACTIVITY_S = 600.0  # within a turn, from one piece of progress to the next
# From "this thread is idle" to the turn's end: milliseconds. 0.155 now and then leaves it out.
TURN_END_S = 1.0

# What shows that a turn goes on. An error that is tried again, or a status, does not.
_PROGRESS = ("item/", "turn/plan/", "turn/diff/", "thread/tokenUsage/", "thread/compacted", "model/", "hook/")
_LEGACY_STALLED = b'"stream_error"'


def is_progress(method: str, raw: bytes = b"") -> bool:
    """Whether a message of the server shows that the model, or a tool, is at work."""
    if method.startswith("codex/event"):
        return _LEGACY_STALLED not in raw
    return method.startswith(_PROGRESS)


@dataclass
class Deadlines:
    """Of one thread. All times are monotonic seconds."""

    overdue_at_s: float | None = None
    _first: bool = True
    _since_s: float = 0.0

    def turn_started(self, now_s: float) -> None:
        """A turn begins."""
        self._first, self._since_s, self.overdue_at_s = True, now_s, now_s + FIRST_PROGRESS_S

    def progress(self, now_s: float) -> None:
        """It goes on."""
        self._first, self._since_s, self.overdue_at_s = False, now_s, now_s + INACTIVITY_S

    def waiting(self) -> None:
        """It waits for a person, who may take as long as they like; or there is no turn."""
        self.overdue_at_s = None

    def overdue(self, now_s: float) -> str | None:
        """What to say, once for each silence; None while there is nothing to say."""
        if self.overdue_at_s is None or now_s < self.overdue_at_s:
            return None
        self.overdue_at_s = None
        silent_s = now_s - self._since_s
        what = "no sign of the turn that was started" if self._first else "nothing from the running turn"
        return f"{what} for {silent_s:.0f} s; it may still go on, and `fleet interrupt` ends it"
