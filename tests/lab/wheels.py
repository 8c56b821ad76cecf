"""Wheels for tests of shipping: fetched once by pip into a cache of the tests' own, and then kept."""

import asyncio
import os
import sys
from pathlib import Path

from fleet import paths
from fleet.bootstrap import probe, wheels
from fleet.bootstrap.probe import Target
from fleet.errors import HostFailure
from fleet.launch import PYTHONS
from lab import LabError

CACHE = Path("~/.cache/fleet-dev/shipping").expanduser()


def target(python: tuple[int, int], command: str = "python3") -> Target:
    """What fits this machine and such a Python."""
    assert command in PYTHONS
    machine = os.uname().machine
    line = [command, "cpython", *map(str, python), "0", "", "64", sys.platform, machine, "", "glibc", "2.31"]
    report = probe.parse(b"fleet-probe Linux\nfleet-probe\t" + "\t".join(line).encode())
    assert report is not None
    return probe.target(report)


def collected(python: tuple[int, int]) -> list[bytes]:
    """The wheels for such a Python on this machine."""
    cache = paths.cache_directory({"XDG_CACHE_HOME": str(CACHE)})
    try:
        return asyncio.run(wheels.collect(target(python), cache, Path("/nonexistent")))
    except HostFailure as exc:
        raise LabError(f"no wheels to test with: {exc.error.message}") from None


def directory(python: tuple[int, int]) -> Path:
    """Where those wheels are."""
    collected(python)
    return next(CACHE.glob(f"fleet/wheels/{target(python).name}-*/msgspec*.whl")).parent


def obstacle() -> str | None:
    """Why shipping cannot be tested here, if so."""
    try:
        collected(sys.version_info[:2])
    except LabError as exc:
        return str(exc)
    return None
