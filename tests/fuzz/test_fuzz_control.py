"""A short coverage-guided run over the parsers of what tools print, from what real releases printed."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from control_samples import DATA

RUN_S = 3
TARGET = Path(__file__).with_name("fuzz_control.py")
MAX_SEED_BYTES = 3000


def seeds(directory: Path) -> None:
    """A corpus: every kind of line that is in the samples."""
    kinds: dict[tuple[bytes, ...], bytes] = {}
    for sample in sorted(DATA.glob("*.jsonl")):
        for line in sample.read_bytes().splitlines(keepends=True):
            kinds.setdefault(tuple(line.split(b'"')[1:12:2]), line)
    for number, seed in enumerate(kinds.values()):
        (directory / str(number)).write_bytes(seed[:MAX_SEED_BYTES])


@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="FUZZING DID NOT RUN: no atheris here")
def test_a_few_seconds_of_fuzzing_find_nothing(tmp_path: Path) -> None:
    """No output that it can think of in these seconds raises, or makes an event that the wire cannot carry."""
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    seeds(corpus)
    options = [f"-max_total_time={RUN_S}", "-max_len=6000", "-rss_limit_mb=0"]
    options.append(f"-artifact_prefix={tmp_path}/")
    argv = [sys.executable, str(TARGET), str(corpus), *options]
    run = subprocess.run(argv, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr[-3000:]
    assert "DONE" in run.stderr
