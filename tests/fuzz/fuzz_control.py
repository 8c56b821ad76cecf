"""Fuzz the parsers of what tools print and write down: python -m fuzz.fuzz_control CORPUS [libFuzzer's options]

Whatever the bytes and however they are cut: no exception, and events that the wire can carry there and back.
"""

import atheris

from fuzz import bounded

with atheris.instrument_imports(include=["fleet_agent"]):
    import msgspec

    from fleet_agent.control.events import Event
    from fleet_agent.control.parse.app_server import Notifications, request
    from fleet_agent.control.parse.claude import ClaudeStream
    from fleet_agent.control.parse.exec_json import ExecJson
    from fleet_agent.control.parse.lines import LineReader
    from fleet_agent.control.parse.rollout import RolloutLines
    from fleet_agent.control.parse.transcript import Transcript
    from fleet_agent.control.wire import Said

MAX_LINE_BYTES = 3000  # so that lines which are too long are met too

_as_wire = msgspec.json.Decoder(Said).decode


def one_output(data: bytes) -> None:
    """Read `data` as each tool's output and record, in two pieces."""
    notifications = Notifications()
    recorded = (RolloutLines().feed, Transcript().feed)
    for parse in (ExecJson().feed, notifications.feed, ClaudeStream().feed, *recorded):
        reader = LineReader(parse, MAX_LINE_BYTES)
        for piece in (data[: len(data) // 2], data[len(data) // 2 :]):
            for event in reader.feed(piece):
                carried(event)
        for event in reader.end():
            carried(event)
    for line in data.splitlines():
        if asked := request(line, notifications.patches):
            carried(asked)


def carried(event: Event) -> None:
    """The wire takes it there and back."""
    sent = Said(event, at=0.0)
    assert _as_wire(msgspec.json.encode(sent)) == sent, event


if __name__ == "__main__":
    bounded.run(one_output)
