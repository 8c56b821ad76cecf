"""The few facts of a process that are read at every tick, straight from Linux's /proc.

psutil gives the same, and `processes` uses it on other systems and for everything that is asked rarely; but it
costs ten times as much per process, and these are asked of every process of the host. Format: proc_pid_stat(5).
"""

import os
import sys
import time
from collections.abc import Callable

import msgspec

AVAILABLE = sys.platform == "linux" and os.path.isdir("/proc/self/fd")

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PTS_MAJORS = range(136, 144)  # Documentation/admin-guide/devices.txt


class Stat(msgspec.Struct, frozen=True, gc=False):
    """`born` tells a pid from a later process with the same pid; `created_at` is epoch seconds."""

    ppid: int
    born: float
    created_at: float
    tty: str | None


def image(pid: int) -> str:
    """The path of the program that a process runs, or only its short name if the path may not be seen.

    "" for kernel threads, zombies and processes that are gone.
    """
    try:
        return os.readlink(f"/proc/{pid}/exe").removesuffix(" (deleted)")  # an update replaced the file
    except PermissionError:
        return _read(f"/proc/{pid}/comm").decode("utf-8", "replace").rstrip("\n")
    except OSError:
        return ""


def stat(pid: int) -> Stat | None:
    """None when the process is gone, or hidden."""
    fields = _read(f"/proc/{pid}/stat").rpartition(b") ")[2].split()  # the name before it may hold anything
    if len(fields) < 20:
        return None
    ticks = int(fields[19])
    # psutil adds the second in which the machine booted; this is exact, and follows the clock when it is set.
    booted_at = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    return Stat(int(fields[1]), ticks, booted_at + ticks / _TICKS_PER_S, tty_name(int(fields[4])))


def tty_name(number: int) -> str | None:
    """A tty's device number as `ps` writes it: pts/3, tty1, ttyS0."""
    major, minor = (number >> 8) & 0xFFF, (number & 0xFF) | ((number >> 12) & 0xFFF00)
    if major in _PTS_MAJORS:
        return f"pts/{(major - _PTS_MAJORS[0]) * 256 + minor}"
    if major == 4:
        return f"tty{minor}" if minor < 64 else f"ttyS{minor - 64}"
    return None


def open_files(pid: int, wanted: Callable[[str], object]) -> list[tuple[str, bool]]:
    """Path and "open for writing" of the `wanted` files that a process holds open. Raises `OSError`."""
    found = []
    for fd in os.listdir(f"/proc/{pid}/fd"):
        link = f"/proc/{pid}/fd/{fd}"
        try:
            path = os.readlink(link)
            if wanted(path):
                found.append((path, bool(os.lstat(link).st_mode & 0o200)))
        except FileNotFoundError:
            continue  # closed meanwhile
    return found


def hides_processes() -> bool:
    """Whether /proc is mounted with hidepid, so that other users' processes cannot be seen: proc(5)."""
    return not _read("/proc/1/stat")


def _read(path: str) -> bytes:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(fd, 4096)
    except OSError:
        return b""
    finally:
        os.close(fd)
