"""Coverage-guided fuzzing, with atheris, of what reads foreign bytes: targets, and short runs of them as tests.

A target alone: python -m fuzz.fuzz_codex CORPUS (with tests/ on PYTHONPATH).
"""
