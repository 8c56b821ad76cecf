"""Hosts reached over the connections that the running daemon holds; where none runs, by logins of our own."""

import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import fleet
from fleet import client, paths
from fleet.client import NoDaemon
from fleet.config import Config, HostSpec
from fleet.control.direct import Direct
from fleet.control.kept import Kept
from fleet.control.relayed import relayed
from fleet.transport.control import ControlChannel

ABOUT_S = 2.0  # a daemon that takes longer to say what it is, is of no help


class ByDaemon(Kept):
    """A `Reach` by a daemon of our own release that goes by the same hosts.toml, as long as one runs.

    This machine is reached by no daemon: its agent is a subprocess, with the environment of who asks. `say` is
    told how hosts are reached, each time that this changes.
    """

    def __init__(self, config: Config, say: Callable[[str], None]) -> None:
        super().__init__()
        self._config, self._say = config, say
        self._socket = paths.socket_path(os.environ)
        self._direct = Direct()
        self._closing.push_async_exit(self._direct)
        self._serves: bool | None = None  # None: it has to be asked

    @property
    def asks_daemon(self) -> bool:
        """Whether there is one that would say the same as the hosts."""
        if self._serves is None or self.has_failed:  # then it may have gone, or another may have come
            self.has_failed = False
            try:
                check_daemon(self._config)
            except NoDaemon as exc:
                self._without(exc)
                self._serves = False
            else:
                self._say(f"by the daemon at {self._socket}")
                self._serves = True
        return self._serves

    @asynccontextmanager
    async def _opened(self, spec: HostSpec) -> AsyncIterator[ControlChannel]:
        async with AsyncExitStack() as closing:
            channel = None if spec.is_local or not self.asks_daemon else await self._relayed(closing, spec)
            if channel is None:
                channel = await closing.enter_async_context(self._direct.control(spec))
            yield channel

    async def _relayed(self, closing: AsyncExitStack, spec: HostSpec) -> ControlChannel | None:
        try:
            return await closing.enter_async_context(relayed(self._socket, spec.name))
        except NoDaemon as exc:
            self._without(exc)
            return None

    def _without(self, why: NoDaemon) -> None:
        self._say(f"{why}; logging in without a daemon")


def check_daemon(config: Config) -> None:
    """Raises `NoDaemon` unless one runs, of our own release, that has read the same hosts.toml."""
    answer = client.ask("/v1/daemon", timeout_s=ABOUT_S)
    try:
        about = json.loads(answer.body)
    except ValueError:
        about = {}
    if answer.status != 200 or about.get("version") != fleet.__version__ or "fingerprint" not in about:
        raise NoDaemon(f"the daemon is of another release ({about.get('version', 'unknown')})")
    if about["fingerprint"] != config.fingerprint:
        raise NoDaemon("the daemon goes by another hosts.toml, or has not read this one again")
