"""Thread names: `$CODEX_HOME/session_index.jsonl`, an append-only list of {"id","thread_name","updated_at"}.

Only named threads are in it (since 0.101); the last line of an id wins. Its first one may be Codex's own: since
0.150 the terminal UI has a model name the thread after its first prompt, unless somebody did before. Nothing
tells such a name from one that a person gave, but that a person's may be another than the first.
"""

import msgspec

from fleet_agent.fields import text
from fleet_agent.tail import Budget, Source, Tail
from fleet_agent.tools.codex.lines import thread_id

MAX_READ_BYTES = 8 << 20  # from the end; some 50,000 names
MAX_NAMES = 20_000
_MAX_NAME_CHARS = 400


class _Named(msgspec.Struct, gc=False):
    id: str = ""
    thread_name: str | None = None


_decode = msgspec.json.Decoder(_Named).decode


class _Name(msgspec.Struct, frozen=True, gc=False):
    text: str
    given: bool  # surely by a person


class Names:
    """The thread names of one CODEX_HOME; with `given_only` those that are surely not made of a prompt."""

    def __init__(self, home: str, *, given_only: bool = False) -> None:
        self.path = f"{home}/session_index.jsonl"
        self._given_only = given_only
        self._tail = Tail(self.path)
        self._failed = False
        self._names: dict[str, _Name] = {}

    def poll(self) -> None:
        """Read what is new. No such file means no names. Raises `OSError` when it cannot be read."""
        try:
            if not (self._tail.changed() or self._failed):
                return
        except FileNotFoundError:
            self._names, self._tail = {}, Tail(self.path)
            return
        self._failed = True
        with Source(self.path) as source:
            if self._tail.is_new(source):
                self._names = {}
                self._tail.start(source, max(0, source.size - MAX_READ_BYTES))  # a torn first line is no JSON
            for line in self._tail.lines(source, Budget(2 * MAX_READ_BYTES)):
                self._take(line.data)
        self._failed = False

    def get(self, thread: str) -> str | None:
        """The name of a thread."""
        name = self._names.get(thread)
        return name.text if name and (name.given or not self._given_only) else None

    def _take(self, data: bytes) -> None:
        try:
            named = _decode(data)
        except (ValueError, RecursionError):
            return
        thread = thread_id(named.id)
        if thread is None:
            return
        before = self._names.pop(thread, None)  # so that the dict's order is that of the last lines
        name = text(named.thread_name, _MAX_NAME_CHARS)
        if name:
            given = before is not None and (before.given or before.text != name)
            self._names[thread] = _Name(name, given)
        if len(self._names) > MAX_NAMES:
            del self._names[next(iter(self._names))]
