"""A session of ours in a Codex app-server, from its start to its end.

It stays until it is stopped or its thread is closed. A turn is asked for once: when the connection is lost
after that, nobody can tell whether the server had begun it, so it is never asked for again.

`thread/start` in a git repository, with sandbox workspace-write or danger-full-access asked for, makes Codex
note that repository as trusted in the user's config.toml (measured on 0.169), as a person's "yes" in its
terminal does.
"""

import asyncio
from collections.abc import Callable, Mapping

from fleet_agent.control import groups, policy, programs, wire
from fleet_agent.control.appserver import protocol
from fleet_agent.control.appserver.attached import Attached, Reply, Shared
from fleet_agent.control.appserver.client import Client
from fleet_agent.control.appserver.deadlines import TURN_END_S, Deadlines, is_progress
from fleet_agent.control.appserver.gate import Gate
from fleet_agent.control.appserver.protocol import Asked, RpcError, Told, Unreadable
from fleet_agent.control.appserver.rollouts import last_total
from fleet_agent.control.appserver.servers import HostDaemon, OwnAppServer, Server, home_of
from fleet_agent.control.appserver.shapes import Opened, Turns, no_input
from fleet_agent.control.appserver.thread import Open, Thread
from fleet_agent.control.audit import Audit
from fleet_agent.control.driver import Action, Outcome, SpawnFailed
from fleet_agent.control.events import Event, Failure, SessionStarted, TurnEnded, TurnStarted, Used
from fleet_agent.tools.codex.lines import release as release_of
from fleet_agent.wire import Tokens

DAEMON_SINCE = (0, 163)
PAUSES_S = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)  # before each attempt to connect again
SENT_AGAIN_S = 2.0  # from resuming a thread to the requests that wait in it
_NEWEST_TURNS = 10
_TURN_ENDS = {"completed": "completed", "failed": "failed", "interrupted": "aborted"}


