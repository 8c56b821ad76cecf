"""fleet_agent.stream: the stream, as a loop and as a real process."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fake_codex import rollout_path, sample, thread_id
from fleet_agent import stream
from fleet_agent.scan import Reading
from fleet_agent.stream import END, REFRESH, Commands, CommandSplitter, Frames, run, write_all
from fleet_agent.wire import Hello, Session


def reading(now: float, *states: str) -> Reading:
    return Reading(now, tuple(Session("codex", str(i), state) for i, state in enumerate(states)))


class TestFrames:
    def test_a_change_is_a_snapshot_and_time_alone_a_heartbeat(self) -> None:
        """What is sent for each reading; `seq` counts the frames."""
        frames = Frames()
        sent = [
            frames.of(reading(now, state), full=False)
            for now, state in ((1.0, "idle"), (2.0, "idle"), (3.0, "working"))
        ]
        kinds = [json.loads(lines[0])["type"] for lines in sent]
        assert kinds == ["snapshot", "heartbeat", "snapshot"]
        assert json.loads(sent[1][0]) == {"type": "heartbeat", "seq": 2, "now": 2.0}

    def test_figures_alone_are_sent_now_and_then(self) -> None:
        """CPU and memory change at every reading; a quiet host still sends heartbeats most of the time."""
        frames, kinds = Frames(), []
        for second in range(0, 26, 2):
            session = Session("codex", "a", cpu_percent=float(second))
            (line,) = frames.of(Reading(float(second), (session,)), full=False)
            kinds.append(json.loads(line)["type"][0])
        assert "".join(kinds) == "shhhhshhhhshh"

    def test_where_not_even_figures_change_nothing_is_sent(self) -> None:
        """Only heartbeats, however long."""
        frames = Frames()
        kinds = [
            json.loads(frames.of(reading(float(s), "idle"), full=False)[0])["type"] for s in range(0, 60, 5)
        ]
        assert kinds == ["snapshot", *["heartbeat"] * 11]

    def test_a_clock_that_is_set_back_does_not_stop_the_figures(self) -> None:
        """They would be old for as long as the clock went back."""
        frames = Frames()
        frames.of(Reading(5000.0, (Session("codex", "a", cpu_percent=1.0),)), full=False)
        (line,) = frames.of(Reading(1000.0, (Session("codex", "a", cpu_percent=2.0),)), full=False)
        assert json.loads(line)["type"] == "snapshot"

    def test_a_refresh_is_a_snapshot_in_any_case(self) -> None:
        """Who asks for the whole state gets it."""
        frames = Frames()
        frames.of(reading(1.0, "idle"), full=False)
        assert json.loads(frames.of(reading(2.0, "idle"), full=True)[0])["type"] == "snapshot"


class TestCommandSplitter:
    def test_only_refresh_is_a_command(self) -> None:
        """Unknown types, no JSON, deep nesting: passed over."""
        data = (
            b'{"type":"refresh"}\n{"type":"reboot"}\nnonsense\n\n'
            + b"[" * 100_000
            + b'\n{"type":"refresh","x":1}\n'
        )
        assert CommandSplitter().feed(data) == [REFRESH, REFRESH]

    @settings(deadline=None)
    @given(st.lists(st.sampled_from([b'{"type":"ref', b'resh"}', b"\n", b"x"]), max_size=20))
    def test_the_pieces_do_not_matter(self, chunks: list[bytes]) -> None:
        """Commands may come in any pieces."""
        splitter = CommandSplitter()
        assert [c for chunk in chunks for c in splitter.feed(chunk)] == CommandSplitter().feed(b"".join(chunks))

    def test_a_line_without_end_is_dropped(self) -> None:
        """A collector that never ends its line cannot fill the memory."""
        splitter = CommandSplitter()
        for _ in range(100):
            splitter.feed(b"x" * 10_000)
        assert len(splitter._held) <= 64 << 10


class TestRun:
    """The loop on a clock of its own: no test sleeps."""

    def play(self, commands: list[set[str]], states: list[str]) -> tuple[list[dict[str, Any]], list[float]]:
        """What is written, and how long each wait was told to be, when each scan takes 0.5 s of the clock."""
        now_s, waits, written = 0.0, [], []
        left, readings = iter(commands), iter(states)

        def clock() -> float:
            return now_s

        def scan() -> Reading:
            nonlocal now_s
            now_s += 0.5
            return reading(now_s, next(readings))

        def wait(timeout_s: float) -> set[str]:
            waits.append(timeout_s)
            return next(left)

        run(
            Hello(schema=1),
            scan,
            lambda line: written.append(json.loads(line)),
            wait,
            interval_s=2.0,
            clock=clock,
        )
        return written, waits

    def test_hello_and_a_snapshot_come_at_once(self) -> None:
        """The first frames do not wait for the interval."""
        written, _ = self.play([{END}], ["idle"])
        assert [frame["type"] for frame in written] == ["hello", "snapshot"]

    def test_then_a_frame_each_interval(self) -> None:
        """Readings start an interval apart, however long they take; only changes are snapshots."""
        written, waits = self.play([set(), set(), set(), {END}], ["idle", "idle", "working", "working"])
        assert [frame["type"] for frame in written] == [
            "hello",
            "snapshot",
            "heartbeat",
            "snapshot",
            "heartbeat",
        ]
        assert waits == [1.5] * 4

    def test_a_refresh_is_answered_at_once_with_a_snapshot(self) -> None:
        """Even if nothing changed."""
        written, _ = self.play([{REFRESH}, {REFRESH, END}], ["idle", "idle"])
        assert [frame["type"] for frame in written] == ["hello", "snapshot", "snapshot"]


class TestCommands:
    def test_a_refresh_wakes_the_loop(self) -> None:
        """Waiting ends as soon as there is a command; several are one."""
        with pipe() as (read_fd, write_fd):
            commands = Commands(read_fd, end_process=lambda _: None)
            assert commands.wait(0.01) == set()
            os.write(write_fd, b'{"type":"refresh"}\n{"type":"refresh"}\n')
            assert commands.wait(30) == {REFRESH}

    def test_the_end_of_stdin_ends_the_process_even_if_the_loop_is_stuck(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """PROMISES 11: after a grace the process is ended from the reader's thread."""
        monkeypatch.setattr(stream, "EOF_GRACE_S", 0.05)
        ended = threading.Event()
        with pipe() as (read_fd, write_fd):
            commands = Commands(read_fd, end_process=lambda _: ended.set())
            os.close(write_fd)
            assert commands.wait(30) == {END}
            assert ended.wait(30)


