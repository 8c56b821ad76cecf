"""fleet.bootstrap.wheels and bundle: what is sent, where it comes from, and that it is what was pinned."""

import asyncio
import io
import os
import re
import shutil
import stat
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fleet.bootstrap import bundle, wheels
from fleet.errors import ErrorKind, HostFailure, Phase
from lab import wheels as lab_wheels

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.wheels
HERE = sys.version_info[:2]
NOWHERE = Path("/nonexistent")


def collect(cache: Path, beside: Path = NOWHERE) -> list[bytes]:
    return asyncio.run(wheels.collect(lab_wheels.target(HERE), cache, beside))


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """pip has no package index, as on a machine without internet."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)


@pytest.fixture
def brought(tmp_path: Path) -> Path:
    """A directory with the wheels that fit this machine, as somebody would bring them here."""
    beside = tmp_path / "wheels"
    beside.mkdir()
    lab_wheels.collected(HERE)
    for wheel in lab_wheels.CACHE.glob(f"fleet/wheels/{lab_wheels.target(HERE).name}-*/*.whl"):
        shutil.copy(wheel, beside)
    return beside


def test_what_is_shipped_is_what_was_tested() -> None:
    """On the Pythons that fleet runs on: the very releases and hashes of requirements.txt. Else `make lock`."""
    tested = (ROOT / "requirements.txt").read_text()
    for pin in wheels.pins((3, 11)):
        block = re.search(rf"^{pin.requirement}( ;.*)? \\\n((?:    --hash.*\n)+)", tested, re.MULTILINE)
        assert block is not None, f"{pin.requirement}: run `make lock`"
        assert set(re.findall(r"sha256:([0-9a-f]{64})", block[2])) == pin.hashes


@pytest.mark.parametrize("minor", range(10, 15))
def test_every_python_has_one_release_of_each(minor: int) -> None:
    """msgspec, psutil and websockets, pinned once for each Python, with hashes."""
    pins = wheels.pins((3, minor))
    assert [pin.name for pin in pins] == ["msgspec", "psutil", "websockets"]
    assert all(len(pin.hashes) > 10 for pin in pins)


def test_wheels_are_fetched_once(tmp_path: Path, brought: Path, offline: None) -> None:
    """What was had once comes from the cache: nothing beside it and no network is needed any more."""
    first = collect(tmp_path / "cache", brought)
    shutil.rmtree(brought)
    assert collect(tmp_path / "cache") == first
    assert not list((tmp_path / "cache").rglob(".new-*"))


def test_a_wheel_that_was_changed_is_not_sent(tmp_path: Path, brought: Path, offline: None) -> None:
    """One byte more, in the cache: it is fetched anew; beside it: pip's own check refuses it."""
    collect(tmp_path / "cache", brought)
    for wheel in (tmp_path / "cache").rglob("psutil*.whl"):
        wheel.write_bytes(wheel.read_bytes() + b"\0")
    assert len(collect(tmp_path / "cache", brought)) == 3
    for wheel in [*(tmp_path / "cache").rglob("psutil*.whl"), *brought.glob("psutil*.whl")]:
        wheel.write_bytes(wheel.read_bytes() + b"\0")
    with pytest.raises(HostFailure):
        collect(tmp_path / "cache", brought)


def test_without_internet_and_wheels_it_says_what_to_run(tmp_path: Path, offline: None) -> None:
    """What is missing, the exact command for a machine that has internet, and where to put the files."""
    with pytest.raises(HostFailure) as caught:
        collect(tmp_path / "cache", tmp_path / "wheels")
    error = caught.value.error
    assert (error.kind, error.phase) == (ErrorKind.AGENT_MISSING, Phase.INSTALL)
    assert lab_wheels.target(HERE).name in error.message
    for pin in wheels.pins(HERE):
        assert pin.requirement in error.message
    assert f"fleet hosts wheels ./wheels --for {lab_wheels.target(HERE).name}`" in error.hint
    assert str(tmp_path / "wheels") in error.hint


