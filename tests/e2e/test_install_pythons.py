"""Zero install on hosts whose only Python is another one than this machine's: older, newer, too old."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet import collector
from fleet.errors import ErrorKind, Phase
from lab import inventory, wheels
from lab.pythons import python_of
from lab.sshfleet import SshFleet

pytestmark = [pytest.mark.sshd, pytest.mark.wheels]
TOO_OLD = (3, 9)
VERSIONS = [TOO_OLD, (3, 10), (3, 12), (3, 13), (3, 14)]
SYSTEM = Path("/usr/bin/python3")

# A command runs where another Python lies over the system's, which every name of it on sshd's PATH leads to.
SCRIPT = """#!/bin/sh
exec unshare --mount --propagation private /bin/sh -c '
    mount --bind "$0" "$1" && exec /bin/sh -c "$SSH_ORIGINAL_COMMAND"' {python} {system}
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[SshFleet, dict[tuple[int, int], str]]]:
    """A bare host for each of these Pythons that is here; version -> its name."""
    tried = subprocess.run(["unshare", "--mount", "mount", "--bind", "/bin", "/mnt"], capture_output=True)
    if tried.returncode != 0 or not SYSTEM.exists():
        pytest.skip("no mount namespaces here, or no system's Python")
    found = {version: path for version in VERSIONS if (path := python_of(version))}
    if not found:
        pytest.skip("no other Python here")
    root = tmp_path_factory.mktemp("pythons")
    match = {}
    for number, (version, path) in enumerate(found.items(), 1):
        script = root / f"{version[0]}.{version[1]}.sh"
        real = Path(path).resolve()
        script.write_text(SCRIPT.format(python=real, system=SYSTEM.resolve()))
        match[f"h{number:04d}"] = [f"ForceCommand exec /bin/sh {script}"]
    with SshFleet(root / "fleet", hosts=len(found), match=match) as fleet:
        yield fleet, dict(zip(found, match, strict=True))


def test_each_python_gets_its_own_agent(
    lab: tuple[SshFleet, dict[tuple[int, int], str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wheels for that Python are shipped, and it runs them, twice; one that is too old is named."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(wheels.CACHE))
    fleet, names = lab
    timeouts = {**inventory.TIMEOUTS, "install_s": 30}
    specs = inventory.specs(fleet, *names.values(), install="auto", timeouts=timeouts)
    for _ in range(2):
        hosts = collector.run(collector.read_fleet(specs)).hosts
        for version, name in names.items():
            state, dotted = hosts[name], f"{version[0]}.{version[1]}"
            if version < (3, 10):
                assert state.error is not None
                assert (state.error.kind, state.error.phase) == (ErrorKind.AGENT_MISSING, Phase.INSTALL)
                assert f"/usr/bin/python3 is cpython {dotted}" in state.error.message
                assert not list(fleet.home(name).iterdir())
                continue
            assert state.error is None, state.error
            assert state.reading is not None
            assert state.reading.hello.python.startswith(f"{dotted}.")
            (agent,) = (fleet.home(name) / ".cache/fleet/agent").iterdir()
            assert f"-cp{version[0]}{version[1]}-" in agent.name
