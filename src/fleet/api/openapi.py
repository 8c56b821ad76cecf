"""The OpenAPI 3.1 description of the API. The schemas are those of the JSON contract itself."""

from typing import Any

import msgspec

import fleet
from fleet.api import control, relay
from fleet.views.entries import Document, HostEntry, HostErrorEntry, SessionEntry

_REF = "#/components/schemas/{name}"


class ErrorDetail(msgspec.Struct, frozen=True):
    """Why a request was refused, and what mends it. `phase`: how far a host was reached that could not be."""

    kind: str
    message: str
    hint: str
    phase: str | None = None


class Error(msgspec.Struct, frozen=True):
    """A request that was refused."""

    error: ErrorDetail


class Hosts(msgspec.Struct, frozen=True):
    """The hosts alone."""

    generated_at: str
    hosts: tuple[HostEntry, ...]
    host_errors: tuple[HostErrorEntry, ...]


class Refreshed(msgspec.Struct, frozen=True):
    """Which hosts gave a fresh reading in time."""

    answered: tuple[str, ...]
    silent: tuple[str, ...]


class Retried(msgspec.Struct, frozen=True):
    """The next attempt has begun."""

    host: str
    retried: bool


class Reloaded(msgspec.Struct, frozen=True):
    """How many hosts are followed now."""

    hosts: int


class Daemon(msgspec.Struct, frozen=True):
    """About the daemon itself. `event_id` is that of the newest event; delays are of the last minute.

    `fingerprint`: of the hosts and their settings, as the daemon has read them.
    """

    version: str
    pid: int
    started_at: str
    config: str | None
    fingerprint: str
    hosts: int
    ready: bool
    event_id: str
    loop_lag_s: float
    loop_lag_p99_s: float


_TYPES = (Document, SessionEntry, Hosts, Refreshed, Retried, Reloaded, Daemon, Error, *control.TYPES)


def description() -> dict[str, Any]:
    """The whole document."""
    _, schemas = msgspec.json.schema_components(_TYPES, ref_template=_REF)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "fleet",
            "version": fleet.__version__,
            "description": "The state of every coding-agent session on every host, as the daemon knows it.",
        },
        "paths": _paths(),
        "components": {"schemas": schemas},
    }


def _paths() -> dict[str, Any]:
    choice = [_HOST, _EXCLUDE]
    flags = [_flag("fresh", "Have every agent read anew first."), _flag("pretty", "Indented.")]
    usage = {"422": _answer(Error, "A parameter is wrong.")}
    return {
        "/v1/fleet": {
            "get": _operation(
                "The state of the fleet.",
                {
                    "200": _answer(Document, "The document of `fleet status --json`.", _FLEET_HEADERS),
                    "409": _answer(Error, "The daemon runs with another configuration."),
                    **usage,
                },
                [
                    *choice,
                    *flags,
                    _TIMEOUT,
                    _query("config", {"type": "string"}, "Refuse unless it is this file."),
                ],
            )
        },
        "/v1/hosts": {"get": _operation("The hosts.", {"200": _answer(Hosts, "The hosts."), **usage}, choice)},
        "/v1/hosts/{name}/retry": {
            "post": _operation(
                "Try a failed host again now.",
                {
                    "202": _answer(Retried, "The attempt has begun."),
                    "404": _answer(Error, "No such host."),
                    "409": _answer(Error, "It is not waiting for an attempt."),
                },
                [_path("name", "A host.")],
            )
        },
        "/v1/sessions/{key}": {
            "get": _operation(
                "One session.",
                {"200": _answer(SessionEntry, "The session."), "404": _answer(Error, "No such session.")},
                [_path("key", "The session's key, `host:id`.")],
            )
        },
        **_control_paths(choice),
        "/v1/events": {
            "get": _operation(
                "Each change once, as server-sent events. Types: hello, host, session, gone, gap.",
                {
                    "200": {
                        "description": "A stream without an end.",
                        "content": {"text/event-stream": {"schema": {"type": "string"}}},
                    }
                },
                [_LAST_EVENT_ID, _query("after", {"type": "string"}, "The same, for who cannot set a header.")],
            )
        },
        "/v1/refresh": {
            "post": _operation(
                "Have agents read anew, over their open streams.",
                {"200": _answer(Refreshed, "Who answered in time."), **usage},
                [*choice, _TIMEOUT],
            )
        },
        "/v1/reload": {
            "post": _operation(
                "Read the configuration again, whole or not at all.",
                {
                    "200": _answer(Reloaded, "It is in force."),
                    "422": _answer(Error, "It is wrong; nothing changed."),
                },
            )
        },
        "/v1/daemon": {"get": _operation("About the daemon.", {"200": _answer(Daemon, "The daemon.")})},
        "/metrics": {"get": _operation("Prometheus's text form.", {"200": _text("Metrics.")})},
        "/healthz": {"get": _operation("Whether the daemon answers.", {"200": _text("It does.")})},
        "/readyz": {
            "get": _operation(
                "Whether every host has answered or failed once.",
                {"200": _text("So it is."), "503": _answer(Error, "Not yet.")},
            )
        },
        "/openapi.json": {
            "get": _operation(
                "This document.",
                {
                    "200": {
                        "description": "OpenAPI 3.1.",
                        "content": {"application/json": {"schema": {"type": "object"}}},
                    }
                },
            )
        },
    }


