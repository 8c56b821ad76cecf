"""Everything that can go wrong, readable from the top of this file.

    FleetError                 what a user did or has can be mended; its text says what, why and how
    +-- ConfigError            a rejected configuration: file, key, value, fix          (exit 2)
    +-- UsageError             a rejected command line: a host that does not exist ...  (exit 2)
    +-- RequestRefused         a host's agent did not do what it was asked              (exit 3)
    +-- DaemonError            no daemon where one is needed, or one too many           (exit 6)
    HostError                  data, not an exception: why one host could not be read
    +-- carried by HostFailure inside the collector, never past it

A host error never stops a sibling host, and never becomes an empty list of sessions.
"""

import enum

import msgspec


class ExitCode(enum.IntEnum):
    """Exit codes of the command line; 1 is a bug of ours."""

    OK = 0
    INTERNAL = 1
    USAGE = 2
    REFUSED = 3
    SOME_HOSTS_FAILED = 4
    ALL_HOSTS_FAILED = 5
    DAEMON = 6
    INTERRUPTED = 130


class ErrorKind(enum.StrEnum):
    """Why a host could not be read. The words are part of the JSON contract."""

    CONFIG = "config"  # what we were told about the host cannot work: a key, a config value
    HOST_KEY = "host_key"  # unknown, changed or revoked; or ssh_config turns checking off
    AUTH = "auth"  # permission denied
    TIMEOUT = "timeout"  # a deadline passed, in the phase that is named
    UNREACHABLE = "unreachable"  # DNS, connection refused, no route
    REFUSED = "refused"  # sshd answered and then would not: channel refused, key exchange failed
    AGENT_MISSING = "agent_missing"  # exit status 126 or 127
    AGENT_FAILED = "agent_failed"  # any other end of the agent before its snapshot
    BAD_OUTPUT = "bad_output"  # no hello, past a bound, not JSON, not UTF-8
    SCHEMA = "schema"  # another major version of the wire
    DISCONNECTED = "disconnected"  # the connection was lost after hello
    INTERNAL = "internal"  # our own bug


class Phase(enum.StrEnum):
    """How far the reading of a host had come. In their order."""

    CONFIG = "config"
    DNS = "dns"
    CONNECT = "connect"
    AUTH = "auth"  # SSH from its first byte to the login: banner, key exchange, host key, user
    INSTALL = "install"  # putting the agent on a host that lacks it
    HELLO = "hello"
    SNAPSHOT = "snapshot"
    IDLE = "idle"  # between the frames of a stream


class HostError(msgspec.Struct, frozen=True):
    """Why one host could not be read: `message` says what happened, `hint` what mends it."""

    kind: ErrorKind
    phase: Phase
    message: str
    hint: str


class HostFailure(Exception):
    """Carries a `HostError` up to the one place that records it."""

    def __init__(self, kind: ErrorKind, phase: Phase, message: str, hint: str) -> None:
        super().__init__(f"{kind} ({phase}): {message}")
        self.error = HostError(kind, phase, message, hint)


class FleetError(Exception):
    """Something the user can mend. The text names the thing, the reason and the fix."""

    exit_code = ExitCode.USAGE


class ConfigError(FleetError):
    """A configuration that is refused as a whole; half of one is never applied."""


class UsageError(FleetError):
    """A command line that cannot be carried out as written."""


class RequestRefused(FleetError):
    """The agent of a host refuses: one of `fleet_agent.control.wire.REFUSALS`, why, and what would work.

    `candidates`: what could have been meant.
    """

    exit_code = ExitCode.REFUSED

    def __init__(self, kind: str, message: str, hint: str = "", candidates: tuple[str, ...] = ()) -> None:
        super().__init__("; ".join(part for part in (message, hint) if part))
        self.kind, self.message, self.hint, self.candidates = kind, message, hint, candidates


class DaemonError(FleetError):
    """The daemon cannot start, or none is there to ask."""

    exit_code = ExitCode.DAEMON
