"""Unpacks a shipped agent. Sent to a host and run there with its own Python (3.10 or newer): stdlib only.

    main(BASE, NAME, SIZE, SHA256)     SIZE bytes of a zip file come on stdin

It becomes BASE/NAME in one step, once it is whole, its hash is right and it runs; only BASE is touched.
The last line of stdout tells how it went: see `fleet.bootstrap.outcome`.
"""

import compileall
import contextlib
import errno
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile

KEPT = 2  # releases, the new one among them
ABANDONED_S = 3600.0  # an upload that began so long ago is nobody's any more
CHECK_TIMEOUT_S = 60.0
PIECE_BYTES = 32 << 10
IMPORTS = (
    "import sys; sys.path.insert(0, sys.argv[1]); import msgspec, psutil, websockets, fleet_agent.__main__"
)


class Refused(Exception):
    """Why nothing was installed: a word, a path, and what the system says."""

    def __init__(self, word: str, path: str, text: str) -> None:
        super().__init__(word)
        self.word, self.path, self.text = word, path, text


def main(base: str, name: str, size: int, sha256: str) -> None:
    """Install, and tell how it went."""
    os.umask(0o077)
    try:
        install(base, name, size, sha256)
        told = ("ok", os.path.join(base, name), "")
    except Refused as exc:
        told = exc.word, exc.path, exc.text
    except OSError as exc:
        told = (
            errno.errorcode.get(exc.errno or 0, "OSError"),
            str(exc.filename or base),
            exc.strerror or str(exc),
        )
    fields = ["fleet-unpacked", *(" ".join(field.split()) for field in told)]
    print("\n" + "\t".join(fields), flush=True)


def install(base: str, name: str, size: int, sha256: str) -> None:
    """Put the archive on stdin into its place, unless it is there. Raises `Refused` and `OSError`."""
    sent = take(size)
    if len(sent) < size:
        raise Refused("cut", base, "the upload was cut off")
    if hashlib.sha256(sent).hexdigest() != sha256:
        raise Refused("hash", base, "what came is not what was sent")
    os.makedirs(base, 0o700, exist_ok=True)
    entry = os.stat(base)
    if entry.st_uid != os.geteuid() or entry.st_mode & 0o022:
        raise Refused("shared", base, "others may write there")
    final = os.path.join(base, name)
    if not works(final):
        fresh = tempfile.mkdtemp(prefix=".new-", dir=base)
        try:
            unpack(sent, fresh, final)
            take_place(fresh, final)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    os.utime(final)
    with contextlib.suppress(OSError):  # another collector may prune at the same time
        prune(base, name)


def take(size: int) -> bytes:
    """What comes on stdin, up to `size` bytes. Says so meanwhile: a slow link is no dead one."""
    pieces = []
    while size and (piece := sys.stdin.buffer.read(min(size, PIECE_BYTES))):
        pieces.append(piece)
        size -= len(piece)
        print(flush=True)
    return b"".join(pieces)


def unpack(sent: bytes, fresh: str, final: str) -> None:
    """Fill the directory `fresh`, which is to be `final`, and see that it runs."""
    with zipfile.ZipFile(io.BytesIO(sent)) as archive:
        for info in archive.infolist():
            path = os.path.normpath(os.path.join(fresh, info.filename))
            if not path.startswith(fresh + os.sep):
                raise Refused("path", fresh, "a member of the archive lies outside of it")
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as out:
                out.write(archive.read(info))
    os.symlink(os.path.realpath(sys.executable), os.path.join(fresh, "python"))
    compileall.compile_dir(fresh, quiet=2, stripdir=fresh, prependdir=final)
    said = failure_of(fresh)
    if said is not None:
        word = "noexec" if "failed to map segment" in said else "run"
        raise Refused(word, fresh, said[-300:])


def take_place(fresh: str, final: str) -> None:
    """What is there already, and does not work, gives way; another collector's that does is left alone."""
    try:
        os.rename(fresh, final)
    except OSError as exc:
        if exc.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        if works(final):
            return
        os.rename(final, tempfile.mkdtemp(prefix=".old-", dir=os.path.dirname(final)))
        os.rename(fresh, final)


def works(directory: str) -> bool:
    """Whether an agent is there that runs. Cleaners of caches may have taken files out of one."""
    return os.access(os.path.join(directory, "python"), os.X_OK) and failure_of(directory) is None


def failure_of(directory: str) -> str | None:
    """What Python says instead of importing the agent and what it requires; None if it does."""
    command = [os.path.join(directory, "python"), "-ISB", "-c", IMPORTS, directory]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=CHECK_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return f"the agent did not start within {CHECK_TIMEOUT_S:g} s"
    if done.returncode == 0:
        return None
    return done.stderr.decode("utf-8", "replace") or f"exit status {done.returncode}"


def prune(base: str, name: str) -> None:
    """Take away old releases that nobody runs. One may be there for several machines that share a home."""
    ages: dict[str, dict[str, float]] = {}
    for entry in os.listdir(base):
        path = os.path.join(base, entry)
        if entry.startswith("."):
            if time.time() - os.stat(path).st_mtime > ABANDONED_S:
                shutil.rmtree(path, ignore_errors=True)
        else:
            release = entry.partition("-")[0]
            ages.setdefault(release, {})[path] = os.stat(path).st_mtime
    ages.pop(name.partition("-")[0], None)
    newest_first = sorted(ages.values(), key=lambda paths: max(paths.values()), reverse=True)
    old = [path for paths in newest_first[KEPT - 1 :] for path in paths]
    running = commands() if old else b""
    for path in old:
        if os.fsencode(path) not in running:
            shutil.rmtree(path, ignore_errors=True)


def commands() -> bytes:
    """The command lines of all processes, one after another."""
    if not os.path.isdir("/proc/self"):
        return subprocess.run(["ps", "-axww", "-o", "command"], capture_output=True, check=True).stdout
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/" + pid + "/cmdline", "rb") as lines:
                found.append(lines.read())
        except OSError:
            pass
    return b"\n".join(found)
