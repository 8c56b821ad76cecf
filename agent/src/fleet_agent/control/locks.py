"""Locks among all agents of one user on one host: what is held by a key, nobody else does meanwhile.

A lock ends with its holder, however that ends. A fixed number of files serves for all keys, so that none has to
be removed: two keys that share a file only wait for each other.
"""

import asyncio
import fcntl
import hashlib
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fleet_agent.control.commands import NotPossible
from fleet_agent.control.store import private_directory

FILES = 64
WAIT_S = 30.0  # an answer takes milliseconds, or up to 20 s where a terminal is slow
_POLL_S = 0.005


@asynccontextmanager
async def alone(root: str, key: str) -> AsyncIterator[None]:
    """Hold the lock of a key, below the state directory `root`. Raises `NotPossible` if it cannot be had."""
    try:
        fd = _open(root, key)
    except OSError as exc:
        hint = "see that this user may write there, and that the disk is not full"
        raise NotPossible(f"nothing was done, as its lock cannot be taken: {exc}", hint) from exc
    try:
        await _lock(fd)
        yield
    finally:
        os.close(fd)


def _open(root: str, key: str) -> int:
    directory = os.path.join(root, "locks")
    private_directory(root)
    private_directory(directory)
    number = hashlib.blake2b(os.fsencode(key), digest_size=1).digest()[0] % FILES
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    return os.open(os.path.join(directory, f"{number:02}"), flags, 0o600)


async def _lock(fd: int) -> None:
    until_s = time.monotonic() + WAIT_S
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until_s:
                raise NotPossible(
                    f"others have been at it for {WAIT_S:g} s", "try again", kind="timeout"
                ) from None
        except OSError as exc:
            raise NotPossible(f"nothing was done: {exc}", "is that directory on NFS?") from exc
        else:
            return
        await asyncio.sleep(_POLL_S)
