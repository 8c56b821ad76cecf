"""The document for other programs: NDJSON and CSV. Pure."""

import csv
import io
from collections.abc import Iterator
from typing import Any

import msgspec

from fleet.views.entries import (
    Document,
    HostEntry,
    HostErrorEntry,
    PaneEntry,
    PlanEntry,
    Rollup,
    SessionEntry,
    TokenCounts,
    ToolCallEntry,
)

_ARRAYS = {"host": "hosts", "session": "sessions", "host_error": "host_errors", "warning": "warnings"}

_HOST_COLUMNS = ("link", "complete", "last_seen_at")
# What a session has in objects: key -> its keys that have columns. Of `children` there is a count.
_NESTED = {
    "tokens": TokenCounts.__struct_fields__,
    "tool_call": ToolCallEntry.__struct_fields__,
    "plan": PlanEntry.__struct_fields__,
    "pane": PaneEntry.__struct_fields__,
    "rollup": tuple(name for name in Rollup.__struct_fields__ if name != "tokens"),
}
_SESSION_COLUMNS = tuple(n for n in SessionEntry.__struct_fields__ if n not in ("host", "children", *_NESTED))
_ERROR_COLUMNS = ("kind", "phase", "message", "hint", "since_at", "attempts", "next_retry_at")
CSV_COLUMNS = (
    "host",
    *_HOST_COLUMNS,
    *_SESSION_COLUMNS,
    *(f"{key}_{name}" for key, names in _NESTED.items() for name in names),
    *(f"error_{name}" for name in _ERROR_COLUMNS),
)

# What a spreadsheet takes for a formula where a cell begins with it, full-width forms too.
# Source: OWASP, "CSV Injection". Tab and line ends are among them; `fleet.text` has taken those out.
_FORMULA = tuple("=+-@\uff1d\uff0b\uff0d\uff20")


def ndjson(document: Document) -> bytes:
    """One object a line: its `type` (host, session, host_error, warning), `generated_at`, its keys as there."""
    lines = []
    for kind, array in _ARRAYS.items():
        stamp = msgspec.json.encode({"type": kind, "generated_at": document.generated_at})
        lines += [stamp[:-1] + b"," + msgspec.json.encode(entry)[1:] for entry in getattr(document, array)]
    return b"".join(line + b"\n" for line in lines)


def csv_table(document: Document) -> str:
    """RFC 4180 with a header: a row a session, and one for each host that has none; errors in both.

    What is not known is empty. A text that a spreadsheet would take for a formula gets a ' before it.
    """
    out = io.StringIO()
    writer = csv.DictWriter(out, CSV_COLUMNS, restval="", lineterminator="\r\n")
    writer.writeheader()
    for record in _records(document):
        writer.writerow({name: _cell(value) for name, value in record.items()})
    return out.getvalue()


def _records(document: Document) -> Iterator[dict[str, Any]]:
    errors = {error.host: error for error in document.host_errors}
    hosts = {host.name: _host_columns(host, errors.get(host.name)) for host in document.hosts}
    for session in document.sessions:
        yield {**hosts[session.host], **_session_columns(session)}
    shown = {session.host for session in document.sessions}
    yield from (columns for name, columns in hosts.items() if name not in shown)


def _host_columns(host: HostEntry, error: HostErrorEntry | None) -> dict[str, Any]:
    columns = {"host": host.name, **{name: getattr(host, name) for name in _HOST_COLUMNS}}
    if error:
        columns |= {f"error_{name}": getattr(error, name) for name in _ERROR_COLUMNS}
    return columns


def _session_columns(session: SessionEntry) -> dict[str, Any]:
    columns = {name: getattr(session, name) for name in _SESSION_COLUMNS}
    for key, names in _NESTED.items():
        if nested := getattr(session, key):
            columns |= {f"{key}_{name}": getattr(nested, name) for name in names}
    return columns


def _cell(value: object) -> object:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return " ".join(map(str, value))
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return value  # csv writes None as nothing
