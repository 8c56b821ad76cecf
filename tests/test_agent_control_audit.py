"""fleet_agent.control.audit: who did what."""

import json
from pathlib import Path
from typing import Any

import pytest

from fleet_agent.control import audit, rotation, wire
from fleet_agent.control.audit import Audit

TARGET = wire.Target(id="0199", name="calm-otter", pids=(7, 8))


def lines(root: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in rotation.Lines(str(root / "audit.ndjson")).read(1 << 20)]


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (wire.Send(TARGET, "a secret text", by="me@there"), {"verb": "send", "text_chars": 13}),
        (
            wire.Answer(TARGET, {"q": ("secret", "text")}, "3"),
            {"verb": "answer", "text_chars": 10, "request_id": "3"},
        ),
        (wire.Decide(TARGET, "accept", "4"), {"verb": "decide", "decision": "accept", "request_id": "4"}),
        (wire.Interrupt(TARGET), {"verb": "interrupt"}),
        (wire.Stop(TARGET), {"verb": "stop"}),
        (wire.Delete(TARGET), {"verb": "delete"}),
    ],
)
def test_what_is_written_down(tmp_path: Path, request_: Any, said: dict[str, Any]) -> None:
    """PROMISES 28: who, from where, what, to which session, when, how it ended; of texts only the length."""
    log = Audit(str(tmp_path), {"SSH_CONNECTION": "::1 50022 ::1 22"})
    begun = log.begin(request_)
    log.end(begun, wire.Refused("stale", "it is gone"))
    first, last = lines(tmp_path)
    named = {"tool": "codex", "id": "0199", "name": "calm-otter", "pids": [7, 8], "from_address": "::1"}
    for line in (first, last):
        assert {**line, **named, **said} == line
        assert "secret" not in json.dumps(line)
    assert (first["outcome"], last["outcome"], last["message"]) == ("begun", "stale", "it is gone")
    assert first["action"] == last["action"]
    assert first["at"] <= last["at"]
    assert first.get("by", "") == request_.by


def test_a_start_is_written_down_with_the_name_it_got(tmp_path: Path) -> None:
    """Neither the prompt nor the arguments for the tool are in the audit."""
    log = Audit(str(tmp_path), {})
    asked = wire.Start("a secret prompt", cwd="/w", resume="0199", arguments=("-c", "key=secret"))
    log.end(log.begin(asked), wire.Done(), "calm-otter")
    first, last = lines(tmp_path)
    assert "name" not in first
    assert (last["name"], last["outcome"], last["mode"], last["cwd"]) == ("calm-otter", "done", "exec", "/w")
    assert (last["text_chars"], last["id"]) == (15, "0199")
    assert "secret" not in json.dumps([first, last])
    log.begin(wire.Prune(older_s=3.0))
    assert lines(tmp_path)[2]["verb"] == "prune"


def test_it_is_bounded_and_its_owners_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two segments at most; 0600."""
    monkeypatch.setattr(audit, "SEGMENT_BYTES", 2000)
    log = Audit(str(tmp_path), {})
    for _ in range(100):
        log.begin(wire.Interrupt(TARGET))
    files = list(tmp_path.glob("audit.ndjson.*"))
    assert len(files) == 2
    assert sum(file.stat().st_size for file in files) <= 4000
    assert {file.stat().st_mode & 0o777 for file in tmp_path.iterdir()} == {0o600}


def test_a_directory_that_cannot_be_written(tmp_path: Path) -> None:
    """What cannot be written down is an error, before anything is done."""
    (tmp_path / "audit.lock").mkdir()
    with pytest.raises(OSError, match="audit"):
        Audit(str(tmp_path), {}).begin(wire.Interrupt(TARGET))
