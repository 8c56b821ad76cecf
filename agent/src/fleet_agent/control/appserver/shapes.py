"""What an app-server answers, as far as it is used: results of requests. Unknown fields are passed over."""

import msgspec

from fleet_agent.control import wire

_WAITING = ("waitingOnApproval", "waitingOnUserInput")


class Status(msgspec.Struct, rename="camel"):
    """`type`: notLoaded | idle | systemError (its last turn failed) | active."""

    type: str = ""
    active_flags: list[str] = []

    @property
    def waits(self) -> bool:
        """Whether a person must answer something."""
        return any(flag in _WAITING for flag in self.active_flags)


class Facts(msgspec.Struct, rename="camel"):
    """A thread, in the answers to thread/start, thread/resume and thread/read."""

    id: str = ""
    status: Status = msgspec.field(default_factory=Status)
    cwd: str | None = None
    path: str | None = None  # of its rollout
    model: str | None = None
    cli_version: str | None = None
    parent_thread_id: str | None = None
    thread_source: str | None = None
    source: object = None
    can_accept_direct_input: bool | None = None

    @property
    def takes_input(self) -> bool:
        """Whether a person may speak to it: never to a subagent's, whose terminal would not survive it."""
        by_source = isinstance(self.source, dict) and any(key.lower() == "subagent" for key in self.source)
        subagent = bool(self.parent_thread_id) or self.thread_source == "subagent" or by_source
        return not subagent and self.can_accept_direct_input is not False


class Opened(msgspec.Struct, rename="camel"):
    """The answer to thread/start, thread/resume, thread/read."""

    thread: Facts = msgspec.field(default_factory=Facts)
    model: str | None = None
    approval_policy: object = None


class Turn(msgspec.Struct):
    """`status`: inProgress | completed | failed | interrupted. A crashed one may be in progress for ever."""

    id: str = ""
    status: str = ""


class TurnStarted(msgspec.Struct):
    """The answer to turn/start."""

    turn: Turn = msgspec.field(default_factory=Turn)


class Turns(msgspec.Struct):
    """The answer to thread/turns/list, the newest first."""

    data: list[Turn] = []


class Item(msgspec.Struct):
    """An item of a turn. `changes`: of a patch, by file."""

    id: str = ""
    changes: object = None


class FullTurn(msgspec.Struct):
    """A turn with its items, those under way too."""

    items: list[Item] = []


class Page(msgspec.Struct):
    """A page of turns, the newest first."""

    data: list[FullTurn] = []


class Resumed(msgspec.Struct, rename="camel"):
    """The answer to thread/resume, of which a page of turns was asked for."""

    initial_turns_page: Page | None = None


class Loaded(msgspec.Struct, rename="camel"):
    """The answer to thread/loaded/list."""

    data: list[str] = []
    next_cursor: str | None = None


def no_input(thread: Facts) -> wire.Refused:
    """What to say to whoever would speak to a subagent's thread."""
    parent = thread.parent_thread_id or "the session that started it"
    return wire.Refused(
        "not_possible",
        f"session {thread.id} is a subagent's, and takes no input of a person",
        f"speak to {parent}, or go on with a copy of it: fleet run --fork {thread.id}",
    )