@pytest.mark.parametrize("is_common", [True, False])
def test_the_command_that_it_names_does_the_job(
    tmp_path: Path, brought: Path, offline: None, monkeypatch: pytest.MonkeyPatch, is_common: bool
) -> None:
    """Run elsewhere (with an index: here, a directory), it fetches what is missing here; or pip itself does."""
    if not is_common:
        monkeypatch.setattr(wheels, "common", list)
    with pytest.raises(HostFailure) as caught:
        collect(tmp_path / "cache")
    _, named, rest = caught.value.error.hint.split("`")
    assert named.startswith("fleet hosts wheels " if is_common else "pip download ")
    (tmp_path / "elsewhere").mkdir()
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(brought),
    }
    subprocess.run([sys.executable, "-m", *named.split()], cwd=tmp_path / "elsewhere", env=env, check=True)
    assert "put the files of ./wheels into /nonexistent here" in rest
    assert len(collect(tmp_path / "cache", tmp_path / "elsewhere/wheels")) == 3


def test_a_directory_is_filled_for_machines_without_internet(
    tmp_path: Path, brought: Path, offline: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`fleet hosts wheels`: each kind of host that is asked for, by its name; what cannot be had is said."""
    filled, here = tmp_path / "filled", lab_wheels.target(HERE).name
    monkeypatch.setenv("PIP_FIND_LINKS", str(brought))  # the index of the machine that has internet
    command = [sys.executable, "-m", "fleet", "hosts", "wheels", str(filled), "--for", here]
    for kinds, status in (([], 0), (["--for", "arm64-cp310-macos"], 4), (["--for", "pdp11-cp310-gnu"], 2)):
        done = subprocess.run([*command, *kinds], capture_output=True, text=True, timeout=120)
        assert done.returncode == status, done.stdout + done.stderr
        assert (f"{here}: ok" in done.stdout) is (status != 2)
        assert ("arm64-cp310-macos: " in done.stdout) is (status == 4)
        assert len(list(filled.glob("*.whl"))) == 3
    monkeypatch.delenv("PIP_FIND_LINKS")
    assert len(collect(tmp_path / "cache", filled)) == 3
    command[-3] = "/dev/null/wheels"
    assert "name another directory" in subprocess.run(command, capture_output=True, text=True).stderr


@pytest.fixture
def read_again() -> Iterator[Callable[[], None]]:
    """Makes this process see the agent's files as a new one would."""

    def forget() -> None:
        bundle.key.cache_clear()
        bundle._agent.cache_clear()

    forget()
    yield forget
    forget()


def test_the_name_tells_the_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read_again: Callable[[], None]
) -> None:
    """Another file of the agent is another name; the same files are the same archive."""
    copy = tmp_path / "fleet_agent"
    shutil.copytree(bundle.AGENT, copy, ignore=shutil.ignore_patterns("__pycache__"))
    before, archive = bundle.key(), bundle.archive([])
    monkeypatch.setattr(bundle, "AGENT", copy)
    read_again()
    assert (bundle.key(), bundle.archive([])) == (before, archive)
    (copy / "wire.py").write_text((copy / "wire.py").read_text() + "\n")
    read_again()
    assert bundle.key() != before


@pytest.mark.parametrize("name", ["../evil.py", "/etc/evil.py", "a/../../evil.py", "a\\..\\evil.py", "link"])
def test_a_wheel_that_would_write_elsewhere_is_refused(name: str) -> None:
    """Absolute names, names that lead out, and links are in no archive of ours."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as wheel:
        info = zipfile.ZipInfo(name)
        if name == "link":
            info.external_attr = (stat.S_IFLNK | 0o777) << 16
        wheel.writestr(info, "/etc/passwd")
    with pytest.raises(HostFailure):
        bundle.archive([made.getvalue()])
