"""Every verb on every way to run Codex, over real sshd: it does it, or is refused with what would work.

What is found is held against the table "What works where" of docs/control.md.
"""

import asyncio
import re
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from fleet_agent.control.events import Asked, Message, TurnEnded, TurnStarted
from fleet_agent.control.wire import (
    Answer,
    Approvals,
    Attach,
    Decide,
    Delete,
    Done,
    Interrupt,
    List,
    Logs,
    Pending,
    Prune,
    Refused,
    Reply,
    Run,
    Said,
    Send,
    Start,
    Stop,
    Target,
)
from lab.controlled import Controlled
from lab.dialogues import dialogue
from lab.mock_responses import MockResponses

pytestmark = pytest.mark.sshd

WITHIN_S = 40.0
LIFE_S = 90.0
DOCS = Path(__file__).parents[2] / "docs/control.md"
CONFIG = "[features]\ndefault_mode_request_user_input = true\n"
OLD = "0.155.0"
Words = dict[str, str]


class Backend:
    """One way to run Codex. `prove` has a session live its life by the verbs: verb -> what came of it."""

    def __init__(self, hosts: Controlled, api: MockResponses, column: str, mode: str, *arguments: str) -> None:
        self.column, self.mode, self.arguments = column, mode, arguments
        self.tag = f"{mode}-{secrets.token_hex(3)}"  # tmux's sessions are those of the whole machine
        self.target = Target(name=f"{self.tag}-1")
        self._hosts, self._api, self._started = hosts, api, 0

    async def prove(self) -> Words:
        """All verbs but prune, on connections of its own."""
        async with AsyncExitStack() as connections:
            self._one, self._two, self._three = [
                await connections.enter_async_context(dialogue(self._hosts.fleet)) for _ in range(3)
            ]
            connections.push_async_callback(self.leave_nothing)
            found = {"run": await self.run(), "ps": await self.ps()}
            found["attach"], found["logs"], found["send"] = await self.look_on_and_send()
            found["interrupt"] = await self.interrupt()
            found |= await self.answer_all()
            found |= {"stop": await self.stop(), "delete": await self.delete()}
            return found | {"run --resume": await self.resume(), "run --fork": await self.fork()}

    async def leave_nothing(self) -> None:
        """Stop whatever of it still runs."""
        async with dialogue(self._hosts.fleet) as one:
            for run in await one.ask(List()):
                if isinstance(run, Run) and run.name.startswith(self.tag) and run.state == "running":
                    await one.end(Stop(Target(name=run.name)))

    async def run(self) -> str:
        """Its first turn is held by the model."""
        run = await self.start("HOLD begun SAY begun")
        await self.held("begun")
        return "yes" if run.state == "running" else run.state

    async def ps(self) -> str:
        run = await self.state()
        return "yes" if (run.state, run.mode) == ("running", self.mode) else run.state

    async def look_on_and_send(self) -> tuple[str, str, str]:
        """Two more who look on while something is said to it in mid-turn."""
        self._two.write(Attach(self.target))
        self._two.write(List())
        attached = await self._two.hear()
        self._three.write(Logs(self.target, follow=True))
        sent = word(await self._one.end(Send(self.target, "SAY steered")))
        self._api.release(f"{self.tag}-begun")
        if isinstance(attached, Done):  # of the list: whoever is attached may ask
            attached = await self._two.hear(self.answered)
        followed = await self._three.hear(self.answered)
        return heard(attached), heard(followed), sent

    def answered(self, reply: Reply) -> bool:
        """Whether it is what the first turn comes to: what was sent takes the place of what was held."""
        return said(reply, "begun") or said(reply, "steered")

    async def interrupt(self) -> str:
        """The session lives on."""
        await self.busy("interrupted")
        done = word(await self._one.end(Interrupt(self.target)))
        await soon(lambda: '"turn_aborted"' in self.rollout().read_text(), "its turn is recorded as aborted")
        return "the turn" if (done, (await self.state()).state) == ("yes", "running") else done

    async def answer_all(self) -> Words:
        """A command that is approved, one that is denied, a question."""
        made, not_made = (self._hosts.project / f"{self.tag}-{name}" for name in ("made", "not-made"))
        await self.tell(f"ESC touch {made} ;; SAY approved")
        asked = await self.asks(lambda one: made.name in (getattr(one.request, "command", None) or ""))
        found = {"approvals": "yes"}
        found["approve"] = word(await self.decide("accept", asked))
        await soon(made.exists, "it is made")
        await self.says("approved")
        await self.tell(f"ESC touch {not_made} ;; SAY denied")
        asked = await self.asks(lambda one: not_made.name in (getattr(one.request, "command", None) or ""))
        found["deny"] = word(await self.decide("decline", asked))
        assert not not_made.exists()
        return found | {"answer": await self.answer()}

    async def answer(self) -> str:
        await self.says("denied")
        await self.tell("ASK which ;; SAY answered")
        asked = await self.asks(lambda one: isinstance(one.request, Asked))
        assert isinstance(asked.request, Asked)
        answers: dict[str, tuple[str, ...]] = {question.id: ("Beta",) for question in asked.request.questions}
        answered = word(await self._one.end(Answer(self.target, answers, asked.request.request_id)))
        await self.says("answered")
        return answered

    async def stop(self) -> str:
        """A run that is not stopped is not deleted."""
        assert word(await self._one.end(Delete(self.target))) == "no"
        done = word(await self._one.end(Stop(self.target)))
        return done if (await self.state()).state == "exited" else "it goes on"

    async def delete(self) -> str:
        done = word(await self._one.end(Delete(self.target)))
        return done if await self._one.run(self.target.name or "") is None else "it is still there"

    async def resume(self) -> str:
        """The same session goes on, in another run."""
        before = self.rollout()
        await self.again("resumed", resume=session_of(before))
        return "yes" if "resumed" in before.read_text() else "another session"

    async def fork(self) -> str:
        """A session of its own goes on; the other stays as it is."""
        before, text = self.rollout(), f"forked by {self.tag}"
        await self.again(text, fork=session_of(before))
        (copy,) = [path for path in self.rollouts() if text in path.read_text()]
        return "yes" if copy != before else "the same session"

    async def again(self, text: str, **before: str) -> None:
        """One more run, to its end."""
        run = await self.start(f"SAY {text}", **before)
        self.target = Target(name=run.name)
        await self.says(text)
        assert word(await self._one.end(Stop(self.target))) == "yes"

    async def start(self, prompt: str, **more: str) -> Run:
        """A run of this kind."""
        self._started += 1
        name, cwd = f"{self.tag}-{self._started}", str(self._hosts.project)
        settings: dict[str, Any] = {"mode": self.mode, "arguments": self.arguments, **more}
        asked = Start(prompt=self.tagged(prompt), name=name, cwd=cwd, **settings)
        replies = await self._one.ask(asked)
        assert isinstance(replies[0], Run), replies
        assert replies[-1] == Done(), replies
        return replies[0]

    async def busy(self, name: str) -> None:
        """Have it at a turn that the model holds."""
        await self.tell(f"HOLD {name} SAY x")
        await self.held(name)

    async def tell(self, text: str) -> None:
        """A new turn, once the one before has ended."""
        await self._one.until(Logs(self.target), lambda all_: rests(all_) or None, WITHIN_S)
        assert word(await self._one.end(Send(self.target, self.tagged(text)))) == "yes"

    def tagged(self, text: str) -> str:
        """What is held is held for this column alone."""
        return text.replace("HOLD ", f"HOLD {self.tag}-")

    async def held(self, name: str) -> None:
        await soon(lambda: self._api.holds(f"{self.tag}-{name}"), f"the model holds {name}")

    async def asks(self, wanted: Callable[[Pending], bool]) -> Pending:
        """What it asks, as `fleet approvals` has it."""

        def look(replies: list[Reply]) -> Pending | None:
            ours = (one for one in replies if isinstance(one, Pending) and one.name == self.target.name)
            return next(filter(wanted, ours), None)

        return await self._one.until(Approvals(), look, WITHIN_S)

    async def decide(self, decision: str, asked: Pending) -> Done | Refused:
        """Two do at once, and one of them is too late."""
        request = Decide(self.target, decision, asked.request.request_id)
        async with dialogue(self._hosts.fleet) as other:
            both = await asyncio.gather(self._one.end(request), other.end(request))
        late = [reply.kind for reply in both if isinstance(reply, Refused)]
        assert late == ["already_resolved"], both
        return next(reply for reply in both if isinstance(reply, Done))

    async def says(self, text: str) -> None:
        """Wait until its log has what the model said."""
        await self._one.until(
            Logs(self.target), lambda all_: any(said(one, text) for one in all_) or None, WITHIN_S
        )

    async def state(self) -> Run:
        run = await self._one.run(self.target.name or "")
        assert run
        return run

    def rollouts(self) -> list[Path]:
        """Those that Codex keeps on that host, the oldest first."""
        found = (self._hosts.fleet.home("h0001") / ".codex/sessions").rglob("rollout-*.jsonl")
        return sorted(found, key=lambda path: path.stat().st_ctime)

    def rollout(self) -> Path:
        """The one of its first session."""
        return next(path for path in self.rollouts() if f"HOLD {self.tag}-begun" in path.read_text())


