"""The few facts of processes and of the machine that the agent asks for, straight from Linux's /proc.

psutil gives the same, and `portable` takes it on other systems; but it costs ten times as much per process, and
these are asked of every process of the host; and to import it takes as long as to start Python. The tests hold
the two against each other. Formats: proc(5), proc_pid_stat(5).
"""

import os
import re
import sys
import time
from collections.abc import Callable, Iterable

import msgspec

AVAILABLE = sys.platform == "linux" and os.path.isdir("/proc/self/fd")
_RELEASE = tuple(map(int, re.findall(r"\d+", os.uname().release)[:2]))
COUNTS_FILES = AVAILABLE and _RELEASE >= (6, 2)  # the size of /proc/PID/fd is how many files it has open
HAS_CHILDREN = os.path.exists("/proc/thread-self/children")  # a kernel with CONFIG_PROC_CHILDREN

MAX_ENVIRON_BYTES = 128 << 10  # and of arguments
MAX_TABLE_BYTES = 1 << 20  # some 7,000 connections
_TABLE_BLOCK_BYTES = 64 << 10
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_ESCAPED = re.compile(rb"\\([0-3][0-7]{2})")
_PTS_MAJORS = range(136, 144)  # Documentation/admin-guide/devices.txt


def _is_kernels(path: str) -> bool:
    """Whether a file of /proc is there (not with ProcSubset=pid of systemd), and none that lxcfs made up."""
    try:
        return os.stat(path).st_dev == os.stat("/proc/self").st_dev
    except OSError:
        return False


_LOADAVG_IS_REAL = AVAILABLE and _is_kernels("/proc/loadavg")


class Stat(msgspec.Struct, frozen=True, gc=False):
    """`born` tells a pid from a later process with the same pid; `created_at` is epoch seconds.

    `cpu_s`: what it used so far, with its children that ended and were waited for. `stopped`: a signal has
    stopped it (SIGSTOP, Ctrl-Z) and none let it go on; a debugger's hold is another.
    """

    ppid: int
    born: float
    created_at: float
    tty: str | None
    cpu_s: float = 0.0
    rss_bytes: int = 0
    stopped: bool = False


def pids() -> frozenset[int]:
    """Every process that this user may see."""
    return frozenset(map(int, filter(str.isdecimal, os.listdir("/proc"))))


def last_pid() -> int:
    """The pid that was given away last; 0 where that is not known: proc_loadavg(5)."""
    fields = _read("/proc/loadavg").split() if _LOADAVG_IS_REAL else []
    return int(fields[4]) if len(fields) == 5 else 0


def children(pid: int) -> list[int]:
    """The children of a process that live now: each of its threads may have some."""
    found: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            found += map(int, _read_all(f"/proc/{pid}/task/{thread}/children", MAX_TABLE_BYTES).split())
    except OSError:
        pass  # it ended
    return found


def argv(pid: int) -> tuple[str, ...]:
    """The arguments of a process: proc_pid_cmdline(5). One that renamed itself may have blanks for NULs."""
    raw = _read(f"/proc/{pid}/cmdline", MAX_ENVIRON_BYTES)
    parts = raw.removesuffix(b"\0").split(b"\0") if b"\0" in raw else raw.split()
    return tuple(map(os.fsdecode, parts))


def uid(pid: int) -> int | None:
    """The effective user of a process: the second number of "Uid:" in proc_pid_status(5)."""
    _, found, rest = _read(f"/proc/{pid}/status").partition(b"\nUid:")
    return int(rest.split(maxsplit=2)[1]) if found else None


