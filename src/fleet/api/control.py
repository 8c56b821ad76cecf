"""The routes that start, follow, answer and stop sessions, over the connections that are open.

Over TCP they take a token of their own (`guard`). A page in a browser is kept out twice: what acts takes JSON
by its content type, which no form can send and no other origin may; and what a browser says of where a request
comes from (Origin, Sec-Fetch-Site) must be this daemon itself. A host is reached now or the request fails now.
"""

import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from types import MappingProxyType
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from fleet.api.answers import JSON, ApiError, count, flag, json_answer, number
from fleet.api.relay import NDJSON, Relay, line
from fleet.config import HostSpec
from fleet.control import selectors, verbs
from fleet.control.selectors import Candidate
from fleet.control.verbs import Action, Answered
from fleet.dialogue import Failed
from fleet.errors import HostFailure, RequestRefused
from fleet.model import Fleet, Link
from fleet.service import Service
from fleet.views.controlled import PendingEntry, RunEntry, Trouble, pending_entry, run_entry, trouble
from fleet.views.document import document
from fleet_agent.control import wire
from fleet_agent.control.events import DECISIONS

SCOPE = "fleet.may_control"  # of an ASGI scope: False where the caller showed only the reading token
MAX_BODY_BYTES = 2 << 20
REFRESH_S = 5.0
MAX_SINCE_S = 1e10
# What a host refuses with -> status. Anything else is that host's own trouble.
_STATUS = {
    verbs.NOT_PERMITTED: 403,
    "bad_request": 422,
    "unknown_session": 404,
    "ambiguous": 409,
    "stale": 409,
    "not_possible": 409,
    "already_resolved": 409,
    "timeout": 504,
}

T = TypeVar("T")
_Words = tuple[Annotated[str, Meta(max_length=4096)], ...]


class StartBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to start, and on which hosts: expressions as of `--host`. null: the tool's own default."""

    host: Annotated[_Words, Meta(min_length=1)]
    exclude: _Words = ()
    prompt: wire.Prompt | None = None
    tool: Annotated[str, Meta(min_length=1, max_length=4096)] = "codex"
    mode: str = "exec"
    name: wire.Name | None = None
    cwd: str | None = None
    model: str | None = None
    sandbox: str | None = None
    approval: str | None = None
    resume: str | None = None
    fork: str | None = None
    arguments: _Words = ()


class SendBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to say to the session."""

    text: wire.Prompt


class InterruptBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Nothing: `{}`."""


class DecideBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`decision`: accept, accept_for_session, decline, or cancel (decline, and end the turn).

    `request_id` is of GET /v1/approvals: decide what you have seen.
    """

    decision: Annotated[str, Meta(extra_json_schema={"enum": [*DECISIONS]})]
    request_id: str


class AnswerBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`answers`: question id -> what is answered."""

    answers: dict[str, _Words]
    request_id: str


class StopBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Killed if it has not ended after `grace_s` seconds."""

    grace_s: Annotated[float, Meta(ge=0, le=600)] = 5.0


class PruneBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Of which hosts (expressions), and how long ago they must have ended, in seconds."""

    host: Annotated[_Words, Meta(min_length=1)]
    older_s: Annotated[float, Meta(ge=0, le=1e10)] = 0.0


class Runs(msgspec.Struct, frozen=True):
    """Sessions that fleet has started, newest first, and the hosts that could not say."""

    runs: tuple[RunEntry, ...]
    errors: tuple[Trouble, ...]


class Open(msgspec.Struct, frozen=True):
    """Approvals and questions that are open, oldest first, and the hosts that could not say."""

    approvals: tuple[PendingEntry, ...]
    errors: tuple[Trouble, ...]


class Acted(msgspec.Struct, frozen=True):
    """It is done. `message`: how, where that is not plain."""

    key: str
    message: str


def routes(service: Service) -> list[Route]:
    """All of them, to stand before those that read."""
    api = _Control(service)
    session = "/v1/sessions/{key:path}"
    return [
        Route("/v1/hosts/{name}/control", _acting(api.relay, NDJSON), methods=["POST"]),
        Route("/v1/sessions/start", _acting(api.start), methods=["POST"]),
        Route(f"{session}/send", _acting(api.send), methods=["POST"]),
        Route(f"{session}/interrupt", _acting(api.interrupt), methods=["POST"]),
        Route(f"{session}/decide", _acting(api.decide), methods=["POST"]),
        Route(f"{session}/answer", _acting(api.answer), methods=["POST"]),
        Route(f"{session}/stop", _acting(api.stop), methods=["POST"]),
        Route(f"{session}/logs", _scoped(api.logs)),
        Route("/v1/approvals", _scoped(api.approvals)),
        Route("/v1/runs", _scoped(api.runs)),
        Route("/v1/runs/prune", _acting(api.prune), methods=["POST"]),
        Route("/v1/runs/{key:path}", _scoped(_own(api.delete)), methods=["DELETE"]),
    ]


