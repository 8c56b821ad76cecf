"""What the last listing showed, kept privately: a number that is typed means the line that was shown."""

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

import msgspec

from fleet import files, paths
from fleet.control.selectors import Listed

_decoder = msgspec.json.Decoder(tuple[Listed, ...])


def save(listed: Sequence[Listed]) -> None:
    """Keep these lines. Where nothing can be written, numbers mean nothing; that is no error of the listing."""
    path = _path()
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        files.replace(path, msgspec.json.encode(listed).decode())
    except OSError:
        with contextlib.suppress(OSError):
            path.unlink()


def load() -> tuple[Listed, ...]:
    """The lines of the last listing; none if there was none."""
    try:
        return _decoder.decode(_path().read_bytes())
    except (OSError, msgspec.DecodeError):
        return ()


def _path() -> Path:
    return paths.listing_path(os.environ)
