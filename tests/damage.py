"""Rollouts of real Codex releases, damaged: for readers that no line may make raise."""

from hypothesis import strategies as st

from fake_codex import DATA, sample

SAMPLES = sorted(path.stem for path in DATA.glob("*.jsonl"))


@st.composite
def damaged_rollouts(draw: st.DrawFn) -> bytes:
    """One of the samples; some bytes of it are changed, left out or doubled."""
    raw = bytearray(sample(draw(st.sampled_from(SAMPLES))))
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, max(0, len(raw) - 1)))
        raw[at : at + draw(st.integers(0, 40))] = draw(st.binary(max_size=8))
    return bytes(raw)
