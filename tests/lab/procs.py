"""Processes from /proc: who started them, what they carry, and how to end only the ones that are ours.

A process is only ever signalled if its pid *and* its start time are those that were seen before, so a pid that
was used again in between is safe. Linux only.
"""

import contextlib
import os
import signal
import socket
import time
from collections.abc import Iterable, Iterator
from typing import NamedTuple


class Process(NamedTuple):
    """One process: `born` is its start time in clock ticks since boot, 0 if it was gone when we looked."""

    pid: int
    born: int

    def alive(self) -> bool:
        """Whether this very process still runs (a zombie does not)."""
        return self.born != 0 and born(self.pid) == self.born

    def signal(self, number: int) -> bool:
        """Signal it if it still is the one that was seen; False if there was nothing to signal."""
        if not self.alive():
            return False
        try:
            os.kill(self.pid, number)
        except (ProcessLookupError, PermissionError):
            return False
        return True

    def describe(self) -> str:
        """`pid 123: sleep 60`, for messages."""
        arguments = _read(self.pid, "cmdline").rstrip(b"\0").split(b"\0")
        return f"pid {self.pid}: {b' '.join(arguments).decode(errors='replace')}"


def born(pid: int) -> int:
    """Start time of a process in clock ticks since boot; 0 if there is none, or only its zombie."""
    fields = _read(pid, "stat").rpartition(b")")[2].split()
    return 0 if not fields or fields[0] in (b"Z", b"X") else int(fields[19])


def process(pid: int) -> Process:
    """The process that has this pid now."""
    return Process(pid, born(pid))


def carrying(**variables: str) -> list[Process]:
    """Processes whose environment, as it was when they started, holds all of these variables."""
    wanted = {os.fsencode(f"{name}={value}") for name, value in variables.items()}
    return [process(pid) for pid in _pids() if wanted <= environ(pid)]


def environ(pid: int) -> set[bytes]:
    """`NAME=value` of a process, as it was when it started; empty if it is gone or not ours to read."""
    return set(_read(pid, "environ").split(b"\0"))


def program(pid: int) -> str:
    """The file name of what a process runs; empty if it is gone or not ours to read."""
    with contextlib.suppress(OSError):
        return os.path.basename(os.readlink(f"/proc/{pid}/exe"))
    return ""


def family(roots: Iterable[int]) -> list[Process]:
    """All descendants of these pids, without themselves."""
    tree = _children()
    todo, found = list(roots), []
    while todo:
        children = tree.get(todo.pop(), [])
        found += children
        todo += children
    return [process(pid) for pid in found]


def end(processes: Iterable[Process], *, timeout_s: float = 5.0) -> None:
    """Kill these processes and wait until they are gone."""
    alive = [p for p in processes if p.signal(signal.SIGKILL)]
    wait_gone(alive, timeout_s=timeout_s)


def end_carrying(*, timeout_s: float = 5.0, **variables: str) -> None:
    """Kill every process that carries these variables, also what they start meanwhile."""
    until = time.monotonic() + timeout_s
    while (alive := [p for p in carrying(**variables) if p.alive()]) and time.monotonic() < until:
        end(alive, timeout_s=0.5)


def wait_gone(processes: Iterable[Process], *, timeout_s: float) -> list[Process]:
    """Those of the processes that are still alive after at most this time."""
    until = time.monotonic() + timeout_s
    alive = [p for p in processes if p.alive()]
    while alive and time.monotonic() < until:
        time.sleep(0.01)
        alive = [p for p in alive if p.alive()]
    return alive


def children(parent: int) -> list[int]:
    """Pids of the processes that this one started itself."""
    return _children().get(parent, [])


def local_addresses(pid: int) -> set[str]:
    """The local IPv4 addresses of a process's established TCP connections; reading another's takes root."""
    inodes = {f"socket:[{inode}]": address for address, inode in _established()}
    return {inodes[link] for link in _links(pid) if link in inodes}


def _established() -> Iterator[tuple[str, str]]:
    """(local address, inode) of every established TCP socket."""
    with open("/proc/net/tcp") as table:
        next(table)
        for line in table:
            columns = line.split()
            if columns[3] == "01":  # TCP_ESTABLISHED
                address = bytes.fromhex(columns[1].partition(":")[0])[::-1]
                yield socket.inet_ntoa(address), columns[9]


def _links(pid: int) -> Iterator[str]:
    """What the open file descriptors of a process point to."""
    with contextlib.suppress(OSError):
        for fd in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                yield os.readlink(f"/proc/{pid}/fd/{fd}")


def _children() -> dict[int, list[int]]:
    """Parent pid -> pids, of every process."""
    tree: dict[int, list[int]] = {}
    for pid in _pids():
        fields = _read(pid, "stat").rpartition(b")")[2].split()
        if fields:
            tree.setdefault(int(fields[1]), []).append(pid)
    return tree


def _pids() -> list[int]:
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]


def _read(pid: int, name: str) -> bytes:
    """A file of /proc/PID; empty if the process is gone or not ours to read."""
    try:
        with open(f"/proc/{pid}/{name}", "rb") as file:
            return file.read()
    except OSError:
        return b""
