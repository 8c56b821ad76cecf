"""Who did what to which session of this host, when, and how it ended: audit.ndjson, beside the runs.

Each action is a line before it is done and a line after, with the same `action`. What cannot be written down is
not done. Texts of people are not in it, only how long they are.
"""

import fcntl
import os
import secrets
import time
from collections.abc import Mapping

import msgspec

from fleet_agent.control.rotation import Appender
from fleet_agent.control.store import private_directory
from fleet_agent.control.wire import (
    Answer,
    Decide,
    Delete,
    Done,
    Interrupt,
    Prune,
    Refused,
    Request,
    Send,
    Start,
    Stop,
)

SEGMENT_BYTES = 4 << 20
CHANGING = (Start, Send, Interrupt, Decide, Answer, Stop, Delete, Prune)
BEGUN = "begun"


class Record(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line. `outcome`: begun, then done or a word of `wire.REFUSALS`.

    `by`: who asked, in the asker's own words; `from_address`: where from, in those of the SSH server.
    """

    at: float
    action: str
    verb: str
    outcome: str
    by: str = ""
    from_address: str = ""
    tool: str | None = None
    name: str | None = None
    id: str | None = None
    pids: tuple[int, ...] = ()
    mode: str | None = None
    cwd: str | None = None
    request_id: str | None = None
    decision: str | None = None
    text_chars: int | None = None
    message: str | None = None


class Audit:
    """The audit of the store at `root`. `environ`: that of the program that asks."""

    def __init__(self, root: str, environ: Mapping[str, str]) -> None:
        self.root = root
        self._from_address = environ.get("SSH_CONNECTION", "").partition(" ")[0]

    def begin(self, request: Request) -> Record:
        """An action is about to be done. Raises `OSError`: then it must not be."""
        begun = msgspec.structs.replace(record(request, time.time()), from_address=self._from_address)
        self._append(begun)
        return begun

    def end(self, begun: Record, reply: Done | Refused, name: str | None = None) -> None:
        """It was done, or refused. `name`: of the run that came of it. Raises `OSError`."""
        outcome = reply.kind if isinstance(reply, Refused) else "done"
        self._append(
            msgspec.structs.replace(
                begun, at=time.time(), outcome=outcome, name=name or begun.name, message=reply.message or None
            )
        )

    def _append(self, line: Record) -> None:
        private_directory(self.root)
        lock = os.open(os.path.join(self.root, "audit.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)  # another `fleet-agent control` may write too
            log = Appender(os.path.join(self.root, "audit.ndjson"), SEGMENT_BYTES)
            written = log.append(msgspec.json.encode(line) + b"\n")
            log.close()
        finally:
            os.close(lock)
        if not written:
            raise OSError("the audit cannot be written: is the disk full?")


def record(request: Request, at: float) -> Record:
    """What the audit says of a request, before anything is done. Pure but for the action's random name."""
    said = Record(at, secrets.token_hex(8), str(request.__struct_config__.tag), BEGUN, by=request.by)
    if isinstance(request, Start):
        chars = None if request.prompt is None else len(request.prompt)
        return msgspec.structs.replace(
            said,
            tool=request.tool,
            name=request.name,
            id=request.resume or request.fork,
            mode=request.mode,
            cwd=request.cwd,
            text_chars=chars,
        )
    if isinstance(request, Prune) or not isinstance(request, CHANGING):
        return said
    target = request.target
    said = msgspec.structs.replace(said, tool=target.tool, name=target.name, id=target.id, pids=target.pids)
    if isinstance(request, Send):
        return msgspec.structs.replace(said, text_chars=len(request.text))
    if isinstance(request, Decide):
        return msgspec.structs.replace(said, request_id=request.request_id, decision=request.decision)
    if isinstance(request, Answer):
        chars = sum(len(text) for texts in request.answers.values() for text in texts)
        return msgspec.structs.replace(said, request_id=request.request_id, text_chars=chars)
    return said