Answer = Callable[[Request], Awaitable[Response]]


class _Control:
    """One method a route."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._by = verbs.asker()

    async def start(self, request: Request) -> Response:
        """Start the same on every host."""
        body = await _body(request, StartBody)
        specs = self._service.select(body.host, body.exclude)
        asked = wire.Start(
            prompt=body.prompt, tool=body.tool, mode=body.mode, name=body.name, cwd=body.cwd, model=body.model,
            sandbox=body.sandbox, approval=body.approval, resume=body.resume, fork=body.fork,
            arguments=body.arguments, by=self._by,
        )  # fmt: skip
        return json_answer(_runs(await verbs.start(self._service.streams, specs, asked)))

    async def send(self, request: Request) -> Response:
        """Say something to a session."""
        body = await _body(request, SendBody)
        return await self._act(request, lambda target: wire.Send(target=target, text=body.text, by=self._by))

    async def interrupt(self, request: Request) -> Response:
        """End its turn."""
        await _body(request, InterruptBody)
        return await self._act(request, lambda target: wire.Interrupt(target=target, by=self._by))

    async def decide(self, request: Request) -> Response:
        """Decide an approval."""
        body = await _body(request, DecideBody)

        def asked(target: wire.Target) -> wire.Decide:
            return wire.Decide(target=target, decision=body.decision, request_id=body.request_id, by=self._by)

        return await self._act(request, asked, selectors.check_fresh)

    async def answer(self, request: Request) -> Response:
        """Answer questions."""
        body = await _body(request, AnswerBody)

        def asked(target: wire.Target) -> wire.Answer:
            return wire.Answer(target=target, answers=body.answers, request_id=body.request_id, by=self._by)

        return await self._act(request, asked, selectors.check_fresh)

    async def stop(self, request: Request) -> Response:
        """End its processes."""
        body = await _body(request, StopBody)
        return await self._act(
            request, lambda target: wire.Stop(target=target, grace_s=body.grace_s, by=self._by)
        )

    async def delete(self, request: Request) -> Response:
        """Forget a run."""
        stop = flag(request, "stop")
        return await self._act(request, lambda target: wire.Delete(target=target, stop=stop, by=self._by))

    async def prune(self, request: Request) -> Response:
        """Forget what has ended."""
        body = await _body(request, PruneBody)
        specs, asked = self._service.select(body.host, ()), wire.Prune(older_s=body.older_s, by=self._by)
        return json_answer(_runs(await verbs.prune(self._service.streams, specs, asked)))

    async def runs(self, request: Request) -> Response:
        """Every run."""
        return json_answer(_runs(await verbs.runs(self._service.streams, self._specs(request), self._by)))

    async def approvals(self, request: Request) -> Response:
        """Everything that is open."""
        answers = await verbs.approvals(self._service.streams, self._specs(request), self._by)
        clocks = {answer.host: answer.clock_at for answer in answers}
        found = verbs.oldest_first(answers)
        entries = tuple(pending_entry(host, pending, clocks[host]) for host, pending in found)
        return json_answer(Open(entries, _errors(answers)))

    async def relay(self, request: Request) -> Response:
        """Whatever is asked of one host, as it is asked and answered on the control wire."""
        name = request.path_params["name"]
        spec = self._service.config.hosts.get(name)
        if spec is None:
            raise ApiError(404, "not_found", f"there is no host {name}", "the hosts are in /v1/hosts")
        return Relay(self._service, verbs.permitted(spec), self._by)

    async def logs(self, request: Request) -> Response:
        """What a session said, one JSON object a line; with `follow` until it ends."""
        follow, stderr = flag(request, "follow"), flag(request, "stderr")
        after_seq, from_bytes = count(request, "after_seq"), count(request, "from_bytes")
        since_s = number(request, "since_s", MAX_SINCE_S)
        spec, session = await self._session(request.path_params["key"])

        def asked(clock_at: float) -> wire.Logs:
            return wire.Logs(
                target=session.target, follow=follow, stderr=stderr, after_seq=after_seq, from_bytes=from_bytes,
                since_at=None if since_s is None else max(0.0, clock_at - since_s), by=self._by,
            )  # fmt: skip

        replies = verbs.follow(self._service.streams, spec, asked)
        first = await anext(replies)  # what is refused is refused with a status, not in mid-stream
        headers = {"cache-control": "no-store"}
        return StreamingResponse(_lines(first, replies), media_type=NDJSON, headers=headers)

    async def _act(
        self,
        request: Request,
        make: Callable[[wire.Target], Action],
        check: Callable[[Candidate], object] = selectors.actable,
    ) -> Response:
        spec, session = await self._session(request.path_params["key"])
        check(session)
        answered = await verbs.act(self._service.streams, spec, make(session.target))
        return json_answer(Acted(session.key, answered.message))

    async def _session(self, key: str) -> tuple[HostSpec, Candidate]:
        """The one with this key: `host:id` or `host:name`, in full. Raises `ApiError`, `RequestRefused`."""
        streams, name = self._service.streams, key.partition(":")[0]
        spec = self._service.config.hosts.get(name)
        if spec is None or name not in streams.fleet.hosts:
            raise _unknown(key)
        verbs.permitted(spec)
        if streams.fleet.hosts[name].link in (Link.UP, Link.SLOW):
            await streams.refresh([name], REFRESH_S)
        answers = await verbs.runs(streams, [spec], self._by)
        _raise_trouble(answers[0])
        only = Fleet(0, MappingProxyType({name: streams.fleet.hosts[name]}))
        seen = document(only, time.time(), time.monotonic()).sessions
        found = selectors.known(key, selectors.candidates(seen, verbs.newest_first(answers)), ())
        if found is None:
            raise _unknown(key)
        return spec, found

    def _specs(self, request: Request) -> Sequence[HostSpec]:
        """The hosts of the query; if it names none, all that may be controlled."""
        query = request.query_params
        chosen = self._service.select(query.getlist("host"), query.getlist("exclude"))
        return chosen if query.getlist("host") else [spec for spec in chosen if spec.control]


def _acting(answer: Answer, content_type: str = JSON) -> Answer:
    """For what takes a body: its content type has to be that of JSON, or of lines of it."""

    async def checked(request: Request) -> Response:
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != content_type:
            hint = f"send `Content-Type: {content_type}`"
            raise ApiError(415, "content_type", "the body has to be JSON, and say so", hint)
        return await answer(request)

    return _scoped(_own(checked))


def _own(answer: Answer) -> Answer:
    """For what acts: not from another site's page."""

    async def checked(request: Request) -> Response:
        headers = request.headers
        origin, site = headers.get("origin"), headers.get("sec-fetch-site", "none")
        ours = {f"{scheme}://{headers.get('host', '')}" for scheme in ("http", "https")}
        if site not in ("same-origin", "none") or (origin is not None and origin not in ours):
            hint = "this is not for pages in a browser"
            raise ApiError(403, "forbidden", "the request comes from another site", hint)
        return await answer(request)

    return checked


