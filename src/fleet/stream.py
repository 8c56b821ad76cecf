"""Bytes from an agent -> frames of the wire. Sans-I/O: no clock, no socket, no task.

    stream = FrameStream()
    for frame in stream.feed(data): ...      # Hello first, then whole Snapshots and Heartbeats
    stream.close()                           # at the end of the output; says what was missing

Everything a host sends is bounded here and made safe here (`fleet.text.clean`), once. What breaks a rule is a
`BrokenStream`; after it, nothing more is taken from that host.
"""

from collections.abc import Iterator
from itertools import chain, repeat
from typing import Annotated, Generic, TypeVar

import msgspec
from msgspec import Meta

from fleet.errors import ErrorKind
from fleet.text import FORBIDDEN, clean, clean_bytes
from fleet_agent import wire
from fleet_agent.wire import Head, Heartbeat, Hello, Session, Snapshot

_SAMPLE_CHARS = 200  # of foreign output, shown in a message
_SAMPLE_BYTES = 4 * _SAMPLE_CHARS  # kept for that: what is secret in it is longer than what stands for it
_HELLO_MARK = b'"hello"'
_SNAPSHOT_MARK = b'{"type":"snapshot",'  # as our agents write it; any other spelling is read too
_BROKEN_AGENT = "this is not our agent, or it is broken: see what `agent_command` runs"

_SESSIONS = Snapshot.__struct_fields__.index("sessions")
_Raws = Annotated[tuple[msgspec.Raw, ...], Meta(max_length=wire.MAX_SESSIONS)]
# A snapshot whose sessions are left as they came: most of them are those of the snapshot before.
_Unread = msgspec.defstruct(
    "_Unread",
    [
        (f.name, _Raws if f.name == "sessions" else f.type, *(() if f.required else (f.default,)))
        for f in msgspec.structs.fields(Snapshot)
    ],
    frozen=True,
    gc=False,
    tag_field="type",
    tag="snapshot",
)

head = msgspec.json.Decoder(Head)
_hello = msgspec.json.Decoder(Hello)
_unread = msgspec.json.Decoder(_Unread)
_session = msgspec.json.Decoder(Session)
_heartbeat = msgspec.json.Decoder(Heartbeat)

_Known = tuple[msgspec.Raw | None, Session]
_NOTHING_KNOWN: list[_Known] = []
_NO_SESSION: _Known = (None, Session("", ""))

T = TypeVar("T")
F = TypeVar("F")


class BrokenStream(Exception):
    """The host's output broke a rule. `kind` is `bad_output` or `schema`."""

    def __init__(self, kind: ErrorKind, message: str, hint: str) -> None:
        super().__init__(message)
        self.kind, self.message, self.hint = kind, message, hint


