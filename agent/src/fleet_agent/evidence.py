"""What one reading shows of one session, and what is made of it: the two ends of `fleet_agent.status`. Pure."""

import msgspec


class Turn(msgspec.Struct, frozen=True, gc=False):
    """One turn as its transcript tells it. `status`: open | complete | failed | aborted."""

    status: str
    id: str | None = None
    started_at: float | None = None
    ended_at: float | None = None
    error: str | None = None  # the tool's own word for it, e.g. usage_limit_exceeded
    trigger: str | None = None  # what began it: exec, user, queue ...
    doubtful: bool = False  # it ended, but it is not written down whether it failed


class Call(msgspec.Struct, frozen=True, gc=False):
    """A call of the model that has no output yet.

    `kind`: shell | patch | script (code mode) | question | wait (for subagents) | opaque (it runs where no
    process shows, and may ask a person) | other. `escalated`: it asks to leave the sandbox. `process`: whether
    a live process of this call was seen: yes | no | maybe (it cannot be told). `several`: it is a script that
    may call more than one tool; then one may run while another asks a person.
    """

    id: str
    name: str
    kind: str = "other"
    at: float | None = None
    escalated: bool = False
    process: str = "maybe"
    several: bool = False


class Hooked(msgspec.Struct, frozen=True):
    """What a hook of the tool said, and nothing contradicts: that it asks a person.

    `what`: approval | question; `at`: when it began to. `sure`: whether it would be seen that it was answered.
    """

    what: str
    at: float
    call: Call
    sure: bool


class Evidence(msgspec.Struct, frozen=True):
    """What one reading shows of one session.

    `live`: a process holds it open; `writer_at`: when that process started; `one_shot`: it ends with its turn,
    as `codex exec` does; `server`: it holds sessions for others, as the daemon does; `inherited`: this one
    began in a process of its own. `blind`: another writer may exist that this reading cannot see, because
    processes are hidden ("scan") or the file is on a network file system ("network"). `gapless` is false when a
    part of the current turn was not read. `last_actor` (user | assistant | tool) is for old releases, which do
    not record where a turn begins and ends. `told` is what the tool's own server says, asked after all else was
    read: approval | question | active | idle | failed; None if there is no server, or it does not say.
    `moved_at`: when anything of it moved last, as far as can be seen. `limit_resets_at`: when the account's
    used-up limit is reset, if that is known. `packed`: its transcript is compressed and was not read.
    `stopped`: every process that holds it is, as by Ctrl-Z.
    """

    now: float
    live: bool
    readable: bool = True
    turn: Turn | None = None
    calls: tuple[Call, ...] = ()
    last_actor: str | None = None
    active_at: float | None = None  # the last line
    resumed_at: float | None = None  # the last call of this turn got its output
    compacting: str | None = None  # whether it looks like a compaction of the model's context: likely | maybe
    approvals: str | None = None  # the approval policy: never, on-request ...
    reviewer: str | None = None  # who answers them: user, or a program
    writer_at: float | None = None
    one_shot: bool = False
    server: bool = False
    inherited: bool = False
    blind: str | None = None
    gapless: bool = True
    told: str | None = None
    moved_at: float | None = None
    limit_resets_at: float | None = None
    packed: bool = False
    stopped: bool = False
    hooked: Hooked | None = None


class Verdict(msgspec.Struct, frozen=True):
    """The state of a session in the words of `fleet_agent.wire`. `call`: the open call that it is in."""

    state: str
    detail: str | None
    reason: str
    evidence: str | None
    confidence: str
    since_at: float | None
    call: Call | None = None
