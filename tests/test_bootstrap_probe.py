"""fleet.bootstrap.probe and outcome: what a host says of itself, and what is made of it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fleet.bootstrap import outcome, probe
from fleet.errors import ErrorKind, HostFailure, Phase
from fleet.launch import report_command

# Each field of a line as fleet.launch has Python print it, after "fleet-probe".
DEBIAN_12 = "/usr/bin/python3 cpython 3 11 2 - 64 linux x86_64 - glibc 2.36"
RHEL_9 = "/usr/bin/python3 cpython 3 9 21 - 64 linux x86_64 - glibc 2.34"
RHEL_9_NEWER = "python3.12 cpython 3 12 5 - 64 linux x86_64 - glibc 2.34"
ALPINE = "/usr/bin/python3 cpython 3 12 11 - 64 linux aarch64 - - -"
ALPINE_NEWER = "/usr/bin/python3 cpython 3 14 0 - 64 linux x86_64 - musl 1.2.5"
RASPBIAN = "/usr/bin/python3 cpython 3 11 2 - 32 linux aarch64 - glibc 2.36"
UBUNTU_20 = "python3.10 cpython 3 10 14 - 64 linux aarch64 - glibc 2.31"
MACOS = "/usr/bin/python3 cpython 3 13 1 - 64 darwin arm64 14.5 - -"
FREE_THREADED = "python3 cpython 3 13 0 t 64 linux x86_64 - glibc 2.41"
PYPY = "python3 pypy 3 10 14 - 64 linux x86_64 - glibc 2.36"


def told(*lines: str, system: str = "Linux x86_64") -> bytes:
    fields = [line.replace(" ", "\t").replace("\t-\t", "\t\t").replace("\t-\t", "\t\t") for line in lines]
    fields = [field.removesuffix("-") if field.endswith("\t-") else field for field in fields]
    return "".join([f"fleet-probe {system}\n", *(f"fleet-probe\t{field}\n" for field in fields)]).encode()


def target_of(*lines: str) -> probe.Target:
    report = probe.parse(told(*lines))
    assert report is not None
    return probe.target(report)


def test_common_kinds_are_named_as_their_hosts_are() -> None:
    """What is fetched beforehand for a kind runs on every host of it: its tags are among those of the host."""
    kinds = {kind.name: kind for kind in probe.common()}
    assert len(kinds) == 30
    for line in (DEBIAN_12, RHEL_9_NEWER, ALPINE, ALPINE_NEWER, UBUNTU_20):
        host = target_of(line)
        assert set(kinds[host.name].platforms) <= set(host.platforms)
        assert kinds[host.name].abi == host.abi
    assert kinds[target_of(MACOS).name].platforms == ("macosx_11_0_arm64",)  # pip adds the older ones


@pytest.mark.parametrize(
    ("lines", "name", "command", "best", "worst"),
    [
        ([DEBIAN_12], "x86_64-cp311-gnu", "/usr/bin/python3", "manylinux_2_35_x86_64", "manylinux1_x86_64"),
        (
            [RHEL_9, RHEL_9_NEWER],
            "x86_64-cp312-gnu",
            "python3.12",
            "manylinux_2_34_x86_64",
            "manylinux1_x86_64",
        ),
        ([ALPINE], "aarch64-cp312-musl", "/usr/bin/python3", "musllinux_1_2_aarch64", "musllinux_1_1_aarch64"),
        (
            [ALPINE_NEWER],
            "x86_64-cp314-musl",
            "/usr/bin/python3",
            "musllinux_1_2_x86_64",
            "musllinux_1_1_x86_64",
        ),
        ([RASPBIAN], "aarch64-cp311-gnu", "/usr/bin/python3", "manylinux_2_35_armv7l", "manylinux1_armv7l"),
        ([UBUNTU_20], "aarch64-cp310-gnu", "python3.10", "manylinux_2_31_aarch64", "manylinux1_aarch64"),
        ([MACOS], "arm64-cp313-macos", "/usr/bin/python3", "macosx_14_0_arm64", "macosx_14_0_arm64"),
        ([FREE_THREADED], "x86_64-cp313t-gnu", "python3", "manylinux_2_39_x86_64", "manylinux1_x86_64"),
        (
            [PYPY, DEBIAN_12],
            "x86_64-cp311-gnu",
            "/usr/bin/python3",
            "manylinux_2_35_x86_64",
            "manylinux1_x86_64",
        ),
    ],
)
def test_what_a_host_needs_follows_from_its_answer(
    lines: list[str], name: str, command: str, best: str, worst: str
) -> None:
    """Python, C library and processor of a host decide what is sent, and which Python runs it."""
    found = target_of(*lines)
    assert (found.name, found.command, found.platforms[0], found.platforms[-1]) == (name, command, best, worst)


def test_a_wheel_for_a_newer_c_library_is_never_asked_for() -> None:
    """glibc 2.31 runs manylinux_2_31 and older ones."""
    assert {"manylinux_2_34_aarch64", "manylinux_2_35_aarch64"}.isdisjoint(target_of(UBUNTU_20).platforms)
    assert {"manylinux_2_28_aarch64", "manylinux2014_aarch64"} <= set(target_of(UBUNTU_20).platforms)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([], "no python3; Linux x86_64"),
        ([RHEL_9], "/usr/bin/python3 is cpython 3.9"),
        ([DEBIAN_12.replace("x86_64", "pdp11")], "none for pdp11"),
        ([RHEL_9, PYPY], "/usr/bin/python3 is cpython 3.9, python3 is pypy 3.10"),
    ],
)
def test_a_host_without_a_python_is_told_what_it_has(lines: list[str], said: str) -> None:
    """agent_missing, with the versions that were found and the fix."""
    with pytest.raises(HostFailure) as caught:
        target_of(*lines)
    error = caught.value.error
    assert (error.kind, error.phase) == (ErrorKind.AGENT_MISSING, Phase.INSTALL)
    assert said in error.message
    assert error.hint.startswith("install ")


@pytest.mark.parametrize(
    "line",
    [
        "/tmp/evil cpython 3 11 2 - 64 linux x86_64 - glibc 2.36",  # no Python that we asked for
        "/usr/bin/python3;id cpython 3 11 2 - 64 linux x86_64 - glibc 2.36",
        "/usr/bin/python3 cpython 3 11 2 - 64 linux ../../x - glibc 2.36",
        "/usr/bin/python3 cpython 3 11 2 - 64 linux x86_64 - glibc 2.36 more",
        "/usr/bin/python3 cpython 3 11111111 2 - 64 linux x86_64 - glibc 2.36",
        "/usr/bin/python3 cpython 3 \u0661\u0661 2 - 64 linux x86_64 - glibc 2.36",
        "/usr/bin/python3 cpython 3 11 2 - 64 linux $(id) - glibc 2.36",
        "/usr/bin/python3 cpython 3 11 2 - 64 win32 x86_64 - - -",
        "",
    ],
)
def test_a_hostile_answer_is_no_answer(line: str) -> None:
    """What does not match to the letter is passed over, and no word of it reaches a command or a path."""
    report = probe.parse(told(line))
    assert report is not None
    assert report.pythons == ()


def test_an_answer_is_bounded_and_its_words_are_cleaned() -> None:
    """A flood of lines counts up to a limit; an escape sequence in the system's name does not get through."""
    report = probe.parse(told(*[DEBIAN_12] * 10_000, system="\x1b]0;x\x07" + "A" * 1000))
    assert report is not None
    assert len(report.pythons) < 100
    assert len(report.system) <= 60
    assert "\x1b" not in report.system


