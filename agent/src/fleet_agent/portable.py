"""What psutil says of processes and of the machine, on systems without Linux's /proc: macOS, the BSDs.

The functions are those of `procfs`, and say the same. On Linux nothing imports this: psutil takes as long to
import as Python to start.
"""

import os
from collections.abc import Callable, Iterable

import psutil

from fleet_agent.procfs import Glance, Stat


def pids() -> frozenset[int]:
    """Every process that this user may see."""
    return frozenset(psutil.pids())


def image(pid: int) -> str:
    """The path of its program, or only its short name; "" when there is nothing to see."""
    try:
        process = psutil.Process(pid)
        try:
            return str(process.exe() or process.name())
        except psutil.AccessDenied:
            return str(process.name())
    except psutil.Error:
        return ""


def glance(pid: int) -> Glance:
    """A number that no other process has, 0 if there is none. How many files it has open is dear to ask."""
    try:
        return int(psutil.Process(pid).create_time() * 1e6), 0
    except psutil.Error:
        return (0, 0)


def stat(pid: int) -> Stat | None:
    """Parent, start, terminal, CPU and memory; None when it is gone, or hidden."""
    try:
        process = psutil.Process(pid)
        tty, born = process.terminal(), process.create_time()
        tty = tty and tty.removeprefix("/dev/")
        is_stopped = bool(process.status() == psutil.STATUS_STOPPED)
        return Stat(process.ppid(), born, born, tty, *_used(process), is_stopped)
    except psutil.Error:
        return None


def _used(process: psutil.Process) -> tuple[float, int]:
    try:
        return sum(process.cpu_times()[:4]), process.memory_info().rss
    except psutil.AccessDenied:
        return 0.0, 0


def argv(pid: int) -> tuple[str, ...]:
    """Its arguments, its name first; none where they may not be read."""
    try:
        return tuple(psutil.Process(pid).cmdline())
    except (psutil.Error, OSError):
        return ()


def uid(pid: int) -> int | None:
    """The user whose rights it has; None when it is gone."""
    try:
        return int(psutil.Process(pid).uids().effective)
    except psutil.Error:
        return None


def cwd(pid: int) -> str | None:
    """Its directory; None where it may not be seen."""
    try:
        return psutil.Process(pid).cwd() or None
    except (psutil.Error, OSError):
        return None


def children(pid: int) -> list[int]:
    """Its children that live now."""
    try:
        return [child.pid for child in psutil.Process(pid).children()]
    except psutil.Error:
        return []


def environ(pid: int) -> bytes | None:
    """Its environment, as NUL-terminated NAME=VALUE entries; None where it may not be read."""
    try:
        found = psutil.Process(pid).environ()
    except (psutil.Error, OSError):
        return None
    return b"".join(os.fsencode(f"{name}={value}\0") for name, value in found.items())


def open_files(pid: int, wanted: Callable[[str], object]) -> list[tuple[str, bool]]:
    """Path and "open for writing" of the `wanted` files that it holds open. Raises `OSError`."""
    try:
        return [(f.path, True) for f in psutil.Process(pid).open_files() if wanted(f.path)]
    except psutil.AccessDenied as exc:
        raise PermissionError(str(exc)) from exc
    except psutil.Error as exc:
        raise ProcessLookupError(str(exc)) from exc


def listening_ports(pids: Iterable[int]) -> dict[int, tuple[int, ...]]:
    """The TCP ports that each of these processes listens on, if any, asked one by one."""
    found = {pid: _listening(pid) for pid in pids}
    return {pid: tuple(sorted(some)) for pid, some in found.items() if some}


def _listening(pid: int) -> set[int]:
    try:
        sockets = psutil.Process(pid).net_connections("tcp")
    except psutil.Error:
        return set()
    return {s.laddr.port for s in sockets if s.status == psutil.CONN_LISTEN and s.laddr}


def busy() -> tuple[float, float]:
    """CPU seconds since the machine started, of all CPUs: of work, and of all."""
    times = psutil.cpu_times()
    all_s = sum(times)
    return all_s - times.idle, all_s


def memory() -> tuple[int, int] | None:
    """Bytes of memory: all, and what is available without swapping."""
    found = psutil.virtual_memory()
    return found.total, found.available


def file_systems() -> dict[str, str]:
    """The type of each file system, by its mount point."""
    return {part.mountpoint: part.fstype for part in psutil.disk_partitions(all=True)}


def booted_at() -> float:
    """When the machine started, in epoch seconds."""
    return float(psutil.boot_time())
