"""What Claude Code has written down of a session: lines of its transcript -> session events. Pure.

A message comes as one line for each of its blocks, when it is complete. What its subagents say is in files of
their own. The end of a turn is told in interactive sessions (`turn_duration`); of others it is known when more
comes. Measured on 2.0.76 to 2.1.329.
"""

import re
from collections.abc import Iterator

from fleet_agent.control.events import Event, Failure, Prompted, SessionStarted, Used
from fleet_agent.control.parse.claude_blocks import Blocks
from fleet_agent.control.parse.turns import Turns
from fleet_agent.control.parse.values import Json, decode, joined, name, pick
from fleet_agent.fields import count, epoch, member
from fleet_agent.wire import Tokens

_LAST = ("end_turn", "stop_sequence", "max_tokens", "refusal")  # why a turn's last message stops
_INTERRUPTED = "[Request interrupted by user"
# What Claude Code writes in the person's place: commands, what they print, news of what runs in the background.
_INJECTED = re.compile(r"<(?:command-|local-command-|bash-|task-notification|system-reminder)")


class Transcript:
    """One transcript. `at`: the time of the line that was fed last, in epoch seconds; None if none had one.

    What is of no use, or of no known type, has no events.
    """

    def __init__(self) -> None:
        self.at: float | None = None
        self._session_id: str | None = None
        self._turns = Turns()
        self._blocks = Blocks()
        self._failure: str | None = None
        self._last: Tokens | None = None  # of the last response of the turn

    def begin(self, line: bytes) -> list[Event]:
        """The session that a line of its start tells of; for who then feeds lines from further on."""
        said = decode(line)
        if isinstance(said, Failure):
            return []
        self.at = epoch(said.get("timestamp")) or self.at
        return self._session(said)

    def feed(self, line: bytes) -> list[Event]:
        """The events of one line, whatever it is."""
        said = decode(line)
        if isinstance(said, Failure):
            return [said]
        self.at = epoch(said.get("timestamp")) or self.at
        if said.get("isSidechain") is True:
            return []
        return [*self._session(said), *self._told(said)]

    def _session(self, said: Json) -> list[Event]:
        """Each line says whose it is; the first few without the version."""
        session_id, version = name(said.get("sessionId")), name(said.get("version"))
        if self._session_id is not None or session_id is None or version is None:
            return []
        self._session_id = session_id
        return [SessionStarted(session_id, version=version)]

    def _told(self, said: Json) -> Iterator[Event]:
        match said.get("type"):
            case "user" if not (said.get("isMeta") is True or said.get("isCompactSummary") is True):
                yield from self._user(said)
            case "assistant":
                yield from self._assistant(said)
            case "attachment" if member(said, "attachment", "type") == "queued_command":
                yield from self._prompted(joined(member(said, "attachment", "prompt")))
            case "system" if said.get("subtype") == "turn_duration":
                yield from self._end("failed" if self._failure else "completed", self._failure)
            case "last-prompt":  # what a `claude -p` ends with
                yield from self._settled()

    def _user(self, said: Json) -> Iterator[Event]:
        content = member(said, "message", "content")
        yield from self._blocks.results(content, said.get("toolUseResult"))
        text = joined(content)
        if text is None or _is_result(content):
            return
        if text.startswith(_INTERRUPTED):
            yield from self._end("aborted")
        elif not _INJECTED.match(text):
            yield from self._settled()
            yield from self._turns.start(name(said.get("promptId")))
            yield from self._prompted(text)

    def _prompted(self, text: str | None) -> Iterator[Event]:
        if text and not _INJECTED.match(text):
            yield Prompted(text)

    def _assistant(self, said: Json) -> Iterator[Event]:
        self._turns.going()
        message = said.get("message")
        failed = said.get("isApiErrorMessage") is True
        for event in self._blocks.said(message, failed=failed):
            self._failure = event.message if isinstance(event, Failure) else self._failure
            yield event
        self._last = _tokens(pick(message, "usage")) or self._last
        if pick(message, "stop_reason") in _LAST:
            self._turns.rest("failed" if self._failure else "completed")

    def _end(self, end: str, why: str | None = None) -> Iterator[Event]:
        yield from self._counted(self._turns.end(end, message=why))

    def _settled(self) -> Iterator[Event]:
        """The end of a turn after which nothing told of it."""
        yield from self._counted(self._turns.settle())

    def _counted(self, ended: list[Event]) -> Iterator[Event]:
        if ended and self._last:
            yield Used(last=self._last)
        if ended:
            self._last = self._failure = None
        yield from ended


def _is_result(content: object) -> bool:
    blocks = content if isinstance(content, list) else []
    return any(pick(block, "type") == "tool_result" for block in blocks)


def _tokens(usage: object) -> Tokens | None:
    """Of one response; Claude counts cached input beside `input_tokens`, the wire within."""
    names = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens")
    fresh, written, read, said = (count(pick(usage, counter)) or 0 for counter in names)
    asked = count(fresh + written + read) or 0
    total = count(asked + said) or 0
    return Tokens(input=asked, cached_input=min(read, asked), output=said, total=total) if total else None
