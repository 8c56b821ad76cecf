"""What the daemon serves: the streams, the journal of their changes, and the configuration in force."""

import asyncio
import os
import secrets
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from fleet import config
from fleet.changes import changes, may_rename, second_names
from fleet.config import Config, HostSpec
from fleet.journal import Journal
from fleet.model import Fleet
from fleet.streams import Streams
from fleet.views.notices import notices

LAGS = 120  # measurements of the loop's delay that are kept: a minute of them


class Service:
    """The running fleet. `given` is the configuration file that was named, None for the usual places.

    `config` is the one in force: a new one is taken whole or not at all (`reload`).
    """

    def __init__(self, given: Path | None = None) -> None:
        self.config: Config = config.load(given)
        self.journal = Journal(epoch=secrets.token_hex(4))
        self.streams = Streams(observe=self._observe)
        self.started_at = time.time()
        self.pid = os.getpid()
        self.lags_s: deque[float] = deque([0.0], maxlen=LAGS)
        self.stopping = asyncio.Event()  # set once the daemon is to end
        self._given = given
        self._second_names: frozenset[str] = frozenset()

    def begin(self) -> None:
        """Follow the hosts of the configuration."""
        self.streams.set_hosts(tuple(self.config.hosts.values()))

    def reload(self) -> None:
        """Read the configuration again and follow its hosts. Raises `ConfigError`, and all stays as it was."""
        self.config = config.load(self._given)
        self.begin()
        for host in self.streams.fleet.hosts.values():
            if host.error and host.next_retry_at is None:  # what was wrong with it only the user can mend
                self.streams.retry(host.name)

    def stop(self) -> None:
        """End the answers that have no end of their own, or a late one."""
        self.stopping.set()
        self.streams.stop_asking()
        self.journal.wake()

    def select(self, expressions: Sequence[str], excludes: Sequence[str]) -> tuple[HostSpec, ...]:
        """The hosts that a request is about. Raises `UsageError`."""
        return self.config.select(expressions, excludes)

    @property
    def is_stopping(self) -> bool:
        """Whether the daemon is to end."""
        return self.stopping.is_set()

    @property
    def is_ready(self) -> bool:
        """Whether every host has answered or failed once."""
        return all(host.link != "pending" for host in self.streams.fleet.hosts.values())

    def lag_s(self, share: float) -> float:
        """The delay of the event loop that this share of the measurements did not pass: 0.99, or 1 for all."""
        ordered = sorted(self.lags_s)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    def _observe(self, before: Fleet, after: Fleet, names: set[str]) -> None:
        were = self._second_names
        if may_rename(before, after, names):
            self._second_names = second_names(after)
        told = changes(before, after, names, were, self._second_names)
        self.journal.append(len(told), notices(told, time.time(), time.monotonic()))
