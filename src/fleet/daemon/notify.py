"""What systemd is told: sd_notify(3), a datagram to $NOTIFY_SOCKET. Without that variable nothing is sent."""

import os
import socket
import time
from collections.abc import Mapping


def ready(environ: Mapping[str, str] = os.environ) -> None:
    """The daemon serves."""
    send("READY=1", environ)


def reloading(environ: Mapping[str, str] = os.environ) -> None:
    """The configuration is being read again; `ready` ends it. Type=notify-reload wants the monotonic time."""
    send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}", environ)


def stopping(environ: Mapping[str, str] = os.environ) -> None:
    """The daemon ends."""
    send("STOPPING=1", environ)


def alive(environ: Mapping[str, str] = os.environ) -> None:
    """The event loop turns."""
    send("WATCHDOG=1", environ)


def watchdog_s(environ: Mapping[str, str] = os.environ) -> float | None:
    """How often `alive` is to be sent, half of what systemd waits; None if it does not watch this process."""
    microseconds, pid = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID")
    if not microseconds.isdigit() or (pid and pid != str(os.getpid())):
        return None
    return int(microseconds) / 2e6 or None


def send(state: str, environ: Mapping[str, str]) -> None:
    """One message, lost without a word where nobody listens."""
    path = environ.get("NOTIFY_SOCKET")
    if not path:
        return
    address = "\0" + path[1:] if path.startswith("@") else path
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        try:
            sock.sendto(state.encode(), address)
        except OSError:
            return
