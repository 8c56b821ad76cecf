"""What a host says of itself when it has no agent -> what a bundle for it must fit. Pure.

The report is that of `fleet.launch`, on stderr. It is foreign input: what is taken from it is matched against
what it may be, and nothing of it is ever part of a command.
"""

import re
from typing import NamedTuple

from fleet.bootstrap import not_installed
from fleet.launch import OLDEST_PYTHON, PYTHONS, REPORT_MARK
from fleet.text import clean_bytes

_MAX_LINES = 64
_MAX_LINE_BYTES = 300
_MAX_CHARS = 60
_BY_HAND = "install it there: `pipx install fleet-sessions-agent`"
# glibc's minor versions for which wheels are built in practice; PEP 600
_GLIBC_MINORS = (39, 35, 34, 31, 28, 27, 26, 24, 17, 12, 5)
_LEGACY = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}
# What wheels may be made for; whether there are some for a release is the package index's to say.
_MACHINES = ("x86_64", "aarch64", "arm64", "i386", "i686", "armv7l", "armv6l", "ppc64le", "s390x", "riscv64")
_ON_32_BITS = {"x86_64": "i686", "aarch64": "armv7l"}  # a 32-bit Python on a 64-bit kernel

_PYTHON = re.compile(
    r"(?P<command>[\w./]+)\t(?P<implementation>\w{1,20})\t(?P<major>\d{1,2})\t(?P<minor>\d{1,3})\t\d{1,3}"
    r"\t(?P<abiflags>[a-z]{0,4})\t(?P<bits>32|64)\t(?P<platform>linux|darwin)\t(?P<machine>[a-z0-9_]{1,20})"
    r"\t(?P<mac>[\d.]{0,20})\t(?P<libc>\w{0,20})\t(?P<libc_version>[\d.]{0,20})",
    re.ASCII,
)


class Python(NamedTuple):
    """One interpreter that a host has. `command` is one of `fleet.launch.PYTHONS`."""

    command: str
    implementation: str
    version: tuple[int, int]
    abiflags: str
    bits: int
    platform: str  # linux or darwin
    machine: str  # as `uname -m` says it
    libc: str  # "glibc", else musl or another one
    system_version: tuple[int, ...]  # of glibc, or of macOS


class Report(NamedTuple):
    """What a host without an agent said: its system in its own, cleaned words, and its Pythons."""

    system: str
    pythons: tuple[Python, ...]


class Target(NamedTuple):
    """What wheels must fit: a Python, a C library, a processor. `machine` is `uname -m` there."""

    command: str
    python: tuple[int, int]
    abiflags: str
    machine: str
    system: str  # gnu, musl or macos
    platforms: tuple[str, ...]  # platform tags of wheels that run there, the best first

    @property
    def abi(self) -> str:
        """The tag of its C interface, such as cp311."""
        return f"cp{self.python[0]}{self.python[1]}{self.abiflags}"

    @property
    def name(self) -> str:
        """Such as x86_64-cp311-gnu."""
        return f"{self.machine}-{self.abi}-{self.system}"


def common() -> list[Target]:
    """The kinds of hosts that there are wheels for: each of `PYTHONS`, on Linux and macOS, x86-64 and ARM 64.

    Those for the oldest glibc and macOS, which run on later ones, too.
    """
    systems = (
        ("linux", ("x86_64", "aarch64"), "glibc", (2, 17)),
        ("linux", ("x86_64", "aarch64"), "musl", ()),
        ("darwin", ("x86_64", "arm64"), "", (11, 0)),
    )
    newest = max(int(name.rpartition(".")[2]) for name in PYTHONS if "." in name)
    found = []
    for platform, machines, libc, version in systems:
        for machine in machines:
            for minor in range(OLDEST_PYTHON[1], newest + 1):
                python = Python("python3", "cpython", (3, minor), "", 64, platform, machine, libc, version)
                system, platforms = _system(python)
                found.append(Target(python.command, python.version, "", machine, system, platforms))
    return found


def parse(output: bytes) -> Report | None:
    """The report in what a host wrote to stderr; None if there is none in it."""
    mark = REPORT_MARK.encode()
    lines = [line for line in output.split(b"\n") if line.startswith(mark)][:_MAX_LINES]
    if not lines:
        return None
    told = [line.removeprefix(mark)[1:_MAX_LINE_BYTES] for line in lines]
    found = [python for line in told if (python := _python(line.decode("ascii", "replace")))]
    return Report(clean_bytes(told[0], _MAX_CHARS), tuple(found))


def target(report: Report) -> Target:
    """What to make a bundle for. Raises `HostFailure` if no Python there will do."""
    for python in report.pythons:
        if python.implementation == "cpython" and python.version >= OLDEST_PYTHON:
            if python.machine not in _MACHINES:
                raise not_installed(f"there is no fleet-agent, and none for {python.machine} to ship", _BY_HAND)
            system, platforms = _system(python)
            return Target(python.command, python.version, python.abiflags, python.machine, system, platforms)
    wanted = ".".join(map(str, OLDEST_PYTHON))
    found = ", ".join(
        f"{p.command} is {p.implementation} {p.version[0]}.{p.version[1]}" for p in report.pythons
    )
    raise not_installed(
        f"there is no fleet-agent, and no Python {wanted} to run one"
        f" ({found or 'no python3'}; {report.system})",
        f"install python3 {wanted} or newer there; fleet brings the rest",
    )


def _python(line: str) -> Python | None:
    found = _PYTHON.fullmatch(line)
    if found is None or found["command"] not in PYTHONS:
        return None
    return Python(
        found["command"],
        found["implementation"],
        (int(found["major"]), int(found["minor"])),
        found["abiflags"],
        int(found["bits"]),
        found["platform"],
        found["machine"],
        found["libc"],
        _numbers(found["mac"] if found["platform"] == "darwin" else found["libc_version"]),
    )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part[:4]) for part in version.split(".")[:3] if part)


def _system(python: Python) -> tuple[str, tuple[str, ...]]:
    """The short name of the system, and the platform tags that run on it."""
    if python.platform == "darwin":
        major, minor, *_ = (*python.system_version, 0, 0)
        release = f"{major}_0" if major > 10 else f"{major}_{minor}"
        return "macos", (f"macosx_{release}_{python.machine}",)  # pip adds the older ones
    machine = python.machine if python.bits == 64 else _ON_32_BITS.get(python.machine, python.machine)
    if python.libc == "glibc":
        return "gnu", _manylinux(machine, python.system_version)
    return "musl", (f"musllinux_1_2_{machine}", f"musllinux_1_1_{machine}")


def _manylinux(machine: str, glibc: tuple[int, ...]) -> tuple[str, ...]:
    tags = []
    for minor in _GLIBC_MINORS:
        if (2, minor) <= glibc:
            tags.append(f"manylinux_2_{minor}_{machine}")
            if minor in _LEGACY:
                tags.append(f"{_LEGACY[minor]}_{machine}")
    return tuple(tags)