class WireStream(Generic[F]):
    """What every agent says: noise, its hello, then one frame a line. What a frame is, a subclass knows.

    Feed it bytes as they come; the pieces in which they come do not matter.
    """

    def __init__(self) -> None:
        self.hello: Hello | None = None
        self.noise_lines = 0
        self.skipped_frames = 0
        self._buffer = bytearray()
        self._searched = 0  # of the buffer, without a newline in it
        self._noise = bytearray()
        self._unfinished_bytes = 0  # since the last frame that was handed out

    def feed(self, data: bytes) -> Iterator[Hello | F]:
        """The frames that `data` completes. Raises `BrokenStream`."""
        self._buffer += data
        while (at := self._buffer.find(b"\n", self._searched)) >= 0:
            line = bytes(self._buffer[:at])
            del self._buffer[: at + 1]
            self._searched = 0
            frame = self._line(line)
            if frame is not None:
                self._unfinished_bytes = 0
                yield frame
        self._searched = len(self._buffer)
        self._check_line_length(len(self._buffer))

    def close(self) -> None:
        """The output has ended. Raises `BrokenStream` if it ended inside a line, or without a hello."""
        if self.hello is None:
            raise self._no_hello("the output ended")
        if self._buffer:
            raise bad("the output ended in the middle of a line", "the agent was killed, or its disk is full")

    def noise_sample(self) -> str:
        """The beginning of what came before a hello, cleaned, for a message."""
        return clean_bytes(bytes(self._noise or self._buffer[:_SAMPLE_BYTES]), _SAMPLE_CHARS)

    @property
    def notes(self) -> tuple[str, ...]:
        """Oddities that did not stop the reading."""
        notes = []
        if self.noise_lines:
            notes.append(
                f"{self.noise_lines} line(s) of other output before the agent's first line, beginning"
                f" {self.noise_sample()!r}: make the login scripts quiet for non-interactive shells"
            )
        if self.skipped_frames:
            notes.append(
                f"{self.skipped_frames} frame(s) of a kind this fleet does not know: upgrade fleet here"
            )
        return tuple(notes)

    def _frame(self, line: bytes) -> F | None:
        """The frame in a line behind the hello; None while it is not whole, or of no kind that is known."""
        raise NotImplementedError

    def _line(self, line: bytes) -> Hello | F | None:
        if self.hello is None:
            return self._before_hello(line)
        self._check_line_length(len(line))
        return self._frame(line)

    def _before_hello(self, line: bytes) -> Hello | None:
        """A hello, or None for noise (a MOTD, a chatty .bashrc)."""
        if _HELLO_MARK in line and len(line) <= wire.MAX_LINE_BYTES:
            try:
                is_hello = head.decode(line).type == "hello"
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                is_hello = False
            if is_hello:
                hello = _cleaned(decoded(_hello, line), line)
                _check_schema(hello)
                self.hello = hello
                return hello
        self.noise_lines += 1
        self._noise += (line + b"\n")[: max(0, _SAMPLE_BYTES - len(self._noise))]
        self._unfinished_bytes += len(line) + 1
        if self.noise_lines > wire.MAX_NOISE_LINES or self._unfinished_bytes > wire.MAX_NOISE_BYTES:
            raise self._no_hello(f"{self.noise_lines} lines came")
        return None

    def _check_line_length(self, length: int) -> None:
        if self.hello is None and length > wire.MAX_NOISE_BYTES and not self._maybe_hello():
            raise self._no_hello(f"{length} bytes came without a newline")
        if length > wire.MAX_LINE_BYTES:
            raise bad(
                f"a line of more than {wire.MAX_LINE_BYTES >> 20} MiB",
                _BROKEN_AGENT,
            )

    def _maybe_hello(self) -> bool:
        return _HELLO_MARK in self._buffer[:_SAMPLE_CHARS]

    def _no_hello(self, what: str) -> BrokenStream:
        sample = self.noise_sample()
        return bad(
            f"{what} and no hello of a fleet agent was in it" + (f"; it began {sample!r}" if sample else ""),
            "see what `agent_command` runs on that host, and that its login scripts print nothing",
        )


