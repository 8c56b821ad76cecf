"""fleet_agent.control.exec: one process of a tool, from its prompt to its end."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fleet_agent.control import exec as exec_mode
from fleet_agent.control.driver import Outcome, SpawnFailed
from fleet_agent.control.events import Event, Failure, Message, Prompted, SessionStarted
from fleet_agent.control.exec import ExecDriver, parser
from fleet_agent.control.groups import Started
from fleet_agent.control.wire import Decide, Done, Interrupt, Refused, Send, Target
from lab import procs
from lab.waiting import wait_until

MESSAGE = '{"type":"item.completed","item":{"id":"i","type":"agent_message","text":"%s"}}'
TARGET = Target(name="x")


class Run:
    """A driver of `bash -c SCRIPT`, and what came of it."""

    def __init__(self, directory: Path, script: str, prompt: bytes = b"", argv: tuple[str, ...] = ()) -> None:
        self.marks = {"FLEET_RUN": "x", "FLEET_RUN_ID": str(directory)}
        self.events: list[Event] = []
        self.errors = b""
        self.spawned: list[Started] = []
        environ = {**os.environ, **self.marks}
        self.driver = ExecDriver(
            argv or ("bash", "-c", script), str(directory), environ, prompt, parser("codex"), self.marks,
            self.spawned.append,
        )  # fmt: skip

    async def run(self) -> Outcome:
        return await self.driver.run(self.events.append, self._take)

    def _take(self, data: bytes) -> None:
        self.errors += data

    def to_its_end(self) -> Outcome:
        return asyncio.run(asyncio.wait_for(self.run(), 20))

    async def until(self, look: Callable[[], object]) -> "asyncio.Task[Outcome]":
        """Start it, and wait until `look` finds something."""
        task = asyncio.create_task(self.run())
        async with asyncio.timeout(10):
            while not look():
                await asyncio.sleep(0.01)
        return task


@pytest.fixture(autouse=True)
def nothing_is_left(tmp_path: Path) -> Iterator[None]:
    yield
    procs.end_carrying(FLEET_RUN_ID=str(tmp_path))


def test_the_prompt_is_on_stdin_which_is_then_closed(tmp_path: Path) -> None:
    """A prompt of any size, whole, then its end, for which some tools wait; its cwd; a group of its own."""
    prompt = b"a" * 500_000 + b"\nend"
    run = Run(tmp_path, "wc -c > count; pwd > where; ps -o pgid= -p $$ > group; echo $$ > pid; exit 3", prompt)
    assert run.to_its_end() == Outcome(exit_code=3)
    assert int((tmp_path / "count").read_text()) == len(prompt)
    assert (tmp_path / "where").read_text().strip() == str(tmp_path)
    assert int((tmp_path / "group").read_text()) == int((tmp_path / "pid").read_text()) == run.spawned[0].pid
    assert isinstance(run.events[0], Prompted)
    assert run.events[0].text.endswith("\nend")


def test_a_tool_that_never_reads_its_prompt_is_not_waited_for(tmp_path: Path) -> None:
    """A full pipe holds nothing up."""
    assert Run(tmp_path, "exit 0", b"x" * 1_000_000).to_its_end() == Outcome(exit_code=0)


def test_what_it_prints(tmp_path: Path) -> None:
    """Events in their order, its stderr, lines that are none, and a last line without an end."""
    script = (
        """echo '{"type":"thread.started","thread_id":"0199"}'; echo no json; echo oops >&2; """
        f"""echo '{MESSAGE % "one"}'; printf '%s' '{MESSAGE % "two"}'"""
    )
    run = Run(tmp_path, script)
    assert run.to_its_end() == Outcome(exit_code=0)
    _, started, bad, one, two = run.events
    assert started == SessionStarted("0199")
    assert isinstance(bad, Failure)
    assert (one, two) == (Message("one", "i"), Message("two", "i"))
    assert run.errors == b"oops\n"


def test_a_flood_is_bounded(tmp_path: Path) -> None:
    """A line of 8 MiB is skipped and counted; what comes after it is read."""
    run = Run(tmp_path, f"head -c 8388608 /dev/zero | tr '\\0' x; echo; echo '{MESSAGE % 'after'}'")
    assert run.to_its_end() == Outcome(exit_code=0)
    _, dropped, after = run.events
    assert isinstance(dropped, Failure)
    assert dropped.dropped_bytes == 8 << 20
    assert after == Message("after", "i")


def test_the_end_by_a_signal(tmp_path: Path) -> None:
    """The signal's number, and no exit code."""
    assert Run(tmp_path, "kill -9 $$").to_its_end() == Outcome(signal=signal.SIGKILL)


