"""A short coverage-guided run over the readers of Codex's rollouts, from what real Codex releases wrote."""

from pathlib import Path

from fake_codex import DATA
from fuzz.fuzzing import fuzz, needs_atheris

MAX_SEED_BYTES = 4000


def seeds() -> list[bytes]:
    """A corpus: every kind of line that is in the samples, alone and behind a first line."""
    kinds: dict[tuple[bytes, ...], bytes] = {}
    for sample in sorted(DATA.glob("*.jsonl")):
        first, *rest = sample.read_bytes().splitlines(keepends=True)
        for line in rest:
            kinds.setdefault(tuple(line.split(b'"')[5:15:2]), first[:MAX_SEED_BYTES] + line)
    return [seed[:MAX_SEED_BYTES] for seed in kinds.values()]


@needs_atheris
def test_a_few_seconds_of_fuzzing_find_nothing(tmp_path: Path) -> None:
    """No input that it can think of in these seconds raises, or leads to a verdict or a row that is none."""
    fuzz("fuzz_codex", seeds(), tmp_path, run_s=5)
