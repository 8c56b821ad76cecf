"""fleet.bootstrap.unpack, run as a host runs it: by each Python that is here, from stdin."""

import os
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from contextlib import ExitStack
from io import BytesIO
from pathlib import Path

import pytest

from fleet.bootstrap import bundle, outcome
from fleet.errors import HostFailure
from lab import wheels as lab_wheels
from lab.pythons import python_of

pytestmark = pytest.mark.wheels
OTHERS = [(3, minor) for minor in range(10, 15)]
RELEASE = "a" * 32


@pytest.fixture(scope="module")
def archive() -> bytes:
    return bundle.archive(lab_wheels.collected(sys.version_info[:2]))


def send(
    base: Path, name: str, sent: bytes, python: str = sys.executable
) -> subprocess.CompletedProcess[bytes]:
    program = bundle.program(name, sent)
    return run(base, program, program + sent, python)


def run(
    base: Path, program: bytes, stdin: bytes, python: str = sys.executable
) -> subprocess.CompletedProcess[bytes]:
    code = f"import sys;exec(sys.stdin.buffer.read({len(program)}))"
    return subprocess.run([python, "-IS", "-c", code, str(base)], input=stdin, capture_output=True, timeout=120)


def failure_of(done: subprocess.CompletedProcess[bytes]) -> HostFailure | None:
    return outcome.failure(done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize("version", OTHERS, ids=lambda v: f"{v[0]}.{v[1]}")
def test_it_runs_on_every_python(tmp_path: Path, version: tuple[int, int]) -> None:
    """Each supported Python that is here unpacks the wheels made for it, and runs the real agent from there."""
    python = python_of(version)
    if python is None:
        pytest.skip(f"no Python {version[0]}.{version[1]} here")
    sent = bundle.archive(lab_wheels.collected(version))
    assert failure_of(send(tmp_path / "base", f"{RELEASE}-x", sent, python)) is None
    there = tmp_path / "base" / f"{RELEASE}-x"
    command = [str(there / "python"), "-ISB", str(there), "snapshot"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env={"HOME": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    assert f'"python":"{version[0]}.{version[1]}.' in done.stdout
    assert list(there.rglob("wire*.pyc"))


def test_only_its_user_can_read_it_and_nothing_else_is_left(tmp_path: Path, archive: bytes) -> None:
    """Modes 0700, whatever the umask; no temporary directory stays."""
    assert failure_of(send(tmp_path / "c/fleet/agent", f"{RELEASE}-x", archive)) is None
    assert [p.name for p in (tmp_path / "c/fleet/agent").iterdir()] == [f"{RELEASE}-x"]
    for path in [tmp_path / "c", *(tmp_path / "c").rglob("*")]:
        assert path.is_symlink() or path.stat().st_mode & 0o077 == 0, path


@pytest.mark.parametrize("cut", [0, 1, 1000, -1])
def test_a_cut_upload_leaves_nothing(tmp_path: Path, archive: bytes, cut: int) -> None:
    """However much of it came."""
    program = bundle.program(f"{RELEASE}-x", archive)
    failure = failure_of(run(tmp_path / "base", program, program + archive[:cut]))
    assert failure is not None
    assert "cut off" in failure.error.message
    assert not (tmp_path / "base").exists()


def test_other_bytes_than_were_sent_are_refused(tmp_path: Path, archive: bytes) -> None:
    """The hash is checked before anything is unpacked."""
    program = bundle.program(f"{RELEASE}-x", archive)
    failure = failure_of(run(tmp_path / "base", program, program + archive[:-1] + b"\xff"))
    assert failure is not None
    assert "not what was sent" in failure.error.message
    assert not (tmp_path / "base").exists()


def test_a_member_outside_is_refused(tmp_path: Path) -> None:
    """Even in an archive with the right hash."""
    made = BytesIO()
    with zipfile.ZipFile(made, "w") as out:
        out.writestr("../planted.py", "")
    failure = failure_of(send(tmp_path / "base", f"{RELEASE}-x", made.getvalue()))
    assert failure is not None
    assert "outside" in failure.error.message
    assert list(tmp_path.rglob("*")) == [tmp_path / "base"]


def test_what_does_not_run_is_not_put_there(tmp_path: Path) -> None:
    """Without its wheels the agent cannot start: the message says what Python says."""
    failure = failure_of(send(tmp_path / "base", f"{RELEASE}-x", bundle.archive([])))
    assert failure is not None
    assert "No module named 'msgspec'" in failure.error.message
    assert not list((tmp_path / "base").iterdir())


def test_several_at_once_do_no_harm(tmp_path: Path, archive: bytes) -> None:
    """Four collectors install the same at the same time: each is content, one agent is there."""
    program = bundle.program(f"{RELEASE}-x", archive)
    code = f"import sys;exec(sys.stdin.buffer.read({len(program)}))"
    command = [sys.executable, "-IS", "-c", code, str(tmp_path / "base")]
    sent = tmp_path / "sent"
    sent.write_bytes(program + archive)
    with ExitStack() as files:
        running = [
            subprocess.Popen(command, stdin=files.enter_context(sent.open("rb")), stdout=-1, stderr=-1)
            for _ in range(4)
        ]
        for one in running:
            out, err = one.communicate(timeout=60)
            assert outcome.failure(one.returncode, out, err) is None
    assert [p.name for p in (tmp_path / "base").iterdir()] == [f"{RELEASE}-x"]


def spoil_file(there: Path) -> None:
    (there / "fleet_agent/wire.py").write_text("")
    shutil.rmtree(there / "fleet_agent/__pycache__")


def spoil_python(there: Path) -> None:
    (there / "python").unlink()
    (there / "python").symlink_to("/nonexistent/python3.11")


@pytest.mark.parametrize("spoil", [spoil_file, spoil_python])
def test_one_that_was_spoilt_is_replaced(tmp_path: Path, archive: bytes, spoil: Callable[[Path], None]) -> None:
    """A cleaner of caches took a file, the system's Python went away: the next upload makes it whole."""
    there = tmp_path / "base" / f"{RELEASE}-x"
    send(there.parent, there.name, archive)
    spoil(there)
    assert failure_of(send(there.parent, there.name, archive)) is None
    subprocess.run([there / "python", "-ISB", there, "--version"], check=True, capture_output=True)


def test_a_directory_that_others_may_write_is_refused(tmp_path: Path, archive: bytes) -> None:
    """What somebody else can change is not run."""
    (tmp_path / "base").mkdir()
    (tmp_path / "base").chmod(0o777)
    failure = failure_of(send(tmp_path / "base", f"{RELEASE}-x", archive))
    assert failure is not None
    assert "others may write there" in failure.error.message


def test_old_releases_go_but_for_the_one_before_and_what_runs(tmp_path: Path, archive: bytes) -> None:
    """Two are kept, for every kind of machine that shares the home; none that a process runs from goes."""
    base = tmp_path / "base"
    for age_s, release in enumerate(["b", "c", "d", "e"], start=100):
        for machine in ("x86_64", "aarch64"):
            old = base / f"{release * 32}-{machine}-cp311-gnu"
            old.mkdir(parents=True)
            os.utime(old, (time.time() - age_s,) * 2)
    base.chmod(0o700)
    abandoned, busy = base / ".new-abandoned", base / ".new-busy"
    for directory in (abandoned, busy):
        directory.mkdir()
    os.utime(abandoned, (time.time() - 7200,) * 2)
    oldest = base / f"{'e' * 32}-x86_64-cp311-gnu"
    running = subprocess.Popen(["/bin/sh", "-c", "read x; exit", str(oldest)], stdin=-1)
    try:
        assert failure_of(send(base, f"{RELEASE}-x86_64-cp311-gnu", archive)) is None
    finally:
        running.communicate(b"\n", timeout=10)
    left = {path.name for path in base.iterdir()}
    assert left == {
        f"{RELEASE}-x86_64-cp311-gnu",
        *(f"{'b' * 32}-{machine}-cp311-gnu" for machine in ("x86_64", "aarch64")),
        f"{'e' * 32}-x86_64-cp311-gnu",
        ".new-busy",
    }