class AppServerDriver:
    """A `Driver`. `gate`: what may be answered without a person. Without a prompt it waits for the first."""

    def __init__(
        self,
        start: wire.Start,
        server: Server,
        gate: Gate,
        pauses_s: tuple[float, ...] = PAUSES_S,
        shared: Shared | None = None,
    ) -> None:
        self._start, self._server, self._gate, self._pauses_s = start, server, gate, pauses_s
        self._shared = shared
        self._attached: Attached | None = None
        self._deadlines = Deadlines()
        self._wake = asyncio.Event()
        self._stopping = False
        self._grace_s = 0.0
        self._settle_at_s: float | None = None
        self._rollout: str | None = None
        self._total: Tokens | None = None
        self._tell: Callable[[Event], None] = lambda _: None
        self._stderr: Callable[[bytes], None] = lambda _: None

    async def run(self, say: Callable[[Event], None], stderr: Callable[[bytes], None]) -> Outcome:
        """The whole session. Raises `SpawnFailed` where there is none."""
        self._tell, self._stderr = say, stderr
        attached = self._attached = await self._open()
        try:
            if self._start.prompt is not None and not await self._first_turn(attached, self._start.prompt):
                return Outcome(exit_code=1)
            return await self._stay(attached)
        finally:
            if attached.client:
                await attached.client.close(self._grace_s)
                attached.client = None

    async def act(self, request: Action) -> Reply:
        """Say something to it, interrupt it, answer it."""
        if self._attached is None:
            return wire.Refused("not_possible", "the session is still being started", "try again soon")
        return await self._attached.act(request)

    def pending(self) -> list[wire.Pending]:
        """What waits for a person now, of its subagents too."""
        if self._attached is None:
            return []
        thread, start = self._attached.thread, self._start
        return [
            wire.Pending(
                found.asked.thread_id or thread.id, "codex", found.event, found.since_at, start.name, start.cwd
            )
            for found in thread.open.values()
        ]

    async def stop(self, grace_s: float) -> None:
        """Interrupt a running turn and leave. A daemon goes on, a server of our own ends within `grace_s`."""
        self._grace_s = grace_s
        attached = self._attached
        if attached and attached.client and attached.thread.running:
            await attached.act(wire.Interrupt(wire.Target()))
            await attached.until(lambda: not attached.thread.running, grace_s)
        self._stopping = True
        self._wake.set()

    async def _open(self) -> Attached:
        """Connect, and begin the thread or resume it."""
        try:
            connection = await self._server.open(self._stderr)
        except ConnectionError as exc:
            raise SpawnFailed(str(exc)) from exc
        client = Client(connection, lambda _: None)
        try:
            await client.greet()
            return await self._begin(client)
        except (RpcError, TimeoutError, ConnectionError) as exc:
            await client.close()
            raise SpawnFailed(f"Codex did not begin the session: {exc}") from exc
        except BaseException:
            await client.close()
            raise

    async def _begin(self, client: Client) -> Attached:
        resumed, forked = self._start.resume, self._start.fork
        if resumed is None:
            method, params = "thread/start", self._settings()
            if forked is not None:
                method, params = "thread/fork", self._of_thread(forked)
            opened = await client.call(method, params, Opened)
            attached = self._attach(client, opened.thread.id)
        else:
            read = await client.call("thread/read", {"threadId": resumed, "includeTurns": False}, Opened)
            if not read.thread.takes_input:
                refused = no_input(read.thread)
                raise SpawnFailed(refused.message, refused.hint)
            attached = self._attach(client, resumed)
            opened = await client.call("thread/resume", self._of_thread(resumed), Opened)
        self._rollout = opened.thread.path
        self._gate.approval_policy = opened.approval_policy
        model = opened.model or opened.thread.model
        self._say(SessionStarted(opened.thread.id, model, opened.thread.cli_version))
        return attached

    def _settings(self) -> dict[str, object]:
        """What was asked for; what was not is left to the tool's own configuration."""
        start = self._start
        asked = {
            "cwd": start.cwd,
            "model": start.model,
            "sandbox": start.sandbox,
            "approvalPolicy": start.approval,
        }
        return {name: value for name, value in asked.items() if value is not None}

    def _of_thread(self, thread_id: str) -> dict[str, object]:
        return {"threadId": thread_id, "excludeTurns": True, **self._settings()}

    def _attach(self, client: Client, thread_id: str) -> Attached:
        attached = Attached(
            Thread(thread_id), self._say, ours=True, shared=self._shared, took=self._took, asked=self._asked
        )
        attached.client = client
        client.redirect(attached.take)
        client.ended.add_done_callback(lambda _: self._wake.set())
        return attached

    async def _first_turn(self, attached: Attached, prompt: str) -> bool:
        assert attached.client
        attached.thread.arm()
        self._deadlines.turn_started(asyncio.get_running_loop().time())
        params = {"threadId": attached.thread.id, "input": protocol.text_input(prompt)}
        try:
            await attached.client.call("turn/start", params, dict)
        except RpcError as exc:
            self._say(Failure(f"Codex did not begin the turn: {exc.message}"))
            return False
        except (TimeoutError, ConnectionError) as exc:
            self._say(Failure(f"whether Codex began the turn is not known: {exc}"))
        return True

    async def _stay(self, attached: Attached) -> Outcome:
        while True:
            self._wake.clear()
            client = attached.client
            if self._stopping or attached.thread.closed:
                return Outcome(exit_code=0)
            if client is None or client.ended.done():
                if outcome := await self._reconnect(attached):
                    return outcome
                continue
            self._tell_overdue(attached)
            due_s = self._due_s()
            left_s = None if due_s is None else max(0.0, due_s - asyncio.get_running_loop().time())
            try:
                await asyncio.wait_for(self._wake.wait(), left_s)
            except asyncio.TimeoutError:
                continue

    def _due_s(self) -> float | None:
        """When something is overdue next."""
        due_s = [at_s for at_s in (self._deadlines.overdue_at_s, self._settle_at_s) if at_s is not None]
        return min(due_s, default=None)

    def _tell_overdue(self, attached: Attached) -> None:
        now_s = asyncio.get_running_loop().time()
        if silence := self._deadlines.overdue(now_s):
            self._say(Failure(silence, retrying=True))
        if self._settle_at_s is not None and now_s >= self._settle_at_s:
            self._settle_at_s = None
            attached.say(attached.thread.settle())

    def _say(self, event: Event) -> None:
        """Pass an event on; with a turn's end the tokens, where the server told none of it."""
        if isinstance(event, Used) and event.total:
            self._total = event.total
        elif isinstance(event, TurnStarted):
            self._deadlines.turn_started(asyncio.get_running_loop().time())
        elif isinstance(event, TurnEnded):
            self._deadlines.waiting()
            self._tell_total()
        self._tell(event)

    def _tell_total(self) -> None:
        attached = self._attached
        if attached is None or attached.thread.used or self._rollout is None:
            return
        total = last_total(self._rollout)
        if total is not None and total != self._total:
            self._total = total
            self._tell(Used(total))

    def _took(self, message: Told | Asked | Unreadable) -> None:
        """A message was taken: what that means for the time until the next."""
        if self._attached is None:
            return
        thread, now_s, due_before_s = self._attached.thread, asyncio.get_running_loop().time(), self._due_s()
        if thread.open:
            self._deadlines.waiting()
        elif thread.running and isinstance(message, Told) and is_progress(message.method, message.raw):
            self._deadlines.progress(now_s)
        if not (thread.running and thread.idle):
            self._settle_at_s = None
        elif self._settle_at_s is None:
            self._settle_at_s = now_s + TURN_END_S
        due_s = self._due_s()
        if thread.closed or (due_s is not None and (due_before_s is None or due_s < due_before_s)):
            self._wake.set()

    def _asked(self, found: Open) -> None:
        attached = self._attached
        if attached and self._gate.allows(found):
            attached.spawn(self._gate.accept(attached, found, self._start.name))

    async def _reconnect(self, attached: Attached) -> Outcome | None:
        """After the connection was lost: None when the session goes on over another, else how it ended."""
        assert attached.client
        lost, attached.client = attached.client, None
        why = lost.ended.result()
        await lost.close()
        if not self._server.survives:
            return self._give_up(attached, why, lost.connection.exit_status)
        self._say(Failure(f"{why}; connecting again", retrying=True))
        for pause_s in self._pauses_s:
            await self._pause(pause_s)
            if self._stopping:
                return Outcome(exit_code=0)
            try:
                connection = await self._server.open(self._stderr)
            except (ConnectionError, SpawnFailed) as exc:
                why = str(exc)
                continue
            client = Client(connection, attached.take)
            try:
                await self._go_on(attached, client, lost.connection.server_pid)
            except (TimeoutError, ConnectionError) as exc:
                why = str(exc)
                await client.close()
            except RpcError as exc:
                await client.close()
                return self._give_up(attached, f"Codex does not go on with the session: {exc.message}")
            else:
                return None
        return self._give_up(attached, why)

    async def _go_on(self, attached: Attached, client: Client, pid_before: int | None) -> None:
        """Subscribe again, and find out what became of the turn and of what waited for a person."""
        thread = attached.thread
        dead = client.connection.server_pid != pid_before or pid_before is None
        attached.say(thread.lost(dead=dead))
        await client.greet()
        opened = await client.call("thread/resume", {"threadId": thread.id, "excludeTurns": True}, Opened)
        status = opened.thread.status
        if status.waits:
            await attached.until(lambda: bool(thread.sent_again), SENT_AGAIN_S)
            await client.call("thread/read", {"threadId": thread.id}, dict)  # answered behind the last of them
        attached.say(thread.keep_open(thread.sent_again))
        if thread.running:
            await self._check_turn(attached, client, dead, status.type == "active")
        attached.client = client
        client.ended.add_done_callback(lambda _: self._wake.set())

    async def _check_turn(self, attached: Attached, client: Client, dead: bool, active: bool) -> None:
        """The turn that was running: if it ended while nobody listened, say how."""
        thread = attached.thread
        params = {"threadId": thread.id, "limit": _NEWEST_TURNS}
        turns = (await client.call("thread/turns/list", params, Turns)).data
        status = next((turn.status for turn in turns if turn.id == thread.turn_id), "")
        if active and not dead and status in ("", "inProgress"):
            return
        end = _TURN_ENDS.get(status, "failed")
        why = "Codex's server ended in mid-turn, and the turn with it" if dead and end != "completed" else None
        attached.say(thread.end_turn(end, why))

    def _give_up(self, attached: Attached, why: str, exit_status: int | None = 1) -> Outcome:
        self._say(Failure(why))
        attached.say(attached.thread.lost(dead=True))
        attached.say(attached.thread.end_turn("failed", why))
        if exit_status is None:
            return Outcome()
        return Outcome(exit_code=exit_status) if exit_status >= 0 else Outcome(signal=-exit_status)

    async def _pause(self, pause_s: float) -> None:
        """Wait, unless it is stopped meanwhile."""
        loop = asyncio.get_running_loop()
        until_s = loop.time() + pause_s
        while not self._stopping and (left_s := until_s - loop.time()) > 0:
            self._wake.clear()
            try:
                await asyncio.wait_for(self._wake.wait(), left_s)
            except asyncio.TimeoutError:
                return


def driver(
    start: wire.Start,
    program: str,
    release: str | None,
    environ: Mapping[str, str],
    marks: Mapping[str, str],
    audit: Audit,
    spawned: Callable[[groups.Started], None],
) -> AppServerDriver:
    """The driver of a new session of ours, in the host's daemon where this release of Codex has one.

    With `start.arguments` it is in a server of its own: a daemon takes none, as Codex's terminal knows too.
    `environ`: without the marks of the run, as they would mark the daemon. Raises `policy.BadPolicy`.
    """
    environ = {**environ, "PATH": programs.path_for(program, environ)}
    found = release_of(release)
    gate = Gate(policy.load(policy.path_of(environ)), audit)
    if not start.arguments and (found is None or found >= DAEMON_SINCE):
        home = home_of(environ)
        daemon = HostDaemon(home, program, environ)
        return AppServerDriver(start, daemon, gate, shared=Shared(audit.root, home))
    argv = (program, *start.arguments, "app-server")
    return AppServerDriver(start, OwnAppServer(argv, start.cwd, {**environ, **marks}, marks, spawned), gate)
