"""What sockets and asyncssh raise -> `HostFailure`. Pure."""

import errno
import os
import socket

import asyncssh

from fleet.errors import ErrorKind, HostFailure, Phase
from fleet.text import clean

_MAX_CHARS = 300

_UNREACHABLE_HINTS = {
    errno.ECONNREFUSED: "nothing listens there: see whether sshd runs, and on which port",
    errno.EHOSTUNREACH: "see whether the machine is on and in this network (VPN?)",
    errno.ENETUNREACH: "see whether this machine is in the right network (VPN?)",
}


def resolving(host: str, exc: Exception) -> HostFailure:
    """A name that does not resolve, or that is none (a `UnicodeError` of the IDNA codec)."""
    reason = clean(getattr(exc, "strerror", None) or str(exc), _MAX_CHARS)
    return HostFailure(
        ErrorKind.UNREACHABLE,
        Phase.DNS,
        f"{clean(host)}: {reason}",
        "mend the name, or give the host an `address` in hosts.toml",
    )


def connecting(where: str, exc: OSError) -> HostFailure:
    """A TCP connection that was not made. The kernel's own time-out is a time-out, not a refusal."""
    if exc.errno == errno.ETIMEDOUT:
        hint = "see whether the machine is on and no firewall drops the packets"
        return HostFailure(ErrorKind.TIMEOUT, Phase.CONNECT, f"{where}: {_reason(exc)}", hint)
    hint = _UNREACHABLE_HINTS.get(exc.errno or 0, "see whether the machine is on and its network works")
    return HostFailure(ErrorKind.UNREACHABLE, Phase.CONNECT, f"{where}: {_reason(exc)}", hint)


def _reason(exc: OSError) -> str:
    """The system's own words; asyncio puts addresses of its own into `strerror`."""
    return os.strerror(exc.errno) if exc.errno else str(exc)


def handshake(exc: Exception, where: str, login: str, offered: str) -> HostFailure:
    """An SSH handshake that failed, but for its host key (see `host_key`)."""
    reason = clean(str(exc) or type(exc).__name__, _MAX_CHARS)
    if isinstance(exc, asyncssh.PermissionDenied):
        return HostFailure(
            ErrorKind.AUTH,
            Phase.AUTH,
            f"permission denied for {login}; offered: {offered}",
            f"put your public key into ~/.ssh/authorized_keys there, or mend `user` and `identity`;"
            f" `ssh -v {login}` tells more",
        )
    if isinstance(exc, asyncssh.ConnectionLost | OSError):
        return HostFailure(
            ErrorKind.REFUSED,
            Phase.AUTH,
            f"{where} closed the connection during the SSH handshake ({reason})",
            "see whether that port is sshd's; if so, it may be full (MaxStartups) or have banned this address",
        )
    return HostFailure(
        ErrorKind.REFUSED, Phase.AUTH, f"{where}: {reason}", f"see what `ssh -v {login}` says about it"
    )


def host_key(where: str, lookup: str, presented: str | None, *, known: bool, reason: str) -> HostFailure:
    """A host key that is not trusted. `lookup` is how known_hosts names the host."""
    shown = f" (it presented {presented})" if presented else ""
    if "revoked" in reason:
        what, hint = "is marked @revoked in known_hosts", "do not trust this machine; ask who runs it"
    elif known:
        what = "is not the one in known_hosts: the machine was reinstalled, or somebody answers in its place"
        hint = "find out which; if it is rightly new: `fleet hosts trust --replace HOST`"
        hint += f" (or `ssh-keygen -R '{lookup}'`)"
    else:
        what = "is not in known_hosts"
        hint = "compare the fingerprint with the machine's own, then run `fleet hosts trust HOST`"
    return HostFailure(ErrorKind.HOST_KEY, Phase.AUTH, f"the host key of {where} {what}{shown}", hint)


def channel(exc: asyncssh.Error | OSError) -> HostFailure:
    """A session that the server would not open after the login."""
    if isinstance(exc, asyncssh.ChannelOpenError):
        reason = clean(exc.reason, _MAX_CHARS)
        return HostFailure(
            ErrorKind.REFUSED,
            Phase.HELLO,
            f"sshd refused a session or its command: {reason}",
            "see MaxSessions in its sshd_config, and what its authorized_keys allow this key",
        )
    return HostFailure(
        ErrorKind.DISCONNECTED,
        Phase.HELLO,
        f"the connection was lost: {clean(str(exc), _MAX_CHARS)}",
        "see its sshd log",
    )


def tunnel(where: str, exc: asyncssh.Error) -> HostFailure:
    """A connection that the jump host would not, or could not, make for us."""
    reason = clean(getattr(exc, "reason", "") or str(exc), _MAX_CHARS)
    if getattr(exc, "code", None) == asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED:
        return HostFailure(
            ErrorKind.REFUSED,
            Phase.CONNECT,
            f"the jump host may not forward to {where}: {reason}",
            "see AllowTcpForwarding and PermitOpen in the jump host's sshd_config",
        )
    return HostFailure(
        ErrorKind.UNREACHABLE,
        Phase.CONNECT,
        f"the jump host cannot reach {where}: {reason}",
        "see whether the machine is on, and reachable from the jump host",
    )


def through(jump: str, failure: HostFailure) -> HostFailure:
    """The failure of a jump host, as the failure of the host behind it."""
    e = failure.error
    return HostFailure(e.kind, e.phase, f"jump host {jump}: {e.message}", e.hint)


RESOLVE_ERRORS = (socket.gaierror, UnicodeError)
