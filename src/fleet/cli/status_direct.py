"""`fleet status` without a daemon: connect to every host."""

import time
from collections.abc import Sequence
from pathlib import Path

from fleet import collector
from fleet.cli.options import Format
from fleet.cli.render import View, again, once
from fleet.cli.terminal import terminal, write
from fleet.config import load
from fleet.model import Fleet
from fleet.views.document import document
from fleet.views.entries import Document


def show(
    hosts: Sequence[str],
    excludes: Sequence[str],
    config: Path | None,
    timeout_s: float | None,
    chosen: Format,
    *,
    why: bool,
    every_s: float | None,
) -> tuple[int, int]:
    """Read the hosts and print their state, again and again with `every_s`. How many failed, of how many."""
    loaded = load(config)
    specs = loaded.select(hosts, excludes)
    view = View(chosen, why, configured=loaded.path is not None)
    if every_s:
        from fleet.cli.status_watch import watch

        collector.run(watch(specs, every_s, lambda fleet: write(again(_document(fleet), view, terminal()))))
        return 0, len(specs)
    fleet = collector.run(collector.read_fleet(specs, timeout_s))
    write(once(_document(fleet), view, terminal()))
    return sum(host.error is not None for host in fleet.hosts.values()), len(fleet.hosts)


def document_of(hosts: Sequence[str], excludes: Sequence[str], config: Path | None) -> Document:
    """One reading of the hosts."""
    specs = load(config).select(hosts, excludes)
    return _document(collector.run(collector.read_fleet(specs)))


def _document(fleet: Fleet) -> Document:
    return document(fleet, time.time(), time.monotonic())
