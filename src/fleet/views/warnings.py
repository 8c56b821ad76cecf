"""What a reader should know about readings that did not fail. Pure."""

from collections.abc import Iterator

from fleet.hosts import fold
from fleet.model import Fleet, HostState, Reading
from fleet.views.entries import WarningEntry
from fleet.views.units import age

SKEW_WARNING_S = 60.0  # below it, a clock that is off confuses nobody


def warnings(fleet: Fleet) -> tuple[WarningEntry, ...]:
    """All warnings, in the order of the hosts; what concerns several hosts comes last."""
    own = [w for host in fleet.hosts.values() if host.reading for w in _of_host(host, host.reading)]
    return (*own, *_same_machine(fleet))


def _of_host(host: HostState, reading: Reading) -> Iterator[WarningEntry]:
    if not reading.snapshot.complete:
        message = "not every process could be looked into: sessions may be missing here"
        yield WarningEntry(host.name, "incomplete", message)
    for problem in reading.snapshot.problems:
        path = f" ({problem.path})" if problem.path and problem.path not in problem.message else ""
        yield WarningEntry(host.name, problem.kind, problem.message + path)
    for note in reading.notes:
        yield WarningEntry(host.name, "note", note)
    if abs(reading.skew_s) >= SKEW_WARNING_S:
        direction = "ahead of" if reading.skew_s > 0 else "behind"
        message = (
            f"its clock is {age(abs(reading.skew_s))} {direction} this machine's; ages are right all the same"
        )
        yield WarningEntry(host.name, "clock", message)


def _same_machine(fleet: Fleet) -> Iterator[WarningEntry]:
    names: dict[tuple[str, str], list[str]] = {}
    for host in fleet.hosts.values():
        if host.reading and (identity := host.reading.machine):
            names.setdefault(identity, []).append(host.name)
    for same in names.values():
        if len(same) > 1:
            message = f"{fold(same)} are one machine: a session that several of them show is listed once"
            yield WarningEntry(None, "same_machine", message)
