"""What the real tools printed, by tool and release; tests/data/control/README.md says how it was made."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from fleet_agent.control.events import Event

DATA = Path(__file__).parent / "data" / "control"

E = TypeVar("E")
Feed = Callable[[bytes], list[Event]]


def lines(sample: str) -> list[bytes]:
    """The lines of a sample, without their newlines."""
    return (DATA / f"{sample}.jsonl").read_bytes().splitlines()


def events(feed: Feed, sample: str) -> list[Event]:
    """What a parser makes of a sample."""
    return [event for line in lines(sample) for event in feed(line)]


def only(kind: type[E], found: list[Event]) -> list[E]:
    """Those of one kind."""
    return [event for event in found if isinstance(event, kind)]


def said(**members: Any) -> bytes:
    """A line of JSON."""
    return msgspec.json.encode(members)
