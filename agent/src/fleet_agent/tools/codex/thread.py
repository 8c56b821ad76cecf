"""One rollout file, followed: where to begin reading it, and the facts that were read."""

from fleet_agent.tail import Budget, Source, Tail, lines_from
from fleet_agent.tools.codex import plan, rollout, skim
from fleet_agent.tools.codex.earlier import Earlier, earlier_rollouts
from fleet_agent.tools.codex.growth import Growth
from fleet_agent.tools.codex.lines import Meta, decode_meta, first_prompt
from fleet_agent.tools.codex.rollout import Rollout
from fleet_agent.tools.codex.skim import Skim
from fleet_agent.tools.codex.usage import Ledger, Usage

REACH_BYTES = 512 << 20  # how far from the end the last turn's start is looked for: 0.15 s at worst
EARLIER_REACH_BYTES = 32 << 20  # how far before it the lines of the turn before
OLD_REACH_BYTES = 4 << 20
LONG_TURN_BYTES = 8 << 20  # of a longer one only the start and the end are read: 0.1 s each 15 MiB
TURN_HEAD_BYTES = 256 << 10
TURN_TAIL_BYTES = 2 << 20
PROMPT_REACH_BYTES = 1 << 20
LITTLE_BYTES = 64 << 10  # 0.1 ms


class ThreadFile:
    """The rollout at `path`. `facts` is None until its first line is whole, `fault` why it cannot be read."""

    def __init__(self, path: str, want_prompt: bool) -> None:
        self.path = path
        self.facts: Rollout | None = None
        self.fault: str | None = None
        self.gone = False
        self.prompt: str | None = None
        self.modified_at: float | None = None
        self.size_bytes: int | None = None
        self.growth = Growth()
        self.readings = 0  # how often something new was read
        self.usage = Usage()  # what the session spent, as far as `account` got
        self._tail = Tail(path)
        self._skim: Skim | None = None
        self._earlier = Earlier(())
        self._endless: list[tuple[int, int]] = []  # of the file, see `Source`
        self._want_prompt = want_prompt

    @property
    def behind(self) -> bool:
        """Whether there was more to read than the budget allowed."""
        return self._tail.behind

    @property
    def unaccounted_bytes(self) -> int:
        """How much `account` has still to read."""
        return self._left_bytes + self._earlier.left_bytes

    @property
    def _left_bytes(self) -> int:
        """Of this file alone."""
        return self._skim.left_bytes(self.size_bytes or 0) if self._skim else 0

    def account(self, budget: Budget) -> None:
        """Go on with the account of its tokens, which takes the whole file once. Faults are left to `poll`."""
        self._earlier.account(budget)
        try:
            with Source(self.path, self._endless) as source:
                if self._skim and self._skim.identity == source.identity:
                    self._skim.read(source, budget)
                    self.usage = self._usage()
        except OSError:
            pass

    def poll(self, budget: Budget) -> None:
        """Read what is new."""
        try:
            if self._tail.changed() or self.fault:
                self.fault, self.gone = None, False
                self._poll(budget)
            if self.size_bytes is not None:
                self.growth.note(self.size_bytes)
        except OSError as exc:
            self.fault, self.gone = exc.strerror or str(exc), isinstance(exc, FileNotFoundError)

    def _poll(self, budget: Budget) -> None:
        self.readings += 1
        with Source(self.path, self._endless) as source:
            self.modified_at, self.size_bytes = source.modified_at, source.size
            if self.facts is None or self._tail.is_new(source) or self._left_bytes < 0:
                self._endless.clear()
                self.facts = self._first_sight(source, budget)
                self._skim = Skim(Ledger(self.facts.meta), source.identity) if self.facts else None
                self._earlier = Earlier(earlier_rollouts(self.path))
            else:
                self._read(self.facts, source, budget)
            if self.facts:
                self._find_prompt(source, self.facts.meta)
            self._account_for_little(source)
        self.usage = self._usage()

    def _account_for_little(self, source: Source) -> None:
        """What a reading appends is a few lines: the account goes on while the file is open."""
        left_bytes = self._left_bytes
        if self._skim and 0 < left_bytes <= LITTLE_BYTES:
            self._skim.read(source, Budget(left_bytes))

    def _usage(self) -> Usage:
        if self.facts is None:
            return Usage()
        if self._skim is None:
            return Ledger(self.facts.meta).usage(False, self.facts.tokens)
        return self._earlier.usage(self._skim.ledger.usage(self._skim.whole, self.facts.tokens))

    def _first_sight(self, source: Source, budget: Budget) -> Rollout | None:
        head = source.line_at(0)
        if head is None:
            return None
        meta = decode_meta(head)
        if meta is None:
            self.fault = "its first line is no session_meta"
            return None
        facts = Rollout(meta)
        facts.cut_lines += head.cut
        end = source.end_of_lines()
        start, facts.gapless = _last_turn(source, end)
        tail_start = _turn_tail(source, start, end)
        if tail_start > start:
            for line in lines_from(source, start, TURN_HEAD_BYTES):
                facts.feed(line)
            for markers in (plan.CALL, rollout.ANY_SETTINGS):  # which nobody may have said again
                at = source.last_line_with(markers, tail_start, min(tail_start - start, EARLIER_REACH_BYTES))
                if at is not None and (said := source.line_at(at)):
                    facts.feed(said)
            facts.calls.clear()  # they ended in what is left out
        self._tail.start(source, tail_start)
        self._read(facts, source, budget)
        _catch_up(facts, source, start)
        return facts

    def _read(self, facts: Rollout, source: Source, budget: Budget) -> None:
        for line in self._tail.lines(source, budget):
            facts.feed(line)

    def _find_prompt(self, source: Source, meta: Meta) -> None:
        if not self._want_prompt or self.prompt:
            return
        self.prompt = first_prompt(lines_from(source, 0, PROMPT_REACH_BYTES), meta.own_from_ordinal)
        self._want_prompt = self.prompt is None and source.size < PROMPT_REACH_BYTES


