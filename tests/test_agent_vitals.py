"""fleet_agent.vitals: how the machine does, and what a reading costs."""

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from fleet_agent import native
from fleet_agent.tail import Source
from fleet_agent.vitals import REFRESH_S, Machine, Meter, coarse


def machine(home: Path, *, remote: bool = False) -> Machine:
    return Machine(str(home), lambda _: remote)


def test_the_vitals_are_those_of_this_machine(tmp_path: Path) -> None:
    """CPUs, load, memory, and the disk of the home directory. No CPU use: there is nothing to compare with."""
    vitals = machine(tmp_path).vitals()
    memory = psutil.virtual_memory()
    assert vitals.cpus == psutil.cpu_count()
    assert vitals.cpu_percent is None
    assert vitals.load_1m is not None
    assert vitals.memory_bytes == memory.total
    assert abs((vitals.memory_used_bytes or 0) - (memory.total - memory.available)) < 1 << 30
    assert vitals.disk_bytes == psutil.disk_usage(str(tmp_path)).total
    assert 0 < (vitals.disk_free_bytes or 0) <= (vitals.disk_bytes or 0)


def test_a_disk_on_the_network_is_not_asked(tmp_path: Path) -> None:
    """Its server may be gone, and statvfs(2) would wait for it. Nor is one that is not there."""
    assert machine(tmp_path, remote=True).vitals().disk_bytes is None
    assert machine(tmp_path / "gone").vitals().disk_bytes is None


def test_cpu_use_is_of_all_cores_together_since_the_reading_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """5 of 20 seconds."""
    now_s, busy = 0.0, (150.0, 1160.0)
    monkeypatch.setattr(native, "busy", lambda: busy)
    vitals = Machine(str(tmp_path), lambda _: False, lambda: now_s)
    assert vitals.vitals().cpu_percent is None
    busy = (155.0, 1180.0)
    now_s = REFRESH_S / 2
    assert vitals.vitals().cpu_percent is None  # of a moment ago
    now_s = REFRESH_S
    assert vitals.vitals().cpu_percent == 25


def test_sizes_do_not_change_with_every_page() -> None:
    """A host where nothing happens sends no snapshot because of its memory."""
    assert coarse(5 << 30) == 5 << 30
    assert coarse((5 << 30) + 4096) == 5 << 30


def test_what_a_reading_costs(tmp_path: Path) -> None:
    """The CPU of this process since the meter was made, what it read of transcripts, and its memory."""
    (tmp_path / "rollout").write_bytes(b"x" * 3000)
    with Source(str(tmp_path / "rollout")) as source:
        source.read(0, 100)
        meter = Meter()
        source.read(1000, 5000)
        source.read_into(memoryview(bytearray(50)), 0)
    assert meter.cost().read_bytes == 2050
    meter, begun_s = Meter(), time.process_time()
    while time.process_time() - begun_s < 0.03:
        pass
    cost = meter.cost()
    assert 30 <= (cost.cpu_ms or 0) < 1000
    assert abs((cost.rss_bytes or 0) - psutil.Process(os.getpid()).memory_info().rss) < 8 << 20


def test_git_is_a_part_of_what_a_reading_costs() -> None:
    """In a large repository it is nearly all of it."""
    meter = Meter()
    subprocess.run([sys.executable, "-c", "while __import__('time').process_time() < 0.2: pass"], check=True)
    assert (meter.cost().cpu_ms or 0) >= 200