def _control_paths(choice: list[dict[str, Any]]) -> dict[str, Any]:
    """What starts, follows, answers and stops sessions."""
    usage = {"422": _answer(Error, "A parameter is wrong."), "403": _answer(Error, "It is not permitted.")}
    of_hosts = {"415": _answer(Error, "The body is not said to be JSON."), **usage}
    key = _path("key", "The session's key, `host:id` or `host:name`.")
    acted = {"200": _answer(control.Acted, "It is done."), **of_hosts, **_NOT_DONE}
    runs = _answer(control.Runs, "The runs, and the hosts that could not say.")
    verbs = {
        "send": ("Say something to a session.", control.SendBody),
        "interrupt": ("End the running turn of a session.", control.InterruptBody),
        "decide": ("Decide an approval.", control.DecideBody),
        "answer": ("Answer a question.", control.AnswerBody),
        "stop": ("End a session's processes.", control.StopBody),
    }
    logs = {"200": _ndjson(f"What the session said: lines of the control wire. {_LAST}"), **usage, **_NOT_DONE}
    relayed = {"200": _ndjson(f"The host's hello, then its replies. {_LAST}"), **of_hosts, **_NOT_DONE}
    return {
        "/v1/hosts/{name}/control": {
            "post": _operation(
                "Ask a host, in lines of the control wire (fleet_agent/control/wire.py); body and answer go on"
                " together.",
                relayed,
                [_path("name", "A host.")],
                lines=True,
            )
        },
        "/v1/sessions/start": {
            "post": _operation(
                "Start a session on each host.", {"200": runs, **of_hosts}, body=control.StartBody
            )
        },
        **{
            f"/v1/sessions/{{key}}/{verb}": {"post": _operation(summary, acted, [key], body=body)}
            for verb, (summary, body) in verbs.items()
        },
        "/v1/sessions/{key}/logs": {"get": _operation("What a session said.", logs, [key, *_OF_LOGS])},
        "/v1/approvals": {
            "get": _operation(
                "Every approval and question that is open, oldest first.",
                {"200": _answer(control.Open, "Those that are open."), **usage},
                choice,
            )
        },
        "/v1/runs": {"get": _operation("The sessions that fleet has started.", {"200": runs, **usage}, choice)},
        "/v1/runs/prune": {
            "post": _operation("Forget what has ended.", {"200": runs, **of_hosts}, body=control.PruneBody)
        },
        "/v1/runs/{key}": {
            "delete": _operation(
                "Forget a run and its logs.",
                {"200": _answer(control.Acted, "It is forgotten."), **usage, **_NOT_DONE},
                [key, _flag("stop", "Stop it first if it runs.")],
            )
        },
    }