def test_a_child_that_keeps_its_output_open_holds_nothing_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that the tool left running is not waited for."""
    monkeypatch.setattr(exec_mode, "DRAIN_S", 0.2)
    begun_s = time.monotonic()
    assert Run(tmp_path, "sleep 300 & exit 0").to_its_end() == Outcome(exit_code=0)
    assert time.monotonic() - begun_s < 5


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("/no/such/tool",), "No such file"),
        (("/etc/passwd",), "Permission denied"),
        (("true", "\0"), "null byte"),
    ],
)
def test_a_program_that_cannot_be_started(tmp_path: Path, argv: tuple[str, ...], said: str) -> None:
    """The program is named, with the reason; nothing was said."""
    run = Run(tmp_path, "", argv=argv)
    with pytest.raises(SpawnFailed, match=said) as failed:
        run.to_its_end()
    assert argv[0] in failed.value.message
    assert not run.events
    assert not run.spawned


def test_stop_ends_all_of_it(tmp_path: Path) -> None:
    """TERM, then KILL, for whatever belongs to it; then it has ended."""

    async def stopped() -> Outcome:
        run = Run(tmp_path, "trap '' TERM; setsid sleep 300 & touch up; while :; do sleep 0.1; done")
        task = await run.until((tmp_path / "up").exists)
        await run.driver.stop(0.2)
        return await task

    assert asyncio.run(stopped()) == Outcome(signal=signal.SIGKILL)
    assert not any(p.alive() for p in procs.carrying(FLEET_RUN_ID=str(tmp_path)))


def test_what_it_can_be_told(tmp_path: Path) -> None:
    """An interrupt; anything else is refused with what would work."""

    async def told() -> Outcome:
        run = Run(tmp_path, "trap 'exit 1' INT; touch up; while :; do sleep 0.05; done")
        early = await run.driver.act(Interrupt(TARGET))
        assert isinstance(early, Refused)
        task = await run.until((tmp_path / "up").exists)
        try:
            for request in (Send(TARGET, "more"), Decide(TARGET, "accept")):
                refused = await run.driver.act(request)
                assert isinstance(refused, Refused)
                assert (refused.kind, "resume" in refused.hint) == ("not_possible", True)
            assert run.driver.pending() == []
            assert isinstance(await run.driver.act(Interrupt(TARGET)), Done)
            return await asyncio.wait_for(asyncio.shield(task), 20)
        finally:
            await run.driver.stop(0.2)  # or a failure would be waited for with it

    assert asyncio.run(told()) == Outcome(exit_code=1)


@pytest.mark.skipif(sys.platform != "linux", reason="prctl(2)")
def test_it_does_not_outlive_a_killed_supervisor(tmp_path: Path) -> None:
    """A tool whose output nobody reads any more gets TERM, even when it prints nothing."""
    code = (
        "import asyncio, os, sys; from fleet_agent.control.exec import ExecDriver, parser\n"
        "driver = ExecDriver(('bash', '-c', 'touch up; exec sleep 300'), sys.argv[1], os.environ, b'',"
        " parser('codex'), {}, print)\n"
        "asyncio.run(driver.run(print, print))"
    )
    environ = {**os.environ, "FLEET_RUN_ID": str(tmp_path)}
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL) as supervisor:
        wait_until((tmp_path / "up").exists, "the tool runs", timeout_s=20)
        (tool,) = [p for p in procs.carrying(FLEET_RUN_ID=str(tmp_path)) if p.pid != supervisor.pid]
        supervisor.kill()
        supervisor.wait()
        assert procs.wait_gone([tool], timeout_s=5) == []
