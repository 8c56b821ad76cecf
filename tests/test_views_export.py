"""NDJSON and CSV."""

import csv
import io
import json

import states
from fleet.model import Fleet
from fleet.views.document import document, encode
from fleet.views.entries import Document
from fleet.views.export import CSV_COLUMNS, csv_table, ndjson
from fleet_agent.wire import CurrentTool, Pane, Plan, Tokens
from states import HOST_NOW, NOW_AT, NOW_MONO_S, failed, fleet, read, session


def _document(state: Fleet) -> Document:
    return document(state, NOW_AT, NOW_MONO_S)


def _records(state: Fleet) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(csv_table(_document(state)), newline="")))


def test_ndjson_holds_the_document() -> None:
    """Every entry of the document is one line that says what it is and when it was true."""
    now = _document(states.everything())
    lines = [json.loads(line) for line in ndjson(now).splitlines()]
    whole = json.loads(encode(now))
    for kind, array in (
        ("host", "hosts"),
        ("session", "sessions"),
        ("host_error", "host_errors"),
        ("warning", "warnings"),
    ):
        stamp = {"type": kind, "generated_at": now.generated_at}
        assert [line for line in lines if line["type"] == kind] == [
            {**stamp, **entry} for entry in whole[array]
        ]
    assert len(lines) == sum(len(whole[array]) for array in ("hosts", "sessions", "host_errors", "warnings"))


def test_every_host_has_a_row() -> None:
    """A host without sessions, one that failed and one that was not read yet are in the table too."""
    state = fleet(
        read("busy", session("a", "idle", "new", 1)), read("calm"), failed("dead"), pending=("later",)
    )
    assert [(r["host"], r["id"], r["error_kind"]) for r in _records(state)] == [
        ("busy", "a", ""),
        ("calm", "", ""),
        ("dead", "", "timeout"),
        ("later", "", ""),
    ]


def test_stale_rows_carry_the_error() -> None:
    """A row of a host that cannot be read now says so, and why."""
    (row,) = _records(fleet(read("old", session("a", "idle", "new", 1)), failed("old")))
    assert (row["stale"], row["link"], row["error_kind"], row["error_phase"]) == (
        "true",
        "stale",
        "timeout",
        "connect",
    )


def test_formulas_are_text() -> None:
    """A cell that a spreadsheet would run begins with a quote; numbers stay numbers."""
    for evil in ("=1+1", "+1", "-1", "@SUM(A1)", "\uff1dSUM(A1)"):
        (row,) = _records(fleet(read("h", session("a", "idle", "new", 1, title=evil, context_used_tokens=-5))))
        assert row["title"] == f"'{evil}"
        assert row["context_used_tokens"] == "-5"


def test_what_is_in_objects_has_columns() -> None:
    """A plan, a tool call, a pane and what is below a root have columns of their own; no two have one name."""
    one = session(
        "a",
        "idle",
        "new",
        1,
        tool_call=CurrentTool("exec", HOST_NOW - 30),
        plan=Plan(2, 5),
        pane=Pane("tmux", "%3"),
        tokens=Tokens(3, 0, 4, 0, 7),
        dirty_files=3,
        ephemeral=True,
    )
    root, below = _records(fleet(read("h", one, session("b", "waiting", "plan", 1, parent_id="a"))))
    assert (root["tool_call_name"], root["tool_call_age_s"]) == ("exec", "30.0")
    assert (root["plan_completed"], root["plan_total"], root["plan_current"]) == ("2", "5", "")
    assert (root["pane_kind"], root["pane_id"], root["tokens_total"]) == ("tmux", "%3", "7")
    assert (root["rollup_subagents"], root["rollup_waiting"], root["rollup_urgent_id"]) == ("1", "1", "b")
    assert (root["dirty_files"], root["ephemeral"], root["ahead"]) == ("3", "true", "")
    assert (below["rollup_subagents"], below["plan_total"]) == ("", "")
    assert len(set(CSV_COLUMNS)) == len(CSV_COLUMNS)


def test_quoting() -> None:
    """Commas and quotes come back as they were; lines end in CR LF (RFC 4180)."""
    text = csv_table(
        _document(fleet(read("h", session("a", "idle", "new", 1, title='a "b", c', pids=(1, 22)))))
    )
    assert text.count("\r\n") == text.count("\n") == 2
    (row,) = csv.DictReader(io.StringIO(text, newline=""))
    assert (row["title"], row["pids"]) == ('a "b", c', "1 22")
