"""The routes. What reads is GET, what makes the daemon act is POST. Errors are JSON: kind, message and hint."""

import asyncio
import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

import fleet
from fleet.api import control, metrics, openapi, sse
from fleet.api.answers import JSON as _JSON
from fleet.api.answers import ApiError
from fleet.api.answers import flag as _flag
from fleet.api.answers import json_answer as _json
from fleet.errors import ConfigError, FleetError, HostFailure, RequestRefused, UsageError
from fleet.model import Fleet
from fleet.service import Service
from fleet.views.document import document, encode, host_entry, host_error_entry
from fleet.views.units import rfc3339

MAX_REFRESH_S = 60.0
_DEFAULT_REFRESH_S = 10.0


def app(service: Service) -> Starlette:
    """The API over a running service."""
    api = _Api(service)
    routes = [
        Route("/v1/fleet", api.fleet),
        Route("/v1/hosts", api.hosts),
        Route("/v1/hosts/{name}/retry", api.retry, methods=["POST"]),
        *control.routes(service),
        Route("/v1/sessions/{key:path}", api.session),
        Route("/v1/events", api.events),
        Route("/v1/refresh", api.refresh, methods=["POST"]),
        Route("/v1/reload", api.reload, methods=["POST"]),
        Route("/v1/daemon", api.daemon),
        Route("/metrics", api.metrics),
        Route("/healthz", api.health),
        Route("/readyz", api.ready),
        Route("/openapi.json", api.openapi),
    ]
    handlers: Any = {
        ApiError: _refused,
        RequestRefused: _refused_there,
        HostFailure: _unreached,
        FleetError: _not_possible,
        HTTPException: _http,
    }
    return Starlette(routes=routes, exception_handlers=handlers)


class _Api:
    """One method a route."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def fleet(self, request: Request) -> Response:
        """The document, of all hosts or of some."""
        self._check_config(request)
        names, timeout_s = self._names(request), _timeout_s(request)
        if _flag(request, "fresh"):
            await self._service.streams.refresh(names, timeout_s)
        chosen = _only(self._service.streams.fleet, names)
        seq = self._service.journal.seq
        # In a thread: a large fleet takes a while, and frames go on arriving.
        body = await asyncio.to_thread(_document, chosen, indent=_flag(request, "pretty"))
        failed = sum(host.error is not None for host in chosen.hosts.values())
        headers = {
            "fleet-failed": f"{failed}/{len(chosen.hosts)}",
            "fleet-event-id": self._service.journal.id(seq),
        }
        return Response(body, media_type=_JSON, headers=headers)

    async def hosts(self, request: Request) -> Response:
        """The hosts alone."""
        chosen = _only(self._service.streams.fleet, self._names(request)).hosts.values()
        now_mono_s = time.monotonic()
        return _json(
            {
                "generated_at": rfc3339(time.time()),
                "hosts": [host_entry(host, now_mono_s) for host in chosen],
                "host_errors": [error for host in chosen if (error := host_error_entry(host))],
            }
        )

    async def session(self, request: Request) -> Response:
        """One session, by its key `host:id`."""
        key = request.path_params["key"]
        host, _, _ = key.rpartition(":")
        fleet = self._service.streams.fleet
        if host in fleet.hosts:
            now = document(_only(fleet, [host]), time.time(), time.monotonic())
            for entry in now.sessions:
                if entry.key == key:
                    return _json(entry)
        raise ApiError(404, "not_found", f"there is no session {key}", "keys are in /v1/fleet, sessions[].key")

    async def events(self, request: Request) -> Response:
        """The journal from now on, or from `Last-Event-ID`."""
        last_id = request.headers.get("last-event-id") or request.query_params.get("after")
        body = sse.stream(self._service.journal, last_id, lambda: self._service.is_stopping)
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        return StreamingResponse(body, media_type="text/event-stream", headers=headers)

    async def retry(self, request: Request) -> Response:
        """Try a failed host again now."""
        name = request.path_params["name"]
        if name not in self._service.streams.fleet.hosts:
            raise ApiError(404, "not_found", f"there is no host {name}", "the hosts are in /v1/hosts")
        if not self._service.streams.retry(name):
            hint = "only a host that failed waits for its next attempt"
            raise ApiError(409, "not_waiting", f"{name} is being read, or being connected to", hint)
        return _json({"host": name, "retried": True}, 202)

    async def refresh(self, request: Request) -> Response:
        """Ask agents for a reading now."""
        names = self._names(request)
        answered = await self._service.streams.refresh(names, _timeout_s(request))
        silent = [name for name in names if name not in answered]
        return _json({"answered": [name for name in names if name in answered], "silent": silent})

    async def reload(self, _request: Request) -> Response:
        """Read the configuration again, whole or not at all."""
        self._service.reload()
        return _json({"hosts": len(self._service.config.hosts)})

    async def daemon(self, _request: Request) -> Response:
        """About the daemon itself."""
        service = self._service
        return _json(
            {
                "version": fleet.__version__,
                "pid": service.pid,
                "started_at": rfc3339(service.started_at),
                "config": str(service.config.path) if service.config.path else None,
                "fingerprint": service.config.fingerprint,
                "hosts": len(service.config.hosts),
                "ready": service.is_ready,
                "event_id": service.journal.id(service.journal.seq),
                "loop_lag_s": round(service.lag_s(1), 4),
                "loop_lag_p99_s": round(service.lag_s(0.99), 4),
            }
        )

    async def metrics(self, _request: Request) -> Response:
        """Prometheus's text form."""
        body = await asyncio.to_thread(metrics.exposition, self._service, time.monotonic())
        return Response(body, media_type=metrics.CONTENT_TYPE)

    async def health(self, _request: Request) -> Response:
        """The daemon answers."""
        return Response("ok\n", media_type="text/plain")

    async def ready(self, _request: Request) -> Response:
        """Whether every host has answered or failed once."""
        if not self._service.is_ready:
            raise ApiError(
                503, "not_ready", "not every host has answered or failed yet", "ask again in a moment"
            )
        return Response("ok\n", media_type="text/plain")

    async def openapi(self, _request: Request) -> Response:
        """The description of this API."""
        return _json(openapi.description())

    def _names(self, request: Request) -> list[str]:
        query = request.query_params
        chosen = self._service.select(query.getlist("host"), query.getlist("exclude"))
        return [spec.name for spec in chosen]

    def _check_config(self, request: Request) -> None:
        """A client that was told to use another configuration must not get the answers of this one."""
        wanted, ours = request.query_params.get("config"), self._service.config.path
        if wanted is not None and wanted != str(ours or ""):
            message = f"this daemon runs with {ours or 'no configuration file'}, not with {wanted or 'none'}"
            raise ApiError(409, "other_config", message, "start it with --config, or use --no-daemon")


