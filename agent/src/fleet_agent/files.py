"""Opening files that somebody else made: regular ones only, and never waiting for them."""

import os
import stat


def open_regular(path: str | os.PathLike[str]) -> int:
    """A descriptor for reading `path`. A FIFO or a device in its place is an `OSError`, not a hang."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(f"not a regular file: {os.fspath(path)}")
    return fd


def read_small(path: str | os.PathLike[str], limit_bytes: int = 4096) -> bytes:
    """The first `limit_bytes` of a regular file."""
    fd = open_regular(path)
    try:
        return os.read(fd, limit_bytes)
    finally:
        os.close(fd)