def _operation(
    summary: str,
    responses: dict[str, Any],
    parameters: list[dict[str, Any]] | None = None,
    body: type | None = None,
    *,
    lines: bool = False,
) -> dict[str, Any]:
    """`body`: of JSON; `lines`: of lines of it."""
    operation = {"summary": summary, "parameters": parameters or [], "responses": responses}
    if body is not None:
        schema = {"schema": {"$ref": _REF.format(name=body.__name__)}}
        operation["requestBody"] = {"required": True, "content": {"application/json": schema}}
    if lines:
        operation["requestBody"] = {"required": True, "content": _ndjson("")["content"]}
    return operation


def _ndjson(text: str) -> dict[str, Any]:
    return {"description": text, "content": {relay.NDJSON: {"schema": {"type": "string"}}}}


def _answer(type_: type, text: str, headers: dict[str, Any] | None = None) -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": _REF.format(name=type_.__name__)}}}
    return {"description": text, "content": content, **({"headers": headers} if headers else {})}


def _text(text: str) -> dict[str, Any]:
    return {"description": text, "content": {"text/plain": {"schema": {"type": "string"}}}}


def _query(name: str, schema: dict[str, Any], text: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "schema": schema, "description": text}


def _path(name: str, text: str) -> dict[str, Any]:
    schema = {"type": "string", "minLength": 1}
    return {"name": name, "in": "path", "required": True, "schema": schema, "description": text}


def _flag(name: str, text: str) -> dict[str, Any]:
    return _query(name, {"type": "string", "enum": ["0", "1"], "default": "0"}, text)


_LAST = "A line of the type `failed`, the last, says why there are no more."
_OF_LOGS = [
    _flag("follow", "Go on until it ends."),
    _flag("stderr", "Its standard error."),
    _query(
        "since_s",
        {"type": "number", "minimum": 0, "maximum": control.MAX_SINCE_S},
        "Only what was said in the last so many seconds.",
    ),
    _query(
        "after_seq",
        {"type": "integer", "minimum": 0, "maximum": 10**15 - 1, "default": 0},
        "Only what has a higher `seq`: to go on behind it.",
    ),
    _query(
        "from_bytes",
        {"type": "integer", "minimum": 0, "maximum": 10**15 - 1, "default": 0},
        "Of standard error, only from there on: the `end_bytes` of the last piece.",
    ),
]
_NOT_DONE = {
    "404": _answer(Error, "No such session."),
    "409": _answer(Error, "It cannot be done to this session, or not any more."),
    "502": _answer(Error, "The tool, or the agent, there said no."),
    "503": _answer(Error, "The host cannot be reached now."),
    "504": _answer(Error, "The tool did not answer in time."),
}
_STRINGS = {"type": "array", "items": {"type": "string"}}
_HOST = _query("host", _STRINGS, "Hosts: all, NAME, @GROUP, node[1-9,12], !NAME. May be repeated.")
_EXCLUDE = _query("exclude", _STRINGS, "Hosts to leave out. May be repeated.")
_TIMEOUT = _query(
    "timeout_s",
    {"type": "number", "exclusiveMinimum": 0, "maximum": 60, "default": 10},
    "How long to wait for fresh readings, in seconds.",
)
_LAST_EVENT_ID = {
    "name": "Last-Event-ID",
    "in": "header",
    "required": False,
    "schema": {"type": "string"},
    "description": "The id of the last event that was seen: go on after it.",
}
_FLEET_HEADERS = {
    "fleet-failed": {"schema": {"type": "string"}, "description": "FAILED/ALL: how many hosts cannot be read."},
    "fleet-event-id": {
        "schema": {"type": "string"},
        "description": "Events after this one are newer than this.",
    },
}
