"""A CODEX_HOME in which states are brought about while fleet watches, and the truth beside what it says."""

import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from lab import procs
from lab.codex import CodexHome
from lab.mock_responses import MockResponses
from lab.procs import Process
from lab.tmux import Tmux
from lab.truth import Reading, answer
from lab.waiting import wait_until
from lab.watch import Row, Watch

SETTLE_S = 0.3  # from the moment that a state is there to the readings
UNTOLD_S = 4.0  # where only a missing process tells an approval: fleet gives a process three seconds to appear
WITHIN_S = 40.0

_numbers = itertools.count()

# The model API holds compactions; questions are asked outside of plan mode too; subagents may have subagents.
_CONFIG = """
compact_prompt = "HOLD {compaction} SAY summary"

[features]
default_mode_request_user_input = true

[agents]
max_depth = 3
"""


class Truth:
    """Reads fleet in both ways when a state has been brought about, and notes each answer beside the truth.

    `surface` is how Codex runs: TUI, exec ...
    """

    def __init__(self, home: CodexHome, watch: Watch, surface: str, note: Callable[[Reading], None]) -> None:
        self._home, self._watch, self._surface, self._note = home, watch, surface, note

    def __call__(self, case: str, truth: str, who: str | int, *, settle_s: float = SETTLE_S) -> None:
        """`case` is there, which is `truth` (`state/detail`), for the thread or the process `who`."""
        time.sleep(settle_s)
        at = time.time()
        for way, rows in (("snapshot", self._watch.snapshot()), ("stream", self._watch.streamed(at))):
            row = next((row for row in rows if row["id"] == who or who in row["pids"]), None)
            self._note(self._reading(case, truth, way, row))

    def _reading(self, case: str, truth: str, way: str, row: Row | None) -> Reading:
        said: Row = row or {"evidence": None, "confidence": None, "reason": ""}
        grounds = said["evidence"], said["confidence"], said["reason"]
        return Reading(self._home.version, self._surface, case, truth, way, answer(row), *grounds)


class Stage:
    """A home, the model API that its Codex speaks to, and fleet watching it.

    `compaction` is the name under which the API holds this home's compactions.
    """

    def __init__(self, home: CodexHome, api: MockResponses, watch: Watch, compaction: str) -> None:
        self.home, self.api, self.watch = home, api, watch
        self.compaction = compaction

    def held(self, name: str) -> None:
        """Wait until the response to `HOLD name` is held back: the model is at work."""
        wait_until(lambda: self.api.holds(name), f"a response is held as {name}", timeout_s=WITHIN_S)

    def new_thread(self, before: set[str]) -> str:
        """The one thread that was not there before, as soon as it is."""
        (thread,) = wait_until(lambda: self.home.threads() - before, "a thread appears", timeout_s=WITHIN_S)
        return thread

    def turns(self, thread: str) -> int:
        """How many turns this thread has begun so far."""
        rollouts = [rollout for rollout in self.home.rollouts() if thread in rollout.name]
        return sum(rollout.read_bytes().count(b'"type":"task_started"') for rollout in rollouts)

    def tool(self, command: str) -> Process:
        """The process of a tool call with this in its command line, as soon as it runs."""

        def look() -> Process | None:
            return next((tool for tool in self.home.tools() if command in tool.describe()), None)

        return wait_until(look, f"a tool runs {command}", timeout_s=WITHIN_S)

    def native(self, pid: int) -> int:
        """The pid of Codex itself, where this one may be node's, which started it."""

        def look() -> int | None:
            pids = [pid, *(process.pid for process in procs.family([pid]))]
            return next((found for found in pids if procs.program(found) == "codex"), None)

        return wait_until(look, f"pid {pid} runs codex", timeout_s=WITHIN_S)

    def tui(self, *options: str, daemon: bool = False) -> tuple[Tmux, str]:
        """A terminal UI, and the thread that it opens at once (0.150 on)."""
        before = self.home.threads()
        return self.home.tui(*options, daemon=daemon), self.new_thread(before)


@contextmanager
def stage(api: MockResponses, **options: Any) -> Iterator[Stage]:
    """A stage in a CODEX_HOME with these options of `CodexHome`."""
    compaction = f"compaction{next(_numbers)}"
    config = _CONFIG.format(compaction=compaction)
    with CodexHome(api.url, config=config, **options) as home, Watch(home) as watch:
        yield Stage(home, api, watch, compaction)
