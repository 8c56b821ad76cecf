"""How the machine does, and what the agent itself costs."""

import os
import resource
import time
from collections.abc import Callable

from fleet_agent import native
from fleet_agent.tail import Source
from fleet_agent.wire import Cost, Vitals

REFRESH_S = 10.0  # /proc/stat alone takes the kernel a millisecond where there are many CPUs
_COARSE_BYTES = 16 << 20  # what is used of gigabytes changes all the time; by less than this, nobody minds


class Machine:
    """CPU, load, memory, and the disk of `home`, asked now and then.

    `is_remote(path)`: on a network file system, of which nothing is asked, since it may not answer.
    """

    def __init__(
        self, home: str, is_remote: Callable[[str], bool], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._home = home
        self._is_remote = is_remote
        self._clock = clock
        self._due_s = clock()
        self._busy: tuple[float, float] | None = None  # CPU seconds so far: of work, and of all
        self._vitals = Vitals()

    def vitals(self) -> Vitals:
        """As of now, or of at most `REFRESH_S` ago."""
        if self._clock() >= self._due_s:
            self._due_s = self._clock() + REFRESH_S
            self._vitals = self._read()
        return self._vitals

    def _read(self) -> Vitals:
        before, self._busy = self._busy, native.busy()
        memory_bytes, used_bytes = _memory()
        total, free = (None, None) if self._is_remote(self._home) else _disk(self._home)
        return Vitals(
            cpus=os.cpu_count(),
            cpu_percent=_percent(before, self._busy) if before else None,
            load_1m=_load(),
            memory_bytes=memory_bytes,
            memory_used_bytes=used_bytes,
            disk_bytes=total,
            disk_free_bytes=free,
        )


def coarse(size_bytes: int) -> int:
    """A size that does not change with every page."""
    return round(size_bytes / _COARSE_BYTES) * _COARSE_BYTES


def _load() -> float | None:
    try:
        return round(os.getloadavg()[0], 1)
    except OSError:
        return None


def _memory() -> tuple[int | None, int | None]:
    """All of it, and what is in use."""
    found = native.memory()
    return (found[0], coarse(found[0] - found[1])) if found else (None, None)


def _percent(before: tuple[float, float], now: tuple[float, float]) -> float | None:
    passed_s = now[1] - before[1]
    return round(min(100.0, max(0.0, 100 * (now[0] - before[0]) / passed_s))) if passed_s > 0 else None


def _disk(path: str) -> tuple[int | None, int | None]:
    """Size, and what an ordinary user may still fill."""
    try:
        status = os.statvfs(path)
    except OSError:
        return None, None
    return status.f_blocks * status.f_frsize, coarse(status.f_bavail * status.f_frsize)


def _cpu_s() -> float:
    """CPU seconds of this process so far, with those of its children that it waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + used.ru_utime + used.ru_stime


class Meter:
    """What one reading costs: made at its start, asked at its end."""

    def __init__(self) -> None:
        self._cpu_s, self._read_bytes = _cpu_s(), Source.read_bytes

    def cost(self) -> Cost:
        """CPU of this process and of any git that ended since then; what was read of transcripts; memory."""
        stat = native.stat(os.getpid())
        cpu_ms = round((_cpu_s() - self._cpu_s) * 1000, 1)
        read_bytes = Source.read_bytes - self._read_bytes
        return Cost(cpu_ms=cpu_ms, read_bytes=read_bytes, rss_bytes=stat.rss_bytes if stat else None)