class FrameStream(WireStream[Snapshot | Heartbeat]):
    """The reading side of the wire: snapshots, whole ones, and heartbeats."""

    def __init__(self) -> None:
        super().__init__()
        self._parts: list[Snapshot] = []
        self._known: dict[
            int, list[_Known]
        ] = {}  # of the last snapshot: part -> its sessions, and how they came

    def close(self) -> None:
        """As that of every stream; raises `BrokenStream` also inside a snapshot of several lines."""
        if self.hello is not None and (self._buffer or self._parts):
            raise bad(
                "the output ended in the middle of a snapshot", "the agent was killed, or its disk is full"
            )
        super().close()

    def _frame(self, line: bytes) -> Snapshot | Heartbeat | None:
        self._unfinished_bytes += len(line)
        if self._unfinished_bytes > wire.MAX_SNAPSHOT_BYTES:
            raise bad(
                f"more than {wire.MAX_SNAPSHOT_BYTES >> 20} MiB of output without a whole snapshot",
                _BROKEN_AGENT,
            )
        if line.startswith(_SNAPSHOT_MARK) or (kind := decoded(head, line).type) == "snapshot":
            return self._assemble(self._snapshot(line))
        if kind == "heartbeat":
            return decoded(_heartbeat, line)
        if kind == "hello":
            raise bad("a second hello: two agents write to one output", "run one agent per connection")
        self.skipped_frames += 1
        return None

    def _snapshot(self, line: bytes) -> Snapshot:
        """One line of a snapshot. A session that comes in the same bytes again is the same object again."""
        values = list(msgspec.structs.astuple(_cleaned(decoded(_unread, line), line)))
        part = len(self._parts)
        before = self._known.get(part, _NOTHING_KNOWN)
        pairs = zip(values[_SESSIONS], chain(before, repeat(_NO_SESSION)), strict=False)
        self._known[part] = [known if raw == known[0] else _decode_session(raw) for raw, known in pairs]
        values[_SESSIONS] = tuple([session for _, session in self._known[part]])
        return Snapshot(*values)

    def _assemble(self, part: Snapshot) -> Snapshot | None:
        """A whole snapshot, once its last part is there."""
        if self._parts and part.seq != self._parts[0].seq:
            raise bad("parts of two snapshots are mixed", "run one agent per connection")
        self._parts.append(part)
        if len(self._parts) > wire.MAX_PARTS:
            raise bad(f"a snapshot in more than {wire.MAX_PARTS} parts", _BROKEN_AGENT)
        if part.more:
            return None
        parts, self._parts = self._parts, []
        if len(parts) == 1:
            return part
        sessions = tuple(s for p in parts for s in p.sessions)
        problems = tuple(q for p in parts for q in p.problems)
        if len(sessions) > wire.MAX_SESSIONS or len(problems) > wire.MAX_SESSIONS:
            raise bad(f"a snapshot of {len(sessions)} sessions", f"at most {wire.MAX_SESSIONS} are taken")
        return msgspec.structs.replace(part, sessions=sessions, problems=problems)


def _decode_session(raw: msgspec.Raw) -> _Known:
    line = bytes(raw)
    return raw.copy(), _cleaned(decoded(_session, line), line)  # a copy, for `raw` keeps the whole line


def bad(message: str, hint: str) -> BrokenStream:
    """The host's output is not what it should be."""
    return BrokenStream(ErrorKind.BAD_OUTPUT, message, hint)


def decoded(decoder: msgspec.json.Decoder[T], line: bytes) -> T:
    """Decode one line. Whatever is wrong with it (syntax, types, bounds, UTF-8, depth) is a `BrokenStream`."""
    try:
        return decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise bad(
            f"a line is not a frame of the wire: {clean(str(exc), _SAMPLE_CHARS)}; it begins"
            f" {clean_bytes(line[:_SAMPLE_BYTES], 80)!r}",
            "compare `fleet-agent --version` on that host with `fleet --version` here",
        ) from None


def _check_schema(hello: Hello) -> None:
    if hello.schema == wire.SCHEMA:
        return
    side = "fleet on this machine" if hello.schema > wire.SCHEMA else "fleet-agent on that host"
    raise BrokenStream(
        ErrorKind.SCHEMA,
        f"the agent (version {hello.agent_version or 'unknown'}) speaks wire schema {hello.schema};"
        f" this fleet speaks {wire.SCHEMA}",
        f"upgrade {side}",
    )


def _cleaned(frame: T, line: bytes) -> T:
    """The frame with every text in it made safe. The usual line is plain ASCII and costs one scan."""
    if line.isascii() and b"\\" not in line and b"\x7f" not in line:
        return frame  # JSON allows no raw control character in a string, so nothing forbidden can be in it
    return _clean_tree(frame)


def _clean_tree(value: T) -> T:
    if isinstance(value, str):
        return clean(value) if FORBIDDEN.search(value) else value  # type: ignore[return-value]
    if isinstance(value, tuple):
        return tuple(_clean_tree(v) for v in value)  # type: ignore[return-value]
    if isinstance(value, msgspec.Struct):
        return type(value)(**{name: _clean_tree(getattr(value, name)) for name in value.__struct_fields__})
    return value
