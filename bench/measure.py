"""Runs one command on one processor and says what it cost: CPU of its whole process tree, wall, peak memory.

CPU is what the kernel accounts to the finished process and all of its children (wait4), so servers on the other
processor are not in it. Memory is the peak of the tree's proportional set size (PSS), sampled: shared pages of
many `ssh` processes count once.
"""

import os
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_SAMPLE_S = 0.05


@dataclass(frozen=True)
class Cost:
    """What one run took. `memory_mb` is 0 when the run was too short to be sampled."""

    cpu_s: float
    wall_s: float
    memory_mb: float
    stdout: bytes
    stderr: bytes
    status: int


def run(argv: Sequence[str], *, cpu: int, env: Mapping[str, str] | None = None, timeout_s: float = 300) -> Cost:
    """Run to the end on processor `cpu`."""
    started = time.perf_counter()
    process = subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=dict(env) if env is not None else None,
        preexec_fn=lambda: os.sched_setaffinity(0, {cpu}),  # noqa: PLW1509 - one thread, before any is started
    )
    peak: list[float] = [0.0]
    done = threading.Event()
    sampler = threading.Thread(target=_sample, args=(process.pid, peak, done))
    output: dict[str, bytes] = {}
    readers = [
        threading.Thread(target=lambda name=name, pipe=pipe: output.__setitem__(name, pipe.read()))
        for name, pipe in (("out", process.stdout), ("err", process.stderr))
    ]
    killer = threading.Timer(timeout_s, process.kill)
    for thread in (sampler, *readers, killer):
        thread.start()
    _, status, usage = os.wait4(process.pid, 0)
    wall_s = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    done.set()
    killer.cancel()
    for thread in (sampler, *readers):
        thread.join()
    return Cost(
        usage.ru_utime + usage.ru_stime, wall_s, peak[0], output["out"], output["err"], process.returncode
    )


def _sample(root: int, peak: list[float], done: threading.Event) -> None:
    while not done.wait(_SAMPLE_S):
        peak[0] = max(peak[0], sum(map(_pss_mb, _tree(root))))


def _tree(root: int) -> list[int]:
    found, todo = [root], [root]
    while todo:
        try:
            children = Path(f"/proc/{todo[0]}/task/{todo[0]}/children").read_text().split()
        except OSError:
            children = []
        todo = todo[1:] + [int(pid) for pid in children]
        found += [int(pid) for pid in children]
    return found


def _pss_mb(pid: int) -> float:
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    except OSError:
        pass
    return 0.0
