"""fleet.transport.failures: what sockets and asyncssh raise, in the words of the contract."""

import errno
import socket

import asyncssh
import pytest

from fleet.errors import ErrorKind, HostFailure, Phase
from fleet.transport import failures

K, P = ErrorKind, Phase


def connecting(number: int) -> HostFailure:
    return failures.connecting("h:1", OSError(number, "asyncio's own words"))


def handshake(exc: Exception) -> HostFailure:
    return failures.handshake(exc, "h", "me@h", "/k")


def tunnel(code: int) -> HostFailure:
    return failures.tunnel("h", asyncssh.ChannelOpenError(code, "why"))


@pytest.mark.parametrize(
    ("failure", "kind", "phase", "message"),
    [
        (connecting(errno.ECONNREFUSED), K.UNREACHABLE, P.CONNECT, "h:1: Connection refused"),
        (connecting(errno.EHOSTUNREACH), K.UNREACHABLE, P.CONNECT, "h:1: No route to host"),
        (connecting(errno.ETIMEDOUT), K.TIMEOUT, P.CONNECT, "h:1: Connection timed out"),
        (failures.resolving("h", socket.gaierror(-2, "not known")), K.UNREACHABLE, P.DNS, "h: not known"),
        (failures.resolving("h..", UnicodeError("label empty")), K.UNREACHABLE, P.DNS, "h..: label empty"),
        (handshake(asyncssh.PermissionDenied("no")), K.AUTH, P.AUTH, "permission denied for me@h; offered: /k"),
        (handshake(asyncssh.ConnectionLost("lost")), K.REFUSED, P.AUTH,
         "h closed the connection during the SSH handshake (lost)"),
        (handshake(asyncssh.KeyExchangeFailed("no kex\x1b[2J")), K.REFUSED, P.AUTH, "h: no kex�[2J"),
        (failures.channel(asyncssh.ChannelOpenError(1, "no \x9bmore")), K.REFUSED, P.HELLO,
         "sshd refused a session or its command: no �more"),
        (tunnel(asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED), K.REFUSED, P.CONNECT,
         "the jump host may not forward to h: why"),
        (tunnel(asyncssh.OPEN_CONNECT_FAILED), K.UNREACHABLE, P.CONNECT, "the jump host cannot reach h: why"),
    ],
)  # fmt: skip
def test_each_exception_has_its_kind_and_words(
    failure: HostFailure, kind: ErrorKind, phase: Phase, message: str
) -> None:
    """Kind, phase and message, with the other side's words cleaned; there is always a hint."""
    assert (failure.error.kind, failure.error.phase) == (kind, phase)
    assert failure.error.message == message
    assert failure.error.hint


@pytest.mark.parametrize(
    ("known", "reason", "words"),
    [
        (False, "Host key is not trusted", "is not in known_hosts"),
        (True, "Host key is not trusted", "is not the one in known_hosts"),
        (True, "Host key is revoked", "is marked @revoked"),
    ],
)
def test_host_keys(known: bool, reason: str, words: str) -> None:
    """Unknown, changed and revoked keys are told apart, with the fingerprint that was shown."""
    error = failures.host_key("h", "h", "ssh-ed25519 SHA256:abc", known=known, reason=reason).error
    assert (error.kind, error.phase) == (K.HOST_KEY, P.AUTH)
    assert words in error.message
    assert "SHA256:abc" in error.message


def test_a_jump_hosts_failure_is_that_of_the_host_behind_it() -> None:
    """Same kind, phase and hint; the message says whose it is."""
    inner = failures.connecting("b", OSError(errno.ECONNREFUSED, ""))
    error = failures.through("bastion", inner).error
    assert (error.kind, error.hint) == (inner.error.kind, inner.error.hint)
    assert error.message == "jump host bastion: b: Connection refused"
