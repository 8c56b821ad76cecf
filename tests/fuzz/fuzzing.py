"""A short coverage-guided run of one target beside this file, within bounds."""

import importlib.util
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

TESTS = Path(__file__).parent.parent
MAX_INPUT_BYTES = 6000
RUN_AT_MOST_S = 120  # until the run itself counts as hung

needs_atheris = pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None, reason="FUZZING DID NOT RUN: no atheris here"
)


def fuzz(target: str, seeds: Iterable[bytes], directory: Path, *, run_s: int) -> None:
    """Run `target` from these seeds for so long; it fails the test with the input that it breaks on.

    `target`: a module beside this one; it bounds its memory itself (`bounded`).
    """
    corpus = directory / "corpus"
    corpus.mkdir()
    for number, seed in enumerate(seeds):
        (corpus / str(number)).write_bytes(seed)
    argv = [sys.executable, "-m", f"fuzz.{target}", str(corpus)]
    argv += [f"-max_total_time={run_s}", f"-max_len={MAX_INPUT_BYTES}", "-rss_limit_mb=0"]
    argv += [f"-artifact_prefix={directory}/"]
    run = subprocess.run(argv, cwd=TESTS, capture_output=True, text=True, timeout=RUN_AT_MOST_S)
    assert run.returncode == 0, run.stderr[-3000:]
    assert "DONE" in run.stderr
