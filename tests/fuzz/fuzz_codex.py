"""Fuzz the readers of Codex's rollouts: python -m fuzz.fuzz_codex CORPUS [libFuzzer's options]

Whatever the bytes: no exception, a verdict in the words of the wire, and a row that the wire can carry.
"""

import atheris

from fuzz import bounded

with atheris.instrument_imports(include=["fleet_agent"]):
    import msgspec

    from fleet_agent.evidence import Evidence
    from fleet_agent.status import judge
    from fleet_agent.tail import LineSplitter
    from fleet_agent.tools.codex.lines import Meta, decode_meta, first_prompt
    from fleet_agent.tools.codex.rollout import Rollout
    from fleet_agent.tools.codex.session import Thread, evidence, session
    from fleet_agent.wire import CONFIDENCES, DETAILS, EVIDENCE, STATES, Session

ID = "01a1fbf3-d4da-78f3-8f80-8b9a0611d5f6"
NOW = 1_800_000_000.0
MAX_LINE_BYTES = 2000  # so that cut lines are met too

_as_wire = msgspec.json.Decoder(Session).decode


def one_rollout(data: bytes) -> None:
    """Read `data` as a rollout, judge it, and make its row."""
    lines = list(LineSplitter(MAX_LINE_BYTES).feed(data + b"\n"))
    facts = Rollout(decode_meta(lines[0]) or Meta())
    for line in lines:
        facts.feed(line)
    for line in lines:
        facts.feed_earlier(line)
    calls, prompt = tuple(facts.calls.values()), first_prompt(lines)
    thread = Thread(ID, "/h", "/h/r", facts=facts, calls=calls, prompt=prompt)
    for live in (False, True):
        one_verdict(thread, msgspec.structs.replace(evidence(thread, NOW, None), live=live))


def one_verdict(thread: Thread, found: Evidence) -> None:
    """It is in the words of the wire, and so is the row."""
    verdict = judge(found)
    assert verdict.state in STATES, verdict
    assert verdict.detail is None or verdict.detail in DETAILS[verdict.state], verdict
    assert verdict.evidence is None or verdict.evidence in EVIDENCE, verdict
    assert verdict.confidence in CONFIDENCES, verdict
    assert verdict.reason.endswith("."), verdict
    row = session(thread, verdict)
    assert _as_wire(msgspec.json.encode(row)) == row


if __name__ == "__main__":
    bounded.run(one_rollout)
