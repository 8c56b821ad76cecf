"""What is said to the Codex daemon and what it answers: JSON-RPC messages in and out. Pure.

Since 0.163 one background server per CODEX_HOME runs the sessions of all plain `codex` terminals. It alone
knows whether a thread waits for a person; no file says so. Measured on Codex 0.169: requests and answers are
JSON objects without a "jsonrpc" field, one a WebSocket message; notifications may come in between.
Only `thread/read` is asked, which neither loads a thread nor subscribes to it; never `thread/resume`: it does
both.
"""

from collections.abc import Iterable

import msgspec

from fleet_agent import __version__

METHODS = frozenset({"initialize", "initialized", "thread/read"})  # all that may ever be sent
MAX_THREADS = 100  # in one reading: each costs the daemon 1 ms of CPU
IN_FLIGHT = 16  # requests at a time: the daemon drops a client that does not take its answers

# Sent to everybody, and not wanted: a connection must not fill up between two readings.
_NOT_WANTED = ("thread/status/changed", "thread/started", "configWarning", "remoteControl/status/changed")
_FLAGS = {"waitingOnApproval": "approval", "waitingOnUserInput": "question"}


class Message(msgspec.Struct, frozen=True, omit_defaults=True):
    """A request, or (without `id`) a notification, to the daemon."""

    method: str
    id: int | None = None
    params: dict[str, object] | None = None


class _Status(msgspec.Struct, rename="camel"):
    type: str = ""
    active_flags: tuple[str, ...] = ()


class _Thread(msgspec.Struct):
    id: str = ""
    status: _Status = msgspec.field(default_factory=_Status)


class _Result(msgspec.Struct):
    thread: _Thread = msgspec.field(default_factory=_Thread)


class _Answer(msgspec.Struct):
    id: int | str | None = None
    method: str | None = None
    result: msgspec.Raw = msgspec.Raw()


class Dialogue:
    """One connection, from `initialize` to as many readings as are wanted.

    Each method returns what is to be sent next. Answers come in any order; what is no answer to a question of
    this reading, or is no JSON of a known shape, is passed over.
    """

    def __init__(self) -> None:
        self.statuses: dict[str, str] = {}  # of this reading: thread id -> a word of `word`
        self._last_id = 0
        self._greeting: int | None = None
        self._greeted = False
        self._asked: dict[int, str] = {}  # request id -> thread id
        self._unasked: list[str] = []

    @property
    def done(self) -> bool:
        """Whether everything that was asked in this reading is answered."""
        return self._greeted and not self._asked and not self._unasked

    def read(self, threads: Iterable[str]) -> list[Message]:
        """Begin a reading: forget the one before, ask for the status of these threads."""
        self.statuses = {}
        self._asked = {}
        self._unasked = list(threads)[:MAX_THREADS]
        if self._greeted:
            return self._more()
        self._greeting = self._new_id()
        client = {"name": "fleet-agent", "title": "fleet", "version": __version__}
        capabilities = {"optOutNotificationMethods": _NOT_WANTED}
        return [Message("initialize", self._greeting, {"clientInfo": client, "capabilities": capabilities})]

    def receive(self, text: bytes) -> list[Message]:
        """Take one message of the daemon."""
        try:
            answer = msgspec.json.decode(text, type=_Answer)
        except (ValueError, RecursionError):
            return []
        number = answer.id if answer.method is None else None
        if number is None:
            return []
        if not self._greeted and str(number) == str(self._greeting):
            self._greeted = True
            return [Message("initialized"), *self._more()]
        return self._take(str(number), answer.result)

    def _take(self, number: str, result: msgspec.Raw) -> list[Message]:
        """An answer to a `thread/read`. An error has no result: then nothing is known of that thread."""
        thread = self._asked.pop(int(number), None) if number.isascii() and number.isdigit() else None
        if thread is None:
            return []
        said = word(bytes(result), thread)
        if said:
            self.statuses[thread] = said
        return self._more()

    def _more(self) -> list[Message]:
        count = max(0, IN_FLIGHT - len(self._asked))
        now, self._unasked = self._unasked[:count], self._unasked[count:]
        return [self._ask(thread) for thread in now]

    def _ask(self, thread: str) -> Message:
        number = self._new_id()
        self._asked[number] = thread
        return Message("thread/read", number, {"threadId": thread, "includeTurns": False})

    def _new_id(self) -> int:
        self._last_id += 1
        return self._last_id


def word(result: bytes, thread: str) -> str | None:
    """approval | question | active | idle | failed, from the result of a `thread/read` of this thread.

    None if it does not say: the thread is not loaded, or its status is one that we do not know.
    """
    try:
        found = msgspec.json.decode(result, type=_Result).thread
    except (ValueError, RecursionError):
        return None
    if found.id != thread:
        return None
    if found.status.type != "active":
        return {"idle": "idle", "systemError": "failed"}.get(found.status.type)
    flags = found.status.active_flags
    if any(flag not in _FLAGS for flag in flags):
        return None
    return min((_FLAGS[flag] for flag in flags), default="active")