def _last_turn(source: Source, end: int) -> tuple[int, bool]:
    """Where to begin reading, and whether nothing of the last turn is lost by it."""
    for markers, reach_bytes in (((skim.TURN,), REACH_BYTES), (rollout.TURN_START, OLD_REACH_BYTES)):
        start = source.last_line_with(markers, end, reach_bytes)
        if start is not None:
            return start, True
    if end <= OLD_REACH_BYTES:
        return 0, True  # short enough to be read whole
    for markers in (rollout.OLD_TURN_START, rollout.BARE_TURN_START):
        start = source.last_line_with(markers, end, OLD_REACH_BYTES)
        if start is not None:
            return start, end <= REACH_BYTES
    return end - OLD_REACH_BYTES, False  # in the middle of a line, which is then no JSON and passed over


def _turn_tail(source: Source, start: int, end: int) -> int:
    """Where to read on in a turn after its start: far enough back that no call from before is still open.

    That is at a token_count: it is written when the calls of its response have ended. Up to 0.138 there is one
    before, too, hence the fourth from the end.
    """
    if end - start <= LONG_TURN_BYTES:
        return start
    tail_start = end - TURN_TAIL_BYTES
    for _ in range(4):
        found = source.last_line_with((skim.COUNT,), tail_start, REACH_BYTES)
        if found is None or found < start + TURN_HEAD_BYTES:
            return start
        tail_start = found
    return tail_start


def _catch_up(facts: Rollout, source: Source, start: int) -> None:
    """What a turn that has just begun has not said yet: its settings, and the token counts so far."""
    missing = (
        (facts.model, rollout.SETTINGS),
        (facts.model, rollout.ANY_SETTINGS),  # a person may have chosen others since
        (facts.tokens, rollout.TOKEN_COUNTS),
        (facts.limits or None, rollout.RATE_LIMITS),
        (facts.settled or None, rollout.TURN_END),
    )
    for markers in (markers for value, markers in missing if value is None):
        at = source.last_line_with(markers, start, EARLIER_REACH_BYTES)
        if at is not None:
            facts.feed_earlier(source.line_at(at))
