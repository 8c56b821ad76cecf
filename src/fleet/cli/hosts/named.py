"""What the verbs share that are about one host, by its name: finding it, and what becomes of its failure."""

from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from fleet import collector
from fleet.config import HostSpec, load
from fleet.errors import FleetError, HostFailure, UsageError

Result = TypeVar("Result")


def remote_host(name: str, config: Path | None) -> HostSpec:
    """The host of this name. Raises `UsageError` if there is none, or if it is this machine."""
    spec = load(config).hosts.get(name)
    if spec is None or spec.is_local:
        raise UsageError(f"there is no host {name!r} to ssh to; `fleet hosts list` names them all")
    return spec


def done_with(spec: HostSpec, work: Coroutine[Any, Any, Result]) -> Result:
    """What comes of work with that host. Raises `FleetError` where it fails."""
    try:
        return collector.run(work)
    except HostFailure as failure:
        error = failure.error
        raise FleetError(f"{spec.name}: {error.message}; {error.hint.replace('HOST', spec.name)}") from None