class Exec(Backend):
    """It takes one prompt and asks nothing: what needs a running one is asked of further ones."""

    async def busy(self, name: str) -> None:
        """One that the model holds."""
        run = await self.start(f"HOLD {name} SAY x")
        self.target = Target(name=run.name)
        await self.held(name)

    async def interrupt(self) -> str:
        """It ends with its turn."""
        await self.busy("interrupted")
        done = word(await self._one.end(Interrupt(self.target)))
        run = await self._one.until(List(), lambda runs: ended(runs, self.target), WITHIN_S)
        return "ends it" if (done, run.exit_code) == ("yes", 1) else done

    async def answer_all(self) -> Words:
        """It is asked while it runs."""
        await self.busy("never")
        pending = [
            one for one in await self._one.ask(Approvals()) if getattr(one, "name", None) == self.target.name
        ]
        decided = [word(await self._one.end(Decide(self.target, one))) for one in ("accept", "decline")]
        answered = word(await self._one.end(Answer(self.target, {"q": ("x",)})))
        shown = "asks nothing" if not pending else "yes"
        return {"approvals": shown, "approve": decided[0], "deny": decided[1], "answer": answered}


class Terminal(Backend):
    """Its own screen, in tmux."""

    async def answer(self) -> str:
        """Questions are for a person at the terminal."""
        return word(await self._one.end(Answer(self.target, {"q": ("x",)})))


