"""The exact output of every format for fleets built by hand. `UPDATE_GOLDEN=1 pytest` writes the files anew."""

import json
import os
from pathlib import Path

import jsonschema
import pytest

import states
from fleet.views.document import document, encode, json_schema
from fleet.views.entries import Document
from fleet.views.export import csv_table, ndjson
from fleet.views.lines import plain
from fleet.views.table import table

GOLDEN = Path(__file__).parent / "data" / "golden"
CASES = sorted(states.CASES)


def _document(case: str) -> Document:
    return document(states.CASES[case](), states.NOW_AT, states.NOW_MONO_S)


def _text(case: str, cells: int | None, *, why: bool) -> str:
    lines = table(_document(case), width=cells, why=why, configured=case != "nothing")
    return "".join(f"{plain(line)}\n" for line in lines)


def _check(name: str, data: bytes) -> None:
    path = GOLDEN / name
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_bytes(data)
    assert data == path.read_bytes()


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("cells", [80, 120, None], ids=["80", "120", "pipe"])
def test_the_table(case: str, cells: int | None) -> None:
    """`fleet status` prints exactly this at 80 and 120 columns and into a pipe."""
    _check(f"{case}.{cells or 'pipe'}.txt", _text(case, cells, why=False).encode())


@pytest.mark.parametrize("cells", [80, 120, None], ids=["80", "120", "pipe"])
def test_the_table_with_reasons(cells: int | None) -> None:
    """`--why` adds why each session is in its state, whole, at every width."""
    _check(f"everything.why.{cells or 'pipe'}.txt", _text("everything", cells, why=True).encode())


@pytest.mark.parametrize("case", CASES)
def test_json(case: str) -> None:
    """`--json` prints exactly this, and it is what the published JSON Schema says."""
    data = encode(_document(case))
    jsonschema.Draft202012Validator(json_schema(), format_checker=jsonschema.FormatChecker()).validate(
        json.loads(data)
    )
    _check(f"{case}.json", data)


@pytest.mark.parametrize("case", CASES)
def test_ndjson(case: str) -> None:
    """`--format ndjson` prints exactly this."""
    _check(f"{case}.ndjson", ndjson(_document(case)))


@pytest.mark.parametrize("case", CASES)
def test_csv(case: str) -> None:
    """`--format csv` prints exactly this."""
    _check(f"{case}.csv", csv_table(_document(case)).encode())


def test_every_golden_file_is_checked() -> None:
    """No golden file outlives its case."""
    kinds = ["80.txt", "120.txt", "pipe.txt", "json", "ndjson", "csv"]
    expected = {f"{case}.{kind}" for case in CASES for kind in kinds}
    expected |= {f"everything.why.{kind}" for kind in kinds[:3]}
    assert {path.name for path in GOLDEN.iterdir()} == expected