def _document(chosen: Fleet, *, indent: bool) -> bytes:
    return encode(document(chosen, time.time(), time.monotonic()), indent=indent)


def _only(whole: Fleet, names: list[str]) -> Fleet:
    """These hosts of a fleet, in this order. One that a reload has just brought, or taken, may be missing."""
    hosts = {name: whole.hosts[name] for name in names if name in whole.hosts}
    return Fleet(whole.version, MappingProxyType(hosts))


def _timeout_s(request: Request) -> float:
    value = request.query_params.get("timeout_s", str(_DEFAULT_REFRESH_S))
    try:
        timeout_s = float(value)
    except ValueError:
        timeout_s = -1.0
    if not 0 < timeout_s <= MAX_REFRESH_S:
        message = f"timeout_s={value}"
        raise ApiError(422, "usage", message, f"timeout_s is a number of seconds, at most {MAX_REFRESH_S:g}")
    return timeout_s


def _error(error: ApiError, headers: Mapping[str, str] | None = None) -> Response:
    detail = {"kind": error.kind, "message": error.message, "hint": error.hint}
    detail |= {"phase": error.phase} if error.phase else {}
    body = msgspec.json.encode({"error": detail}) + b"\n"
    return Response(body, error.status, media_type=_JSON, headers=dict(headers or {}))


async def _refused(_request: Request, exc: ApiError) -> Response:
    return _error(exc)


async def _refused_there(request: Request, exc: RequestRefused) -> Response:
    return await _refused(request, control.refused(exc))


async def _unreached(request: Request, exc: HostFailure) -> Response:
    return await _refused(request, control.unreached(exc))


async def _not_possible(_request: Request, exc: FleetError) -> Response:
    kind = "config" if isinstance(exc, ConfigError) else "usage" if isinstance(exc, UsageError) else "internal"
    return _error(ApiError(422, kind, str(exc), "see the message"))


async def _http(_request: Request, exc: HTTPException) -> Response:
    hint = "the paths and their methods are in /openapi.json"
    return _error(ApiError(exc.status_code, "http", exc.detail, hint), exc.headers)