def _scoped(answer: Answer) -> Answer:
    """For whoever may control: everybody who reaches the Unix socket; over TCP, who shows that token."""

    async def checked(request: Request) -> Response:
        if not request.scope.get(SCOPE, True):
            hint = "the token in the file control-token, beside it, may do more"
            raise ApiError(403, "forbidden", "this token may only read", hint)
        return await answer(request)

    return checked


async def _body(request: Request, kind: type[T]) -> T:
    raw = bytearray()
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > MAX_BODY_BYTES:
            raise ApiError(422, "too_long", f"a body of more than {MAX_BODY_BYTES >> 20} MiB", "send less")
    try:
        return msgspec.json.decode(bytes(raw), type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise ApiError(422, "usage", f"the body: {exc}", "its schema is in /openapi.json") from None


def _unknown(key: str) -> ApiError:
    hint = "keys are in /v1/fleet, sessions[].key, and in /v1/runs"
    return ApiError(404, "not_found", f"there is no session {key}", hint)


def _raise_trouble(answered: Answered) -> None:
    if answered.error is not None:
        error = answered.error
        raise HostFailure(error.kind, error.phase, f"{answered.host}: {error.message}", error.hint)
    if answered.refused is not None:
        raise answered.refused


def _runs(answers: Sequence[Answered]) -> Runs:
    clocks = {answer.host: answer.clock_at for answer in answers}
    found = verbs.newest_first(answers)
    return Runs(tuple(run_entry(host, run, clocks[host]) for host, run in found), _errors(answers))


def _errors(answers: Sequence[Answered]) -> tuple[Trouble, ...]:
    return tuple(found for a in answers if (found := trouble(a.host, a.error, a.refused)))


async def _lines(first: wire.Reply, others: AsyncGenerator[wire.Reply, None]) -> AsyncIterator[bytes]:
    """As NDJSON. What goes wrong later than the status can tell is a line of its own, the last."""
    async with aclosing(others):
        yield line(first)
        try:
            async for reply in others:
                yield line(reply)
        except RequestRefused as exc:
            yield line(wire.Refused(exc.kind, exc.message, exc.hint, exc.candidates))
        except HostFailure as exc:
            yield line(Failed(exc.error))


def refused(exc: RequestRefused) -> ApiError:
    """What a host, or hosts.toml, refuses."""
    return ApiError(_STATUS.get(exc.kind, 502), exc.kind, exc.message, exc.hint)


def unreached(exc: HostFailure) -> ApiError:
    """A host that cannot be reached now."""
    return ApiError(503, exc.error.kind, exc.error.message, exc.error.hint, exc.error.phase)


TYPES: tuple[Any, ...] = (
    StartBody, SendBody, InterruptBody, DecideBody, AnswerBody, StopBody, PruneBody, Runs, Open, Acted,
)  # fmt: skip