class pipe:  # noqa: N801 - a context, used like a function
    """A pipe whose ends are closed at the end."""

    def __enter__(self) -> tuple[int, int]:
        self._fds = os.pipe()
        return self._fds

    def __exit__(self, *_: object) -> None:
        for fd in self._fds:
            try:
                os.close(fd)
            except OSError:
                continue


Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts `fleet-agent stream` as its own process, with a home of its own."""
    started: list[subprocess.Popen[bytes]] = []

    def begin(*arguments: str, interval: str = "0.1") -> "subprocess.Popen[bytes]":
        environ = {**os.environ, "HOME": str(tmp_path), "CODEX_HOME": str(tmp_path / "codex-home")}
        command = [sys.executable, "-m", "fleet_agent", "stream", "--interval", interval, *arguments]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environ)
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.wait()
        for pipe_end in (process.stdin, process.stdout):
            if pipe_end:
                pipe_end.close()


def frame(process: "subprocess.Popen[bytes]") -> dict[str, Any]:
    assert process.stdout
    found = json.loads(process.stdout.readline())
    assert isinstance(found, dict)
    return found


class TestProcess:
    def test_the_stream_of_a_real_process(self, start: Start, tmp_path: Path) -> None:
        """hello, snapshot, heartbeats; a new session is a snapshot; a refresh is answered; EOF ends it.

        All the while it is niced, and has less than 40 MiB (PROMISES 12).
        """
        process = start()
        assert process.stdin
        assert frame(process)["type"] == "hello"
        assert frame(process)["type"] == "snapshot"
        thread = thread_id()
        rollout_path(tmp_path / "codex-home", thread).write_bytes(sample("exec_tool"))
        while thread not in json.dumps(seen := frame(process)):
            pass
        assert seen["type"] == "snapshot"
        process.stdin.write(b'{"type":"refresh"}\n')
        process.stdin.flush()
        deadline = time.monotonic() + 20
        while (seen := frame(process))["type"] != "snapshot":
            assert time.monotonic() < deadline
        assert thread in json.dumps(seen)
        running = psutil.Process(process.pid)
        assert running.nice() >= stream.NICENESS
        assert running.memory_info().rss < 40 << 20
        process.stdin.close()
        assert process.wait(3) == 0

    def test_a_refresh_does_not_wait_for_the_interval(self, start: Start) -> None:
        """With a minute between readings, a refresh is answered in much less."""
        process = start(interval="60")
        assert process.stdin
        assert [frame(process)["type"], frame(process)["type"]] == ["hello", "snapshot"]
        begun_s = time.monotonic()
        process.stdin.write(b'{"type":"refresh"}\n')
        process.stdin.flush()
        assert frame(process)["type"] == "snapshot"
        assert time.monotonic() - begun_s < 5

    def test_it_ends_with_its_stdin_though_nobody_reads_its_output(self, start: Start, tmp_path: Path) -> None:
        """PROMISES 11: a write that is stuck in a full pipe does not keep the agent alive."""
        for _ in range(400):
            rollout_path(tmp_path / "codex-home", thread_id()).write_bytes(sample("exec_fail400"))
        process = start(interval="60")
        assert process.stdin
        time.sleep(2)  # it is now stuck in the write of a snapshot larger than the pipe
        assert process.poll() is None
        process.stdin.close()
        assert process.wait(3) == 0

    def test_it_ends_with_its_stdin_though_it_is_in_the_middle_of_a_long_wait(self, start: Start) -> None:
        """EOF is noticed at once, not after the interval."""
        process = start(interval="3600")
        assert process.stdin
        frame(process)
        frame(process)
        process.stdin.close()
        assert process.wait(3) == 0

    def test_a_closed_stdout_is_no_error(self, start: Start) -> None:
        """Whoever read it has had enough: exit status 0, nothing on stderr."""
        process = start()
        assert process.stdout
        frame(process)
        process.stdout.close()
        assert process.wait(20) == 0

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
    def test_a_signal_ends_it(self, start: Start, number: signal.Signals) -> None:
        """sshd and systemd end it like any other process."""
        process = start()
        frame(process)
        process.send_signal(number)
        assert process.wait(5) == -number


def test_writing_goes_on_until_all_is_written() -> None:
    """A pipe takes what fits; the rest follows."""
    with pipe() as (read_fd, write_fd):
        data = os.urandom(300_000)
        thread = threading.Thread(target=write_all, args=(write_fd, data))
        thread.start()
        got = b""
        while len(got) < len(data):
            got += os.read(read_fd, 65536)
        thread.join()
    assert got == data
