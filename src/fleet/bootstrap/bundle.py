"""The agent and its wheels as one archive for a host, and the name that tells what is in it."""

import functools
import hashlib
import io
import stat
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from fleet.bootstrap import not_installed
from fleet.bootstrap.wheels import REQUIREMENTS
from fleet_agent import wire

AGENT = Path(wire.__file__).parent  # the agent that is installed beside this fleet
UNPACK = Path(__file__).with_name("unpack.py")
# What `python -ISB DIRECTORY` runs: that puts the directory first on sys.path, and nothing else of the user's.
MAIN = "import sys\nfrom fleet_agent.__main__ import main\nsys.exit(main())\n"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the same content makes the same archive


@functools.cache
def key() -> str:
    """Names the content: every file of the agent, and the pins, whose hashes leave wheels no choice of content.

    Which wheels fit is the host's matter; so an agent unpacked there is `KEY-MACHINE-ABI-SYSTEM`.
    """
    digest = hashlib.sha256()
    for name, content in [*_agent(), ("requirements.txt", REQUIREMENTS.read_bytes()), ("main", MAIN.encode())]:
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:32]


def archive(wheels: Iterable[bytes]) -> bytes:
    """A zip file of all that a host lacks. Raises `HostFailure` for a wheel that would write anywhere else."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as out:
        _add(out, "__main__.py", MAIN.encode())
        for name, content in _agent():
            _add(out, name, content)
        for wheel in wheels:
            for name, content in _members(wheel):
                _add(out, name, content)
    return made.getvalue()


def program(name: str, sent: bytes) -> bytes:
    """What a host runs to unpack the archive `sent`, which follows it on stdin."""
    digest = hashlib.sha256(sent).hexdigest()
    return UNPACK.read_bytes() + f"\nmain(sys.argv[1], {name!r}, {len(sent)}, {digest!r})\n".encode()


@functools.cache
def _agent() -> tuple[tuple[str, bytes], ...]:
    """Name and content of each file. Read once: an upgrade must not come between the name and the archive."""
    paths = sorted(AGENT.rglob("*.py"))
    return tuple((f"fleet_agent/{path.relative_to(AGENT).as_posix()}", path.read_bytes()) for path in paths)


def _members(wheel: bytes) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(io.BytesIO(wheel)) as opened:
        for info in opened.infolist():
            if info.is_dir():
                continue
            if not _is_inside(info):
                raise not_installed(
                    f"a wheel holds {info.filename!r}", "it is broken: take it out of the cache"
                )
            yield info.filename, opened.read(info)


def _is_inside(info: zipfile.ZipInfo) -> bool:
    path = PurePosixPath(info.filename)
    is_link = stat.S_ISLNK(info.external_attr >> 16)
    return not (path.is_absolute() or ".." in path.parts or "\\" in info.filename or is_link)


def _add(out: zipfile.ZipFile, name: str, content: bytes) -> None:
    out.writestr(zipfile.ZipInfo(name, _EPOCH), content, zipfile.ZIP_DEFLATED)
