"""The JSON contract."""

import json
from pathlib import Path

import jsonschema
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

import states
from fleet.model import Fleet
from fleet.views import entries
from fleet.views.document import document, encode, json_schema
from fleet.views.entries import SessionEntry
from fleet_agent import wire
from fleet_agent.wire import Problem, Session, Tokens
from states import HOST_NOW, NOW_AT, NOW_MONO_S, fleet, read, session

PUBLISHED = Path(__file__).parents[1] / "docs" / "schema.json"


def _json(state: Fleet) -> dict[str, list[dict[str, object]]]:
    return json.loads(encode(document(state, NOW_AT, NOW_MONO_S)))  # type: ignore[no-any-return]


def test_the_published_schema_is_current() -> None:
    """docs/schema.json is what `fleet schema` prints."""
    assert json.loads(PUBLISHED.read_text("utf-8")) == json_schema()


def test_the_schema_is_a_schema() -> None:
    """It is valid itself, and lets keys be added."""
    jsonschema.Draft202012Validator.check_schema(json_schema())
    assert "additionalProperties" not in json.dumps(json_schema())


def test_every_key_is_required() -> None:
    """Keys are always there: the schema requires each."""
    for name, entry in json_schema()["$defs"].items():
        if "properties" in entry:
            assert entry["required"] == list(entry["properties"]), name


def test_every_fact_of_a_session_is_in_it() -> None:
    """Each field of the wire's Session is a key of a session, in that order: the code relies on it."""
    fields = Session.__struct_fields__
    assert SessionEntry.__struct_fields__[-len(fields) :] == fields


_TIMES = ("since_at", "started_at", "last_activity_at", "ended_at")
_OBJECTS = ("tokens", "tool_call", "plan", "children", "pane")
_FACTS = [name for name in Session.__struct_fields__ if name not in (*_TIMES, *_OBJECTS)]


def test_every_fact_arrives_under_its_own_name() -> None:
    """What a host says of a session is what the document says, fact by fact."""
    said: dict[str, object] = {name: f"the {name}" for name in _FACTS}
    said |= {"state": "working", "detail": "tool", "evidence": "hook", "confidence": "strong", "pids": (7,)}
    said |= {"usage_confidence": "conservative", "ephemeral": True}
    said |= {"context_used_tokens": 17, "context_window_tokens": 23}
    said |= {"context_used_tokens": 17, "context_window_tokens": 23}
    (entry,) = document(fleet(read("h", Session(**said))), NOW_AT, NOW_MONO_S).sessions  # type: ignore[arg-type]
    assert {name: getattr(entry, name) for name in _FACTS} == said


def test_every_kind_of_thing_on_the_wire_is_in_it() -> None:
    """The objects within a session and a host have every field that the wire has."""
    for on_wire, entry in (
        (wire.Tokens, entries.TokenCounts),
        (wire.CurrentTool, entries.ToolCallEntry),
        (wire.Plan, entries.PlanEntry),
        (wire.Child, entries.ChildEntry),
        (wire.Pane, entries.PaneEntry),
        (wire.RateLimit, entries.RateLimitEntry),
        (wire.OrphanPort, entries.OrphanPortEntry),
        (wire.Vitals, entries.VitalsEntry),
        (wire.Cost, entries.CostEntry),
    ):
        assert set(on_wire.__struct_fields__) <= set(entry.__struct_fields__)


def test_objects_on_the_wire_keep_their_keys() -> None:
    """The wire leaves out what has its default; the document has every key, null where it is not known."""
    one = session(
        "a",
        "working",
        "tool",
        1,
        tokens=Tokens(),
        tool_call=wire.CurrentTool("exec"),
        plan=wire.Plan(0, 3),
        children=(wire.Child(7),),
        pane=wire.Pane("screen", "1"),
    )
    event = read("h", one, orphan_ports=(wire.OrphanPort(80, 7),), vitals=wire.Vitals(), cost=wire.Cost())
    document = _json(fleet(event))
    (entry,), (host,) = document["sessions"], document["hosts"]
    assert entry["tokens"] == {"input": 0, "cached_input": 0, "output": 0, "reasoning_output": 0, "total": 0}
    assert entry["tool_call"] == {"name": "exec", "since_at": None, "age_s": None}
    assert entry["plan"] == {"completed": 0, "total": 3, "current": None}
    assert entry["children"] == [
        {"pid": 7, "name": None, "ports": [], "started_at": None, "rss_bytes": None, "call_id": None}
    ]
    assert entry["pane"] == {"kind": "unknown", "id": "1", "socket": None}
    assert host["orphan_ports"] == [
        {"port": 80, "pid": 7, "name": None, "session_id": None, "started_at": None}
    ]
    assert host["vitals"] == dict.fromkeys(wire.Vitals.__struct_fields__)
    assert host["cost"] == dict.fromkeys(("cpu_ms", "scan_ms", "read_bytes", "rss_bytes"))


