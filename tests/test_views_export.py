"""NDJSON and CSV."""

import csv
import io
import json

import states
from fleet.model import Fleet
from fleet.views.document import Document, document, encode
from fleet.views.export import csv_table, ndjson
from states import NOW_AT, NOW_MONO_S, failed, fleet, read, session


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


def test_quoting() -> None:
    """Commas and quotes come back as they were; lines end in CR LF (RFC 4180)."""
    text = csv_table(
        _document(fleet(read("h", session("a", "idle", "new", 1, title='a "b", c', pids=(1, 22)))))
    )
    assert text.count("\r\n") == text.count("\n") == 2
    (row,) = csv.DictReader(io.StringIO(text, newline=""))
    assert (row["title"], row["pids"]) == ('a "b", c', "1 22")
