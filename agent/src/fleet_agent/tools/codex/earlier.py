"""What a thread spent in rollouts that it has left. Codex 0.155 to 0.169 were seen to do this:

A thread that is taken back to an earlier turn (`thread/revert`) goes on in a new file,
rollout-TIME-THREAD_REVERT.jsonl, whose totals go on from that turn. The files before it stay beside it, and
nothing is appended to them: what was spent there stays spent.
"""

import os
from collections.abc import Iterable, Sequence

from fleet_agent.tail import Budget, Source
from fleet_agent.tools.codex.lines import decode_meta
from fleet_agent.tools.codex.recent import ROLLOUT_NAME, revert_id
from fleet_agent.tools.codex.skim import Skim
from fleet_agent.tools.codex.usage import Ledger, Usage
from fleet_agent.wire import USAGE_CONFIDENCES, Tokens

_UNKNOWN = Usage(confidence="conservative")  # what is known of the others is too little


def earlier_rollouts(path: str) -> list[str]:
    """The files that the thread of `path` has left, oldest first. May list all days of its home."""
    directory, _, name = path.rpartition("/")
    named, own = ROLLOUT_NAME.fullmatch(name), revert_id(path)
    if named is None or not own:
        return []
    top = directory if directory.endswith("/archived_sessions") else path.rsplit("/", 4)[0]
    found = {f"{day}/{name}" for day, _, names in os.walk(top) for name in names if named[1] in name}
    packed_too = {f"{one}.zst" for one in found}
    return sorted(
        (one for one in found - packed_too if _is_rollout(one) and revert_id(one) < own), key=revert_id
    )


class Earlier:
    """The account of such files. Each is read once."""

    def __init__(self, paths: Iterable[str]) -> None:
        self._unread = {path: _size_bytes(path) for path in paths}
        self._skim: Skim | None = None  # of the first of these
        self._usages: list[Usage] = []

    @property
    def left_bytes(self) -> int:
        """How much `account` has still to read."""
        return sum(self._unread.values())

    def usage(self, own: Usage) -> Usage:
        """Together with `own`, that of the file in which the thread goes on."""
        if not (self._unread or self._usages):
            return own
        usages = [*self._usages, own, *([_UNKNOWN] if self._unread else [])]
        spent = [usage.tokens for usage in usages if usage.tokens]
        turns, compactions = _sum([u.turns for u in usages]), _sum([u.compactions for u in usages])
        if not spent:
            return Usage(turns=turns, compactions=compactions)
        confidences = [usage.confidence for usage in usages if usage.confidence]
        tokens = Tokens(*(sum(getattr(t, name) for t in spent) for name in Tokens.__struct_fields__))
        return Usage(tokens, max(confidences, key=USAGE_CONFIDENCES.index), turns, compactions)

    def account(self, budget: Budget) -> None:
        """Go on as far as the budget allows. Without a file that cannot be read the account is conservative."""
        for path in list(self._unread):
            try:
                with Source(path) as source:
                    self._read(path, source, budget)
            except OSError:
                self._done(path, _UNKNOWN)
            if path in self._unread:
                return

    def _read(self, path: str, source: Source, budget: Budget) -> None:
        head = None if self._skim else source.line_at(0)
        meta = decode_meta(head) if head else None
        if meta:
            self._skim = Skim(Ledger(meta), source.identity)
        if self._skim is None:
            self._done(path, _UNKNOWN)
            return
        self._skim.read(source, budget)
        self._unread[path] = self._skim.left_bytes(source.size)
        if self._skim.whole:
            self._done(path, self._skim.ledger.usage(True, None))

    def _done(self, path: str, usage: Usage) -> None:
        self._usages.append(usage)
        self._skim = None
        del self._unread[path]


def _is_rollout(path: str) -> bool:
    return ROLLOUT_NAME.fullmatch(os.path.basename(path)) is not None


def _sum(counts: Sequence[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None


def _size_bytes(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 1  # to be found out by `account`