def word(reply: Reply) -> str:
    """yes: done. no: refused, with what would work."""
    if isinstance(reply, Refused):
        assert reply.kind == "not_possible", reply
        assert reply.hint
        return "no"
    assert isinstance(reply, Done), reply
    return "yes"


def said(reply: Reply, text: str) -> bool:
    """Whether the model said it, not a person who asked for it."""
    if not isinstance(reply, Said) or not isinstance(reply.event, Message):
        return False
    return re.search(rf"(?<!SAY ){text}", reply.event.text) is not None


def rests(replies: list[Reply]) -> bool:
    """Whether the newest turn in a log has ended."""
    events = [reply.event for reply in replies if isinstance(reply, Said)]
    turns = [event for event in events if isinstance(event, (TurnStarted, TurnEnded))]
    return bool(turns) and isinstance(turns[-1], TurnEnded)


def heard(reply: Reply) -> str:
    """yes: of what the session said."""
    return "yes" if isinstance(reply, Said) else word(reply)


def ended(replies: list[Reply], target: Target) -> Run | None:
    runs = [one for one in replies if isinstance(one, Run) and one.name == target.name]
    return next((run for run in runs if run.state == "exited"), None)


def session_of(rollout: Path) -> str:
    return rollout.stem[-36:]


async def soon(there: Callable[[], bool], what: str) -> None:
    """Wait until something is so, and let the others go on meanwhile."""
    until_s = time.monotonic() + WITHIN_S
    while not there():
        assert time.monotonic() < until_s, f"it did not come about: {what}"
        await asyncio.sleep(0.05)


@pytest.fixture(
    params=[pytest.param("", marks=pytest.mark.codex, id="now"), pytest.param(OLD, marks=pytest.mark.old_codex)]
)
def backends(
    request: pytest.FixtureRequest, tmp_path: Path, mock_api: MockResponses
) -> Iterator[tuple[Controlled, list[Backend]]]:
    """The ways to run one release of Codex on a host."""
    release = {"version": request.param} if request.param else {}
    with Controlled(
        tmp_path, mock_api, approval="on-request", sandbox="read-only", config=CONFIG, **release
    ) as hosts:
        if release:
            yield hosts, [Backend(hosts, mock_api, "app-server before 0.163", "app-server")]
        else:
            yield (
                hosts,
                [
                    Exec(hosts, mock_api, "exec", "exec"),
                    Backend(hosts, mock_api, "app-server", "app-server"),
                    Terminal(hosts, mock_api, "tmux", "tmux", "--no-daemon"),  # quicker to start
                ],
            )


def test_what_works_where(backends: tuple[Controlled, list[Backend]]) -> None:
    """Every cell of the documented table is what happens."""
    hosts, ways = backends

    async def prove() -> dict[str, Words]:
        found = await asyncio.gather(*(asyncio.wait_for(way.prove(), LIFE_S) for way in ways))
        async with dialogue(hosts.fleet) as one:
            pruned = {run.name for run in await one.ask(Prune()) if isinstance(run, Run)}
        for way, words in zip(ways, found, strict=True):
            words["prune"] = "yes" if way.target.name in pruned else "it is still there"
        return {way.column: words for way, words in zip(ways, found, strict=True)}

    found = asyncio.run(prove())
    print(*matrix(found), sep="\n")
    documented = table()
    assert found == {column: documented[column] for column in found}


def matrix(found: dict[str, Words]) -> Iterator[str]:
    """What was found, in words, a line a verb."""
    yield f"{'':14}" + "".join(f"{column:24}" for column in found)
    for verb in next(iter(found.values())):
        yield f"{verb:14}" + "".join(f"{words[verb]:24}" for words in found.values())


def table() -> dict[str, Words]:
    """Column -> verb -> word, as docs/control.md has it; several verbs may share a row."""
    section = DOCS.read_text().partition("\n## What works where\n")[2].partition("\n## ")[0]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if "|" in line
    ]
    (_, *columns), _, *lines = rows
    verbs = [(verb.strip("` "), line) for line in lines for verb in line[0].split(",")]
    return {column: {verb: line[number] for verb, line in verbs} for number, column in enumerate(columns, 1)}
