"""What every fuzzing target ends with: its memory bounded, atheris is let loose on it."""

import resource
import sys
from collections.abc import Callable

import atheris

# Ours, and not libFuzzer's -rss_limit_mb: what that compares is the peak that the kernel hands down through
# fork and exec, the memory of whoever started this.
MEMORY_BYTES = 1 << 30


def run(read: Callable[[bytes], None]) -> None:
    """Call `read` with whatever atheris makes up, by the options in this process's arguments."""
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))
    atheris.Setup(sys.argv, read)
    atheris.Fuzz()
