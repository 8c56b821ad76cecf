"""What the system says of one process: Linux's own /proc where there is one, else psutil."""

import os
from collections.abc import Callable, Iterable

import psutil

from fleet_agent import procfs


def pids() -> frozenset[int]:
    """Every process that this user may see."""
    return procfs.pids() if procfs.AVAILABLE else frozenset(psutil.pids())


def image(pid: int) -> str:
    """The path of its program, or only its short name; "" when there is nothing to see."""
    if procfs.AVAILABLE:
        return procfs.image(pid)
    try:
        process = psutil.Process(pid)
        try:
            return str(process.exe() or process.name())
        except psutil.AccessDenied:
            return str(process.name())
    except psutil.Error:
        return ""


def glance(pid: int) -> procfs.Glance:
    """What is cheap to see of it: a number that no other process has, 0 if there is none; its open files."""
    if procfs.AVAILABLE:
        return procfs.glance(pid)
    try:
        return int(psutil.Process(pid).create_time() * 1e6), 0
    except psutil.Error:
        return (0, 0)


def stat(pid: int) -> procfs.Stat | None:
    """Parent, start, terminal, CPU and memory; None when it is gone, or hidden."""
    if procfs.AVAILABLE:
        return procfs.stat(pid)
    try:
        process = psutil.Process(pid)
        tty, born = process.terminal(), process.create_time()
        tty = tty and tty.removeprefix("/dev/")
        return procfs.Stat(process.ppid(), born, born, tty, *_used(process))
    except psutil.Error:
        return None


def _used(process: psutil.Process) -> tuple[float, int]:
    try:
        return sum(process.cpu_times()[:4]), process.memory_info().rss
    except psutil.AccessDenied:
        return 0.0, 0  # of another user


def argv(pid: int) -> tuple[str, ...]:
    """Its arguments, its name first; none where they may not be read."""
    if procfs.AVAILABLE:
        return procfs.argv(pid)
    try:
        return tuple(psutil.Process(pid).cmdline())
    except (psutil.Error, OSError):
        return ()


def uid(pid: int) -> int | None:
    """The user whose rights it has; None when it is gone."""
    if procfs.AVAILABLE:
        return procfs.uid(pid)
    try:
        return int(psutil.Process(pid).uids().effective)
    except psutil.Error:
        return None


def cwd(pid: int) -> str | None:
    """Its directory; None where it may not be seen."""
    if procfs.AVAILABLE:
        return procfs.target(f"/proc/{pid}/cwd") or None
    try:
        return psutil.Process(pid).cwd() or None
    except (psutil.Error, OSError):
        return None


def children(pid: int) -> list[int]:
    """Its children that live now."""
    if procfs.HAS_CHILDREN:
        return procfs.children(pid)
    try:
        return [child.pid for child in psutil.Process(pid).children()]
    except psutil.Error:
        return []


def environ(pid: int) -> bytes | None:
    """Its environment, as NUL-terminated NAME=VALUE entries; None where it may not be read."""
    if procfs.AVAILABLE:
        return procfs.environ(pid)
    try:
        found = psutil.Process(pid).environ()
    except (psutil.Error, OSError):
        return None
    return b"".join(os.fsencode(f"{name}={value}\0") for name, value in found.items())


def variables(pid: int, names: Iterable[str]) -> dict[str, str] | None:
    """Some variables of its environment; None where it may not be read."""
    raw = environ(pid)
    return None if raw is None else procfs.parse_environ(raw, names)


def open_files(pid: int, wanted: Callable[[str], object]) -> list[tuple[str, bool]]:
    """Path and "open for writing" of the `wanted` files that it holds open. Raises `OSError`."""
    if procfs.AVAILABLE:
        return [(file.path, file.writable) for file in procfs.open_files(pid, wanted)]
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
