"""The Codex daemons of this user, asked for the status of the threads that they hold.

Each listens on a Unix socket of its CODEX_HOME that speaks WebSocket. A connection stays open between readings.
"""

import os
import stat
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from fleet_agent.tools.codex.daemon_protocol import METHODS, Dialogue, Message
from fleet_agent.wire import Problem

ANSWER_S = 0.5  # for all of one daemon's answers in one reading; it answers within milliseconds
MAX_MESSAGE_BYTES = 1 << 20
FIRST_PAUSE_S, LONGEST_PAUSE_S = 2.0, 60.0
_READ_BYTES = 64 << 10
_SOCKET = "app-server-control/app-server-control.sock"


class Daemons:
    """The daemons that hold threads now. `problems` says which of them did not answer; `clock` is monotonic."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._daemons: dict[str, _Daemon] = {}

    def words(self, threads: Mapping[str, Sequence[str]]) -> dict[str, str]:
        """What each home's daemon says of the threads given for it: thread id -> a word of `Evidence.told`.

        A daemon that does not answer, and a thread that it does not know, are left out.
        """
        for home in self._daemons.keys() - threads.keys():
            self._daemons.pop(home).close()
        told: dict[str, str] = {}
        for home, wanted in threads.items():
            daemon = self._daemons.setdefault(home, _Daemon(home))
            told |= daemon.words(wanted, self._clock())
        return told

    @property
    def problems(self) -> list[Problem]:
        """One for each daemon that runs and does not answer."""
        return [daemon.problem for daemon in self._daemons.values() if daemon.problem]


class _Daemon:
    """One daemon, from reading to reading. After a failure it is left in peace for a while."""

    def __init__(self, home: str) -> None:
        self.problem: Problem | None = None
        self._link = f"{home}/{_SOCKET}"
        self._connection: Connection | None = None
        self._pause_s = FIRST_PAUSE_S
        self._not_before_s = 0.0

    def words(self, threads: Sequence[str], now_s: float) -> dict[str, str]:
        if now_s < self._not_before_s:
            return {}
        try:
            return self._ask(threads)
        except Exception as exc:  # whatever it does, the files still tell most
            self.close()
            self._not_before_s, self._pause_s = now_s + self._pause_s, min(self._pause_s * 2, LONGEST_PAUSE_S)
            why = str(exc) or type(exc).__name__
            message = f"the Codex daemon does not answer ({why}): approvals and questions are only guessed"
            self.problem = Problem("unreadable", message, self._link)
            return {}

    def _ask(self, threads: Sequence[str]) -> dict[str, str]:
        path = own_socket(self._link)
        if path is None:
            self.close()
            self.problem = None
            return {}
        import websockets.client  # noqa: F401 - it takes a while, which is not the daemon's fault

        by_s = time.monotonic() + ANSWER_S
        told = self._ask_again(threads, by_s)
        if told is None:
            self._connection = Connection(path, by_s)
            told = self._connection.statuses(threads, by_s)
        self.problem, self._pause_s = None, FIRST_PAUSE_S
        return told

    def _ask_again(self, threads: Sequence[str], by_s: float) -> dict[str, str] | None:
        """Over the connection of the reading before; None if it is lost, as when the daemon was restarted."""
        if self._connection is None:
            return None
        try:
            return self._connection.statuses(threads, by_s)
        except ConnectionError:
            self.close()
            return None

    def close(self) -> None:
        if self._connection:
            self._connection.close()
        self._connection = None


def own_socket(link: str) -> str | None:
    """The socket behind `link`, if there is one and it belongs to this user.

    The link is in CODEX_HOME, the socket itself in /tmp, where others can make files too.
    """
    path = os.path.realpath(link)
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return path if stat.S_ISSOCK(status.st_mode) and status.st_uid == os.geteuid() else None


class Connection:
    """A WebSocket over the Unix socket at `path`. `by_s` is monotonic. Every method raises `OSError`."""

    def __init__(self, path: str, by_s: float) -> None:
        import socket  # like the WebSocket, for hosts that have such a daemon

        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        # Only here: they take as long to import as all the rest of the agent, and most hosts run no daemon.
        from websockets.client import ClientProtocol
        from websockets.uri import parse_uri

        self._dialogue = Dialogue()
        self._partial = b""
        self._protocol = ClientProtocol(parse_uri("ws://localhost/"), max_size=MAX_MESSAGE_BYTES)
        try:
            self._socket.settimeout(_left(by_s))
            self._socket.connect(path)
            self._protocol.send_request(self._protocol.connect())
            self._flush(by_s)
            while self._protocol.state.name == "CONNECTING":
                self._receive(by_s)
        except BaseException:
            self._socket.close()
            raise

    def statuses(self, threads: Iterable[str], by_s: float) -> dict[str, str]:
        """What the daemon says of these threads; of the first of them if it is too slow to speak of all."""
        self._send(self._dialogue.read(threads), by_s)
        try:
            while not self._dialogue.done:
                for text in self._receive(by_s):
                    self._send(self._dialogue.receive(text), by_s)
        except TimeoutError:
            if not self._dialogue.statuses:
                raise
        return self._dialogue.statuses

    def close(self) -> None:
        """Hang up. The daemon needs no farewell."""
        self._socket.close()

    def __del__(self) -> None:
        self.close()

    def _send(self, messages: Iterable[Message], by_s: float) -> None:
        for message in messages:
            if message.method not in METHODS:
                raise ValueError(f"{message.method} is not among the methods that only read")
            self._protocol.send_text(msgspec.json.encode(message))
        self._flush(by_s)

    def _receive(self, by_s: float) -> list[bytes]:
        """The messages that became whole with what was read next."""
        self._socket.settimeout(_left(by_s))
        data = self._socket.recv(_READ_BYTES)
        if not data:
            raise ConnectionError("it closed the connection")
        self._protocol.receive_data(data)
        whole = [message for event in self._protocol.events_received() if (message := self._join(event))]
        self._flush(by_s)  # pongs
        fault = self._protocol.handshake_exc or self._protocol.parser_exc
        if fault or self._protocol.state.name not in ("CONNECTING", "OPEN"):
            raise ConnectionError(str(fault or "it closed the connection"))
        return whole

    def _join(self, event: object) -> bytes | None:
        """A whole message, if this event ends one. A message may come in several frames."""
        from websockets.frames import Frame, Opcode

        if not isinstance(event, Frame) or event.opcode not in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            return None
        self._partial += bytes(event.data)
        if not event.fin:
            return None
        whole, self._partial = self._partial, b""
        return whole

    def _flush(self, by_s: float) -> None:
        for data in self._protocol.data_to_send():
            self._socket.settimeout(_left(by_s))
            self._socket.sendall(data)


def _left(by_s: float) -> float:
    left_s = by_s - time.monotonic()
    if left_s <= 0:
        raise TimeoutError(f"not within {ANSWER_S:g} s")
    return left_s
