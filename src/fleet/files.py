"""Files that fleet edits for its user: replaced whole or not at all."""

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

_PRIVATE = 0o600


@contextlib.contextmanager
def held(directory: Path) -> Iterator[None]:
    """Nobody else who asks for it edits a file of this directory meanwhile. Raises `OSError`."""
    fd = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def replace(path: Path, text: str) -> None:
    """Write `text` to `path` at once: readers see the old file or the new one. Raises `OSError`.

    Its mode is kept, and a symbolic link stays one; a new file is for its owner alone.
    """
    path = path.resolve()
    mode = path.stat().st_mode & 0o7777 if path.exists() else _PRIVATE
    fd, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with open(fd, "w", encoding="utf-8", errors="surrogateescape", newline="") as new:
            new.write(text)
            new.flush()
            os.fchmod(fd, mode)
            os.fsync(fd)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def append_line(path: Path, line: str) -> None:
    """Add a line, with its newline, at the end of a file that others may add to at the same time.

    A new file is for its owner alone. Raises `OSError`.
    """
    fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, _PRIVATE)
    with open(fd, "r+b", buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 1))
        torn = size and file.read(1) != b"\n"
        file.write((b"\n" if torn else b"") + line.encode())
