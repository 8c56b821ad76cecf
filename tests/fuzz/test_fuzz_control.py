"""A short coverage-guided run over the parsers of what tools print, from what real releases printed."""

from pathlib import Path

from control_samples import DATA
from fuzz.fuzzing import fuzz, needs_atheris

MAX_SEED_BYTES = 3000


def seeds() -> list[bytes]:
    """A corpus: every kind of line that is in the samples."""
    kinds: dict[tuple[bytes, ...], bytes] = {}
    for sample in sorted([*DATA.glob("*.jsonl"), *(DATA.parent / "codex").glob("*.jsonl")]):
        for line in sample.read_bytes().splitlines(keepends=True):
            kinds.setdefault(tuple(line.split(b'"')[1:12:2]), line)
    return [seed[:MAX_SEED_BYTES] for seed in kinds.values()]


@needs_atheris
def test_a_few_seconds_of_fuzzing_find_nothing(tmp_path: Path) -> None:
    """No output that it can think of in these seconds raises, or makes an event that the wire cannot carry."""
    fuzz("fuzz_control", seeds(), tmp_path, run_s=3)
