"""Every parser of tool output, against anything."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_samples import DATA, Feed
from fleet_agent.control.events import Event
from fleet_agent.control.parse.app_server import Notifications, request
from fleet_agent.control.parse.claude import ClaudeStream
from fleet_agent.control.parse.exec_json import ExecJson
from fleet_agent.control.parse.rollout import RolloutLines
from fleet_agent.control.parse.transcript import Transcript
from fleet_agent.control.wire import Said

SAMPLES = sorted([*DATA.glob("*.jsonl"), *(DATA.parent / "codex").glob("old_*_tools.jsonl")])
LINES = list(
    {tuple(line.split(b'"')[1:8]): line for f in SAMPLES for line in f.read_bytes().splitlines()}.values()
)
_as_wire = msgspec.json.Decoder(Said).decode

scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
)
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
)


def feeds() -> list[Feed]:
    return [
        ExecJson().feed,
        Notifications().feed,
        ClaudeStream().feed,
        RolloutLines().feed,
        Transcript().feed,
        RolloutLines().begin,
        Transcript().begin,
    ]


def read(*lines: bytes) -> None:
    """No parser raises, and the wire can carry each event there and back."""
    for feed in feeds():
        for line in lines:
            for event in feed(line):
                carried(event)
    for line in lines:
        if (asked := request(line)) is not None:
            carried(asked)


def carried(event: Event) -> None:
    sent = Said(event, at=0.0)
    assert _as_wire(msgspec.json.encode(sent)) == sent


@given(st.binary(max_size=200))
def test_any_bytes(line: bytes) -> None:
    """A bad line is an error event, never an exception."""
    read(line)


@st.composite
def bent(draw: st.DrawFn) -> bytes:
    """A real line, some of whose members are anything."""
    value = msgspec.json.decode(draw(st.sampled_from(LINES)))
    for _ in range(draw(st.integers(1, 3))):
        bend(draw, value)
    return msgspec.json.encode(value)


def bend(draw: st.DrawFn, value: Any) -> None:
    keys = (
        list(value) if isinstance(value, dict) else list(range(len(value))) if isinstance(value, list) else []
    )
    if not keys:
        return
    key = draw(st.sampled_from(keys))
    if isinstance(value[key], dict | list) and value[key] and draw(st.booleans()):
        bend(draw, value[key])
    else:
        value[key] = draw(anything)


@given(st.lists(bent(), min_size=1, max_size=3))
def test_any_json_in_any_place(lines: list[bytes]) -> None:
    """A member of another kind than ever seen is passed over, never an exception."""
    read(*lines)


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
def test_every_sample_by_every_parser(sample: Any) -> None:
    """Also the output of another tool than it was started for, in full and line by line cut short."""
    for line in sample.read_bytes().splitlines():
        read(line, line[: len(line) // 2])
