"""One daemon a runtime directory: a lock that ends with its process, a socket that only its owner reaches."""

import errno
import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fleet import paths
from fleet.errors import DaemonError

_OURS = {"fleet.sock", "daemon.lock"}


@contextmanager
def held(path: Path) -> Iterator[None]:
    """The lock at `path`, with our pid in it. Raises `DaemonError` when another daemon holds it."""
    private_directory(path.parent)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            pid = os.read(fd, 32).decode("ascii", "replace").strip() or "unknown"
            message = (
                f"another daemon is running (pid {pid}); `fleet daemon stop` ends it, or set FLEET_RUNTIME_DIR"
            )
            raise DaemonError(message) from None
        os.ftruncate(fd, 0)
        os.write(fd, f"{os.getpid()}\n".encode())
        yield
    finally:
        os.close(fd)


def private_directory(path: Path) -> None:
    """Make it, 0700, if it is not there. Raises `DaemonError` for one that is not ours, or not ours alone."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as exc:
        raise DaemonError(f"{path} cannot be made: {exc.strerror}; set FLEET_RUNTIME_DIR") from None
    status = path.stat()
    if status.st_uid != os.getuid():
        raise DaemonError(f"{path} belongs to another user; set FLEET_RUNTIME_DIR to a directory of your own")
    if status.st_mode & 0o077:
        if {entry.name for entry in path.iterdir()} - _OURS:  # closing root's /tmp or /run breaks the machine
            raise DaemonError(f"{path} is open to others and holds other files; set FLEET_RUNTIME_DIR anew")
        path.chmod(0o700)


@contextmanager
def listening(path: Path) -> Iterator[socket.socket]:
    """A socket that listens at `path`, 0600, removed at the end. The lock is held: what lies there is old.

    Raises `DaemonError` if it is not: somebody may have removed the file of a daemon's lock.
    """
    if not paths.fits_a_socket(path):
        raise DaemonError(f"{path} is too long a path for a socket; set FLEET_RUNTIME_DIR to a shorter one")
    if _is_live(path):
        message = (
            f"another daemon listens at {path}, though its daemon.lock is gone; `fleet daemon stop` ends it"
        )
        raise DaemonError(f"{message}, or set FLEET_RUNTIME_DIR")
    path.unlink(missing_ok=True)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        sock.bind(os.fspath(path))
    finally:
        os.umask(before)
    sock.listen(128)
    try:
        yield sock
    finally:
        sock.close()
        path.unlink(missing_ok=True)


def _is_live(path: Path) -> bool:
    """Whether somebody listens there; a queue of connections that is full is somebody's."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as knocking:
        knocking.setblocking(False)
        return knocking.connect_ex(os.fspath(path)) in (0, errno.EAGAIN)
