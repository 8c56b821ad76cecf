"""A short coverage-guided run over the readers of Codex's rollouts, from what real Codex releases wrote."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from fake_codex import DATA

RUN_S = 5
TARGET = Path(__file__).with_name("fuzz_codex.py")
MAX_SEED_BYTES = 4000


def seeds(directory: Path) -> None:
    """A corpus: every kind of line that is in the samples, alone and behind a first line."""
    kinds: dict[tuple[bytes, ...], bytes] = {}
    for sample in sorted(DATA.glob("*.jsonl")):
        first, *rest = sample.read_bytes().splitlines(keepends=True)
        for line in rest:
            kinds.setdefault(tuple(line.split(b'"')[5:15:2]), first[:MAX_SEED_BYTES] + line)
    for number, seed in enumerate(kinds.values()):
        (directory / str(number)).write_bytes(seed[:MAX_SEED_BYTES])


@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="FUZZING DID NOT RUN: no atheris here")
def test_a_few_seconds_of_fuzzing_find_nothing(tmp_path: Path) -> None:
    """No input that it can think of in these seconds raises, or leads to a verdict or a row that is none."""
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    seeds(corpus)
    options = [f"-max_total_time={RUN_S}", "-max_len=6000", "-rss_limit_mb=0"]
    options.append(f"-artifact_prefix={tmp_path}/")
    argv = [sys.executable, str(TARGET), str(corpus), *options]
    run = subprocess.run(argv, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr[-3000:]
    assert "DONE" in run.stderr
