"""What the command line asks the daemon, and what it makes of the answers."""

import json
import os
import signal
import time
from typing import Any

from fleet import client, paths
from fleet.client import NoDaemon
from fleet.errors import DaemonError, FleetError, UsageError

_POLL_S = 0.05


def told(method: str, path: str, timeout_s: float = client.ANSWER_TIMEOUT_S) -> Any:
    """The answer, decoded. Raises `DaemonError` when none is running, `UsageError` for what is refused."""
    try:
        return told_if_running(method, path, timeout_s)
    except NoDaemon as exc:
        raise DaemonError(f"{exc}; start one with `fleet daemon`") from None


def told_if_running(method: str, path: str, timeout_s: float = client.ANSWER_TIMEOUT_S) -> Any:
    """The same where a daemon need not run. Raises `NoDaemon` then."""
    answer = client.ask(path, method=method, timeout_s=timeout_s)
    check(answer)
    return json.loads(answer.body)


def check(answer: client.Answer) -> None:
    """Raise what a refusal says."""
    if answer.status < 400:
        return
    try:
        error = json.loads(answer.body)["error"]
        message = str(error["message"])
    except (ValueError, KeyError, TypeError):
        raise DaemonError(f"the daemon answered {answer.status}; see its log") from None
    raise (UsageError if answer.status < 500 else FleetError)(message)


def about() -> dict[str, object]:
    """What there is to say of the daemon."""
    known = told("GET", "/v1/daemon")
    return {
        "pid": known["pid"],
        "version": known["version"],
        "started": known["started_at"],
        "socket": paths.socket_path(os.environ),
        "config": known["config"] or "none: this machine only",
        "hosts": f"{known['hosts']}{'' if known['ready'] else ', not all read yet'}",
        "loop lag": f"{known['loop_lag_s'] * 1000:.1f} ms",
    }


def stopped(timeout_s: float) -> int:
    """End the daemon and wait for its end. Its pid. Raises `DaemonError`."""
    path = paths.socket_path(os.environ)
    try:
        with client.connected(path, client.CONNECT_TIMEOUT_S) as sock:
            pid = client.peer_pid(sock)
    except NoDaemon as exc:
        raise DaemonError(str(exc)) from None
    os.kill(pid, signal.SIGTERM)
    until = time.monotonic() + timeout_s
    while path.exists():
        if time.monotonic() >= until:
            raise DaemonError(f"daemon {pid} has not ended within {timeout_s:g} s; see its log")
        time.sleep(_POLL_S)
    return pid