def environ(pid: int) -> bytes | None:
    """The environment that a process was started with: proc_pid_environ(5). None where it may not be read.

    Just after a process executed a program it is empty for a moment.
    """
    try:
        fd = os.open(f"/proc/{pid}/environ", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return os.read(fd, MAX_ENVIRON_BYTES)
    except OSError:
        return None
    finally:
        os.close(fd)


def parse_environ(raw: bytes, names: Iterable[str]) -> dict[str, str]:
    """The wanted ones of NUL-terminated NAME=VALUE entries; the first of each name, as getenv(3) takes it."""
    raw, found = b"\0" + raw, {}
    for name in names:
        key = b"\0%b=" % name.encode()
        at = raw.find(key)
        if at >= 0:
            found[name] = os.fsdecode(raw[at + len(key) :].partition(b"\0")[0])
    return found


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
    """None when the process is gone, or hidden; and for a thread that is not the process itself."""
    fields = _read(f"/proc/{pid}/stat").rpartition(b") ")[2].split()  # the name before it may hold anything
    if len(fields) < 36 or fields[35] == b"-1":  # exit_signal: only a process sends one
        return None
    ticks, cpu_ticks = int(fields[19]), sum(map(int, fields[11:15]))
    # psutil adds the second in which the machine booted; this is exact, and follows the clock when it is set.
    return Stat(
        int(fields[1]),
        ticks,
        round(booted_at() + ticks / _TICKS_PER_S, 3),  # the two clocks are not read in the same microsecond
        tty_name(int(fields[4])),
        cpu_ticks / _TICKS_PER_S,
        int(fields[21]) * _PAGE_BYTES,
        fields[0] == b"T",
    )


def tty_name(number: int) -> str | None:
    """A tty's device number as `ps` writes it: pts/3, tty1, ttyS0."""
    major, minor = (number >> 8) & 0xFFF, (number & 0xFF) | ((number >> 12) & 0xFFF00)
    if major in _PTS_MAJORS:
        return f"pts/{(major - _PTS_MAJORS[0]) * 256 + minor}"
    if major == 4:
        return f"tty{minor}" if minor < 64 else f"ttyS{minor - 64}"
    return None


class OpenFile(msgspec.Struct, frozen=True, gc=False):
    """A file that a process holds open. `link` is what /proc calls it."""

    link: str
    path: str
    writable: bool


def open_files(pid: int, wanted: Callable[[str], object]) -> list[OpenFile]:
    """The `wanted` files that a process holds open. Raises `OSError`."""
    found = []
    for fd in os.listdir(f"/proc/{pid}/fd"):
        link = f"/proc/{pid}/fd/{fd}"
        try:
            path = os.readlink(link)
            if wanted(path):
                found.append(OpenFile(link, path, bool(os.lstat(link).st_mode & 0o200)))
        except FileNotFoundError:
            continue  # closed meanwhile
    return found


Glance = tuple[int, int]


def glance(pid: int) -> Glance:
    """What is cheap to see of a process: the inode of its directory of open files, and how many these are.

    The kernel makes such inodes up, each for one process: while it is the same, so is the process. (That it is
    another says nothing.) The number is 0 before Linux 6.2; both are where nothing can be seen.
    """
    try:
        status = os.stat(f"/proc/{pid}/fd")
    except OSError:
        return (0, 0)
    return status.st_ino, status.st_size


def cwd(pid: int) -> str | None:
    """The directory of a process; None where it may not be seen."""
    return target(f"/proc/{pid}/cwd") or None


def target(link: str) -> str:
    """What an open file is; "" when it was closed meanwhile."""
    try:
        return os.readlink(link)
    except OSError:
        return ""


def socket_inodes(pid: int) -> set[int]:
    """The sockets that a process holds open. Empty where that may not be seen."""
    try:
        links = [f"/proc/{pid}/fd/{fd}" for fd in os.listdir(f"/proc/{pid}/fd")]
    except OSError:
        return set()
    targets = (target(link) for link in links)
    return {int(target[8:-1]) for target in targets if target.startswith("socket:[")}


def listening_sockets() -> dict[int, int]:
    """Inode -> port of every TCP socket that listens, in this network namespace."""
    tables = [_read_all(f"/proc/net/{name}", MAX_TABLE_BYTES) for name in ("tcp", "tcp6")]
    return parse_listening(tables[0]) | parse_listening(tables[1])


def parse_listening(table: bytes) -> dict[int, int]:
    """The same, from the text of one table: proc_pid_net(5). The kernel lists the listening ones first."""
    rows = [line.split() for line in table.splitlines() if b" 0A " in line]
    return {int(r[9]): int(r[1].rpartition(b":")[2], 16) for r in rows if len(r) > 9 and r[3] == b"0A"}


def busy() -> tuple[float, float]:
    """CPU seconds since the machine started, of all CPUs: of work, and of all: proc_stat(5).

    Waiting for a disk is no work. What guests used is counted in the first two columns already.
    """
    return parse_busy(_read("/proc/stat"))


def parse_busy(text: bytes) -> tuple[float, float]:
    """The same, from its first line: user, nice, system, idle, iowait, irq, softirq, steal, ..."""
    ticks = [int(field) for field in text.partition(b"\n")[0].split()[1:9]]
    return (sum(ticks) - sum(ticks[3:5])) / _TICKS_PER_S, sum(ticks) / _TICKS_PER_S


def memory() -> tuple[int, int] | None:
    """Bytes of memory: all, and what is available without swapping: proc_meminfo(5)."""
    return parse_memory(_read("/proc/meminfo"))


def parse_memory(text: bytes) -> tuple[int, int] | None:
    """The same, from the text. None where it does not say (with ProcSubset=pid of systemd it is empty)."""
    kib = {fields[0]: int(fields[1]) for fields in map(bytes.split, text.splitlines()) if len(fields) > 1}
    if not {b"MemTotal:", b"MemAvailable:"} <= kib.keys():
        return None
    return kib[b"MemTotal:"] << 10, kib[b"MemAvailable:"] << 10


def booted_at() -> float:
    """When the machine started, in epoch seconds, as its clock says now."""
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)


def file_systems() -> dict[str, str]:
    """The type of each file system, by its mount point: fstab(5). The last one mounted there counts."""
    return parse_mounts(_read_all("/proc/self/mounts", MAX_TABLE_BYTES))


def parse_mounts(text: bytes) -> dict[str, str]:
    """The same, from the text; blanks and the like in a path are written as \\040."""
    rows = [fields for line in text.splitlines() if len(fields := line.split(b" ")) > 2]
    return {os.fsdecode(_ESCAPED.sub(_unescape, path)): os.fsdecode(kind) for _, path, kind, *_ in rows}


def _unescape(match: re.Match[bytes]) -> bytes:
    return bytes([int(match[1], 8)])


def hides_processes() -> bool:
    """Whether /proc is mounted with hidepid, so that other users' processes cannot be seen: proc(5)."""
    return not _read("/proc/1/stat")


def _read(path: str, limit_bytes: int = 4096) -> bytes:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(fd, limit_bytes)
    except OSError:
        return b""
    finally:
        os.close(fd)


def _read_all(path: str, limit_bytes: int) -> bytes:
    """The same of a table, of which one read(2) gives a page or so; at most a page more than the limit."""
    read = b""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        while len(read) < limit_bytes and (block := os.read(fd, _TABLE_BLOCK_BYTES)):
            read += block
    except OSError:
        pass  # its process ended
    finally:
        os.close(fd)
    return read