def test_a_session_of_an_older_agent_has_every_key() -> None:
    """What an agent does not know yet to say is null, not missing and not 0."""
    line = b'{"type":"snapshot","seq":1,"now":1790000000.0,"sessions":[{"tool":"codex","id":"a"}]}'
    old = msgspec.json.decode(line, type=wire.Snapshot)
    event = read("h")
    state = _json(fleet(replace(event, reading=replace(event.reading, snapshot=old))))
    (entry,), (host,) = state["sessions"], state["hosts"]
    assert entry.keys() == set(SessionEntry.__struct_fields__)
    assert {entry[name] for name in ("turns", "dirty_files", "child_count", "usage_confidence", "rollup")} == {
        None
    }
    assert (entry["children"], entry["ephemeral"]) == ([], False)
    assert (host["rate_limits"], host["orphan_ports"], host["vitals"], host["cost"]) == ([], [], None, None)


def test_no_key_is_left_out() -> None:
    """A host that is down has every key, its counts null and not 0."""
    up, down = _json(fleet(read("up"), states.failed("down")))["hosts"]
    assert up.keys() == down.keys()
    assert (up["session_count"], down["session_count"]) == (0, None)
    assert (up["complete"], down["complete"]) == (True, None)


def test_tokens_that_are_zero_are_there() -> None:
    """A count of 0 is 0, not left out."""
    one = session("a", "idle", "new", 1, tokens=Tokens(total=5))
    assert _json(fleet(read("h", one)))["sessions"][0]["tokens"] == {
        "input": 0,
        "cached_input": 0,
        "output": 0,
        "reasoning_output": 0,
        "total": 5,
    }


def test_times_and_ages() -> None:
    """`_at` is RFC 3339 in UTC with milliseconds, `_s` a number that skew does not touch."""
    one = session("a", "idle", "new", 60.25)
    (entry,) = _json(fleet(read("h", one, read_ago_s=2, skew_s=3600)))["sessions"]
    assert entry["since_at"] == "2026-09-21T14:12:19.750Z"
    assert entry["age_s"] == 62.25
    (host,) = _json(fleet(read("h", read_ago_s=2, skew_s=3600)))["hosts"]
    assert (host["age_s"], host["skew_s"]) == (2.0, 3600.0)


def test_durations_are_by_the_host_s_clock() -> None:
    """How long a tool call runs and when a limit is reset is right where the host's clock is a day off."""
    limits = (
        wire.RateLimit("codex", "a", "codex", 300, 50.0, HOST_NOW - 60, HOST_NOW + 100),
        wire.RateLimit("codex", "a", "codex", 10_080, 50.0, HOST_NOW - 60, HOST_NOW + 5),
    )
    one = session("a", "working", "tool", 60, tool_call=wire.CurrentTool("exec", HOST_NOW - 20.5))
    event = read("h", one, read_ago_s=10, skew_s=86_400, rate_limits=limits)
    ((entry,), (host,)) = (_json(fleet(event))[key] for key in ("sessions", "hosts"))
    assert entry["tool_call"] == {"name": "exec", "since_at": "2026-09-21T14:12:59.500Z", "age_s": 30.5}
    assert [(limit["age_s"], limit["resets_in_s"]) for limit in host["rate_limits"]] == [(70, 90), (70, 0)]  # type: ignore[attr-defined]


@settings(deadline=None)
@given(st.floats(allow_nan=False), st.integers())
def test_absurd_numbers_are_null(at: float, used: int) -> None:
    """A host may claim any time and any count: the document stays valid."""
    one = session(
        "a", "idle", "new", 1, since_at=at, started_at=at, context_used_tokens=used, context_window_tokens=3
    )
    jsonschema.validate(_json(fleet(read("h", one))), json_schema())


def test_warnings() -> None:
    """What is wrong inside a host that was read, and one machine under two names, is said."""
    unread = Problem("permission", "cannot read it", "/proc/1/fd")
    event = read("a", complete=False, problems=(unread,), skew_s=-90)
    noisy = replace(event, reading=replace(event.reading, notes=("3 lines before hello",)))
    twin = replace(event, host="b")
    found = [(w["host"], w["kind"]) for w in _json(fleet(noisy, twin))["warnings"]]
    assert found[:4] == [("a", "incomplete"), ("a", "permission"), ("a", "note"), ("a", "clock")]
    assert found[-1] == (None, "same_machine")
    assert _json(fleet(noisy))["warnings"][1]["message"] == "cannot read it (/proc/1/fd)"
    assert "1m behind" in str(_json(fleet(noisy))["warnings"][3]["message"])


def test_two_machines_are_not_one() -> None:
    """Agents that could not tell their machine are never taken for the same one."""
    assert _json(fleet(read("a"), read("b")))["warnings"] == []
    assert HOST_NOW == NOW_AT


@pytest.mark.parametrize("case", sorted(states.CASES))
def test_one_line(case: str) -> None:
    """Without indent the document is one line, for --watch."""
    now = document(states.CASES[case](), NOW_AT, NOW_MONO_S)
    compact = encode(now, indent=False)
    assert compact.count(b"\n") == 1
    assert json.loads(compact) == json.loads(encode(now))
