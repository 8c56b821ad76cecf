"""The JSON contract."""

import json
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

import states
from fleet.model import Fleet
from fleet.views.document import SessionEntry, document, encode, json_schema
from fleet_agent.wire import Problem, Session
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
    """Each field of the wire's Session is a key of a session."""
    assert set(Session.__struct_fields__) <= set(SessionEntry.__struct_fields__)


def test_no_key_is_left_out() -> None:
    """A host that is down has every key, its counts null and not 0."""
    up, down = _json(fleet(read("up"), states.failed("down")))["hosts"]
    assert up.keys() == down.keys()
    assert (up["session_count"], down["session_count"]) == (0, None)
    assert (up["complete"], down["complete"]) == (True, None)


def test_tokens_that_are_zero_are_there() -> None:
    """A count of 0 is 0, not left out."""
    from fleet_agent.wire import Tokens

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
