"""Whether Codex compacts the model's context now. It writes that down only when it is done. Sans-I/O.

Two things give it away, on 0.145 to 0.169 alike. A compaction that a person asked for, or that comes before a
turn's first request, is all that its turn has done: after `task_started` there is nothing but a `token_count`,
which comes with the head of the response. (A command that a person runs begins a bare turn as well, but its
process shows.) A compaction in mid-turn counts the tokens a second time in a row; a request that is tried again
does so too.
"""

_STARTS = (("event_msg", "task_started"), ("event_msg", "turn_started"))
_COUNT = ("event_msg", "token_count")
FULL = 0.85  # of the context window; Codex compacts at 90 % unless it is configured otherwise

Kind = tuple[str | None, str | None]


class Compaction:
    """Fed with the kind of each line. `sign` is likely | maybe, or None when nothing looks like it.

    `bare`: the turn has begun and said nothing of itself yet.
    """

    def __init__(self) -> None:
        self.sign: str | None = None
        self.bare = False
        self._last: Kind = (None, None)

    def feed(self, kind: Kind, used: int | None, window: int | None) -> None:
        """A line of this kind; `used` of `window` tokens are in the model's context as of it."""
        if kind in _STARTS:
            self.bare, self.sign = True, "maybe"
        elif kind != _COUNT:
            self.bare, self.sign = False, None
        elif self.bare:
            self.sign = "likely"
        elif self._last == _COUNT and used and window and used >= FULL * window:
            self.sign = "maybe"
        self._last = kind