def test_other_output_is_no_report() -> None:
    """A host that only complains has not been asked."""
    assert probe.parse(b"sh: fleet-agent: not found\nsay fleet-probe\n") is None


def test_this_machine_answers(tmp_path: Path) -> None:
    """The question as a shell runs it: a Python's real answer is understood."""
    (tmp_path / "python3").symlink_to(sys.executable)
    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "HOME": str(tmp_path)}
    done = subprocess.run(["sh", "-c", report_command()], env=env, capture_output=True, timeout=30, check=True)
    report = probe.parse(done.stderr)
    assert report is not None, done.stderr
    assert report.pythons[-1].machine == os.uname().machine
    assert probe.target(report).name.startswith(f"{os.uname().machine}-cp3")


@pytest.mark.parametrize(
    ("line", "message", "hint"),
    [
        (b"EROFS\t/home/u/.cache\tRead-only file system", "/home/u/.cache: Read-only", "file system writable"),
        (b"ENOSPC\t/home/u/.cache/fleet/agent\tNo space left on device", "No space left", "make room"),
        (b"EDQUOT\t/home/u\tDisk quota exceeded", "Disk quota", "quota"),
        (b"EACCES\t/home/u\tPermission denied", "Permission denied", "let its user write"),
        (b"noexec\t/home/u\tfailed to map segment", "failed to map", "noexec"),
        (b"cut\t/home/u\tthe upload was cut off", "cut off", "tries again"),
        (b"\x1b[31m\t\x1b[2J\t\x9b", "fleet-agent could not be put into", "Python is whole"),
        (b"run", "could not be put into", "Python is whole"),
    ],
)
def test_why_nothing_was_installed(line: bytes, message: str, hint: str) -> None:
    """Path, reason and fix; nothing of the host gets through raw."""
    failure = outcome.failure(0, b"motd\n\nfleet-unpacked\t" + line + b"\n", b"")
    assert failure is not None
    assert (failure.error.kind, failure.error.phase) == (ErrorKind.AGENT_MISSING, Phase.INSTALL)
    assert message in failure.error.message
    assert hint in failure.error.hint
    assert not {"\x1b", "\x9b"} & set(failure.error.message)


def test_a_python_that_says_nothing_has_failed() -> None:
    """Its own last words are in the message; only the word ok is success."""
    failure = outcome.failure(1, b"", b"ModuleNotFoundError: No module named 'zipfile'")
    assert failure is not None
    assert "exit status 1: ModuleNotFoundError: No module named 'zipfile'" in failure.error.message
    assert outcome.failure(0, b"\nfleet-unpacked\tok\t/home/u/.cache/fleet/agent/x\t\n", b"") is None
