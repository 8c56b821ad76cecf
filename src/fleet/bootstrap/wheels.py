"""The wheels of the agent's requirements that fit a host: from the cache, else by pip, always by their hashes.

pip is asked for what is not in the cache: first with what lies in `beside` (`$FLEET_WHEELS`, else `wheels`
beside hosts.toml), then with its package index. Every wheel is checked against requirements.txt each time that
it is read.
"""

import asyncio
import contextlib
import functools
import hashlib
import importlib.util
import re
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from fleet.bootstrap import not_installed
from fleet.bootstrap.probe import Target, common
from fleet.errors import HostFailure
from fleet.text import clean_tail

REQUIREMENTS = Path(__file__).with_name("requirements.txt")
FETCHES_AT_ONCE = 4
PIP_TIMEOUT_S = 120.0  # for three wheels of half a megabyte in all

# name==version ; python_full_version < '3.11' \ (and then its hashes): all that `uv pip compile` writes for us
_PIN = re.compile(
    r"^(?P<name>[a-z0-9-]+)==(?P<version>[\w.]+)"
    r"(?: ; python_full_version (?P<sign><|>=) '(?P<major>\d+)\.(?P<minor>\d+)')? \\$"
)
_HASH = re.compile(r"^    --hash=sha256:([0-9a-f]{64})(?: \\)?$")


class Pin(NamedTuple):
    """One requirement of the agent: the sha256 of each file of that release, in hex."""

    name: str
    version: str
    hashes: frozenset[str]

    @property
    def requirement(self) -> str:
        """As pip is asked for it."""
        return f"{self.name}=={self.version}"

    def is_met_by(self, wheel: bytes) -> bool:
        """Whether this is a file of that release."""
        return hashlib.sha256(wheel).hexdigest() in self.hashes


@functools.cache
def pins(python: tuple[int, int]) -> tuple[Pin, ...]:
    """What the agent requires on this Python."""
    required = []
    for block in re.split(r"^(?=[a-z])", REQUIREMENTS.read_text("utf-8"), flags=re.MULTILINE)[1:]:
        first, *rest = block.splitlines()
        pin = _PIN.fullmatch(first)
        assert pin is not None, first
        if _holds(pin, python):
            hashes = frozenset(digest[1] for line in rest if (digest := _HASH.fullmatch(line)))
            required.append(Pin(pin["name"], pin["version"], hashes))
    return tuple(required)


def _holds(pin: re.Match[str], python: tuple[int, int]) -> bool:
    if pin["sign"] is None:
        return True
    return (python >= (int(pin["major"]), int(pin["minor"]))) == (pin["sign"] == ">=")


async def collect(target: Target, cache: Path, beside: Path) -> list[bytes]:
    """The wheels, one for each pin. Raises `HostFailure` if one can be had from nowhere."""
    wanted = pins(target.python)
    directory = cache / "wheels" / _name(target, wanted)
    if (found := read(directory, wanted)) is not None:
        return found
    if (reason := await _download(target, wanted, directory, beside)) is not None:
        raise _nothing_to_send(target, wanted, beside, reason)
    if (found := read(directory, wanted)) is not None:
        return found
    raise not_installed(f"wheels in {directory} are not what pip put there", "empty that directory")


def read(directory: Path, wanted: tuple[Pin, ...]) -> list[bytes] | None:
    """The wheel of each pin, by its hash; None unless all of them are there."""
    found = {}
    for path in sorted(directory.glob("*.whl")):
        wheel = path.read_bytes()
        for pin in wanted:
            if pin.is_met_by(wheel):
                found[pin.name] = wheel
    return [found[pin.name] for pin in wanted] if len(found) == len(wanted) else None


def _name(target: Target, wanted: tuple[Pin, ...]) -> str:
    """Of a directory: what it holds follows from the pins and the tags."""
    what = repr((_names(wanted), target.abi, target.platforms)).encode()
    return f"{target.name}-{hashlib.sha256(what).hexdigest()[:16]}"


def _names(wanted: tuple[Pin, ...]) -> list[str]:
    """As pip is asked for them."""
    return [pin.requirement for pin in wanted]


async def fetch(targets: Sequence[Target], directory: Path) -> list[str | None]:
    """Fill a directory for machines without internet. Of each target why that failed, None if it did not."""
    turns = asyncio.Semaphore(FETCHES_AT_ONCE)

    async def one(target: Target) -> str | None:
        async with turns:
            try:
                return await _download(target, pins(target.python), directory, directory)
            except HostFailure as failure:
                return failure.error.message

    return await asyncio.gather(*map(one, targets))


async def _download(target: Target, wanted: tuple[Pin, ...], directory: Path, beside: Path) -> str | None:
    """Fill the directory; each wheel appears in it whole. Why it could not be filled, None if it is.

    Raises `HostFailure` where nothing can be written.
    """
    pip = _pip()
    if pip is None:
        return "there is no pip here"
    said = "there is no wheel for it"
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryDirectory(prefix=".new-", dir=directory) as temporary:
            fresh = Path(temporary)
            pinned = fresh / "requirements.txt"
            pinned.write_text("".join(map(_pinned, wanted)))
            for source in _sources(beside):
                asked = [*pip_arguments(target), *source, "--require-hashes", "-r", str(pinned)]
                failure = await _run(*pip, *asked, "-d", temporary)
                if failure is None:
                    for wheel in fresh.glob("*.whl"):
                        wheel.replace(directory / wheel.name)
                    return None
                said = failure
    except OSError as exc:
        raise not_installed(
            f"the agent's wheels cannot be kept in {directory} here: {exc.strerror}",
            "mend that, or set XDG_CACHE_HOME",
        ) from None
    with contextlib.suppress(OSError):
        directory.rmdir()  # a host may say that it is anything: what it says leaves no trace
    return said


def pip_arguments(target: Target) -> list[str]:
    """How pip is asked for wheels of another machine, without sources and without what they require in turn."""
    tags = {"--abi": (target.abi, "abi3", "none"), "--platform": target.platforms}
    return [
        "download", "--only-binary", ":all:", "--no-deps", "--implementation", "cp",
        "--python-version", ".".join(map(str, target.python)),
        *(word for option, values in tags.items() for value in values for word in (option, value)),
    ]  # fmt: skip


def _pip() -> list[str] | None:
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip"]
    found = shutil.which("pip3") or shutil.which("pip")  # a virtual environment made by uv has none of its own
    return [found] if found else None


def _sources(beside: Path) -> list[list[str]]:
    index = ["--retries", "1", "--timeout", "15"]
    if not beside.is_dir():
        return [index]
    return [["--no-index", "--find-links", str(beside)], index]


def _pinned(pin: Pin) -> str:
    return " ".join([pin.requirement, *(f"--hash=sha256:{digest}" for digest in sorted(pin.hashes))]) + "\n"


async def _run(*argv: str) -> str | None:
    """Why pip failed, in its last words; None if it did not."""
    process = await asyncio.create_subprocess_exec(
        *argv, "--disable-pip-version-check", "--no-input", "-q",
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(PIP_TIMEOUT_S):
            _, stderr = await process.communicate()
    except TimeoutError:
        return f"pip did not end within {PIP_TIMEOUT_S:g} s"
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return clean_tail(stderr, 300) if process.returncode else None


def _nothing_to_send(target: Target, wanted: tuple[Pin, ...], beside: Path, reason: str) -> HostFailure:
    command = f"fleet hosts wheels ./wheels --for {target.name}"
    if target.name not in {kind.name for kind in common()}:
        command = " ".join(["pip", *pip_arguments(target), "-d", "wheels", *_names(wanted)])
    return not_installed(
        f"no fleet-agent there, and what it needs ({', '.join(_names(wanted))}) could not be had here for"
        f" {target.name}: {reason}",
        f"on a machine with internet `{command}`; put the files of ./wheels into {beside} here",
    )
