"""First sight of a huge live rollout: `fleet-agent snapshot` beside `wc -l` on the same file, in the same run.

Usage: python bench/first_sight.py [GB ...] [--repeat R] [--directory D]     (0.2 2 8, 5 times, usual place)

A rollout of each size is written as Codex 0.169 writes it: compact JSON, a response with its tool call, output,
token_usage_record and token_count every 14 KB or so, turns, compactions; a line of 100 MiB every 0.5 GB and one
at the end. A process named `codex` holds it open. It is read from the page cache and removed afterwards. The
commands run in turn within each repetition, on one processor. CPU is the kernel's word for the whole process;
what start-up costs is taken from the same command without a session. Memory is the agent's own peak (VmHWM).
"""

import argparse
import json
import os
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import measure
from fake_codex import FakeCodex, rollout_path
from fleet_agent.tail import Budget
from fleet_agent.tools.codex.find import ACCOUNT_BYTES
from fleet_agent.tools.codex.thread import ThreadFile

CPU = 0
THREAD = "01a1fbf3-d4da-78f3-8f80-8b9a0611d5f6"
HUGE_BYTES = 100 << 20
HUGE_EVERY_BYTES = 500_000_000
RESPONSES_A_TURN = 12
RESPONSES_A_COMPACTION = 400
TICKS = 50
SNAPSHOT = """
import sys
from fleet_agent.__main__ import main
status = main(["snapshot"])
print(next(l.split()[1] for l in open("/proc/self/status") if l.startswith("VmHWM")), file=sys.stderr)
sys.exit(status)
"""
_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_LIMITS = {
    "limit_id": "codex",
    "primary": {"used_percent": 12.5, "window_minutes": 300, "resets_at": 1795232023},
    "secondary": {"used_percent": 40.0, "window_minutes": 10080, "resets_at": 1795314823},
    "credits": {"has_credits": True, "unlimited": False, "balance": "9.99"},
}


class Writer:
    """Lines of one session. `tokens` is the total of all its responses so far, `turns` how many it began."""

    def __init__(self) -> None:
        self.tokens, self.turns, self.responses = 0, 0, 0
        self._random = random.Random(7)
        self._noise = bytes(self._random.choices(_ALPHABET, k=1 << 20))
        self._text = Path(measure.__file__).read_text() + Path(__file__).read_text()
        self._calls = [self._call() for _ in range(500)]

    def meta(self) -> bytes:
        payload = {
            "id": THREAD,
            "cli_version": "0.169.0",
            "source": "cli",
            "base_instructions": self._some(9000),
        }
        return _line("session_meta", **payload)

    def response(self) -> Iterator[bytes]:
        """The lines of one response and its tool call, and those of the turn or compaction that it begins."""
        if self.responses % RESPONSES_A_COMPACTION == RESPONSES_A_COMPACTION - 1:
            yield _line("compacted", message=self._some(3000), replacement_history=[self._some(9000)])
        if self.responses % RESPONSES_A_TURN == 0:
            yield _line("event_msg", type="task_complete", turn_id=THREAD, last_agent_message=self._some(500))
            self.turns += 1
            turn = f"01a1fbf5-{self.turns >> 16 & 0xFFFF:04x}-7000-8000-{self.turns:012x}"
            yield _line("event_msg", type="task_started", turn_id=turn, model_context_window=258_400)
            yield _line("turn_context", turn_id=turn, model="gpt-5.5", instructions=self._some(1500))
        self.responses += 1
        one, total = _usage(60_000), _usage(60_000 * self.responses)
        self.tokens = total["total_tokens"]
        before, after = self._random.choice(self._calls)
        yield before
        ids = {
            "thread_id": THREAD,
            "turn_id": THREAD,
            "session_id": THREAD,
            "response_id": f"resp_{self.responses:024x}",
        }
        usage = {"usage": one, "turn_token_usage": one, "thread_token_usage": total}
        yield _line("token_usage_record", **ids, **usage)
        yield after
        info = {"total_token_usage": total, "last_token_usage": one, "model_context_window": 258_400}
        yield _line("event_msg", type="token_count", info=info, rate_limits=_LIMITS)

    def huge(self) -> bytes:
        """A picture in a prompt."""
        head, tail = _line("response_item", type="message", role="user", content="@").split(b"@")
        return head + self._noise * (HUGE_BYTES >> 20) + tail

    def _call(self) -> tuple[bytes, bytes]:
        """What stands before the usage of a response, and what after it."""
        command, output = self._some(150), self._some(min(9000, int(1200 * self._random.paretovariate(1.2))))
        thought = self._noise[: self._random.randrange(800, 4000)].decode()
        before = _line("response_item", type="reasoning", id="rs_1", summary=[], encrypted_content=thought)
        before += _line(
            "response_item", type="function_call", name="exec_command", arguments=command, call_id="c"
        )
        item = {"type": "CommandExecution", "id": "c", "command": command, "aggregated_output": output}
        after = _line("event_msg", type="item_completed", thread_id=THREAD, turn_id=THREAD, item=item)
        return before, after + _line("response_item", type="function_call_output", call_id="c", output=output)

    def _some(self, chars: int) -> str:
        start = self._random.randrange(max(1, len(self._text) - chars))
        return self._text[start : start + chars]


def _line(kind: str, **payload: Any) -> bytes:
    line = {"timestamp": "2026-11-21T02:33:43.423Z", "ordinal": 1234567, "type": kind, "payload": payload}
    return json.dumps(line, separators=(",", ":")).encode() + b"\n"


def _usage(tokens: int) -> dict[str, int]:
    counts = {"input_tokens": tokens, "cached_input_tokens": tokens // 2, "cache_write_input_tokens": 0}
    return counts | {"output_tokens": 300, "reasoning_output_tokens": 20, "total_tokens": tokens + 300}


def write(path: Path, size_bytes: int) -> Writer:
    """Write a rollout of about that size; it ends in a huge line."""
    writer = Writer()
    written, huge_at = 0, HUGE_EVERY_BYTES
    with path.open("wb", buffering=1 << 20) as file:
        written += file.write(writer.meta())
        while written < size_bytes - HUGE_BYTES:
            written += sum(file.write(line) for line in writer.response())
            if written > huge_at:
                written += file.write(writer.huge())
                huge_at += HUGE_EVERY_BYTES
        file.write(writer.huge())
        file.flush()
        os.fsync(file.fileno())
    return writer


class Run:
    """What one size cost, repetition by repetition."""

    def __init__(self, root: Path, size_bytes: int) -> None:
        self.home, self.empty, self._root = root / "home", root / "empty", root
        self.empty.mkdir()
        self.path = rollout_path(self.home, THREAD)
        self.writer = write(self.path, size_bytes)
        self.wc_s: list[float] = []
        self.agent_s: list[float] = []
        self.idle_s: list[float] = []
        self.peak_mb: list[float] = []
        self.session: dict[str, Any] = {}

    def repeat(self) -> None:
        self.wc_s.append(_checked(["wc", "-l", str(self.path)], self.empty).cpu_s)
        idle = self._snapshot(self.empty)
        with FakeCodex(self._root, [self.path], environ={"CODEX_HOME": str(self.home)}):
            agent = self._snapshot(self.home)
        sessions = json.loads(agent.stdout.splitlines()[-1])["sessions"]
        (self.session,) = [session for session in sessions if session["id"] == THREAD]
        self.idle_s.append(idle.cpu_s)
        self.agent_s.append(agent.cpu_s)
        self.peak_mb.append((int(agent.stderr) - int(idle.stderr)) / 1024)

    def _snapshot(self, home: Path) -> measure.Cost:
        return _checked([sys.executable, "-c", SNAPSHOT], home)

    def row(self) -> str:
        """Minima, as the other load of a shared machine only adds; ratios pair by pair, their median."""
        whole = [agent / wc for agent, wc in zip(self.agent_s, self.wc_s, strict=True)]
        alone = [(a - i) / wc for a, i, wc in zip(self.agent_s, self.idle_s, self.wc_s, strict=True)]
        figures = [min(self.wc_s), min(self.idle_s), min(self.agent_s)]
        cells = "".join(f"{s * 1000:>10.0f}" for s in figures)
        ratios = f"{statistics.median(whole):>10.2f}{statistics.median(alone):>12.2f}"
        exact = f"{self.session.get('usage_confidence')}"
        return f"{self.path.stat().st_size / 1e9:>6.1f}{cells}{ratios}{max(self.peak_mb):>12.1f}  {exact}"

    def check(self) -> None:
        """What was said of it is true."""
        told = self.session["tokens"]["total"]
        if told != self.writer.tokens:
            sys.exit(f"wrong: {told} of {self.writer.tokens} tokens")

    def ticks(self) -> tuple[float, float]:
        """CPU in ms and bytes read of a later tick, for 14 KB that were appended."""
        file = ThreadFile(str(self.path), want_prompt=False)
        file.poll(Budget(1 << 40))
        while file.unaccounted_bytes:
            file.account(Budget(ACCOUNT_BYTES))
        spent_s, read_bytes = [], []
        for _ in range(TICKS):
            with self.path.open("ab") as appended:
                appended.writelines(self.writer.response())
            budget, begun_s = Budget(1 << 40), time.process_time()
            file.poll(budget)
            file.account(budget)
            spent_s.append(time.process_time() - begun_s)
            read_bytes.append((1 << 40) - budget.left_bytes)
        tokens = file.usage.tokens
        if tokens is None or tokens.total != self.writer.tokens or file.usage.confidence != "exact":
            sys.exit(f"wrong after {TICKS} ticks: {file.usage}, not {self.writer.tokens} tokens")
        return statistics.median(spent_s) * 1000, statistics.median(read_bytes)


def _checked(argv: list[str], home: Path) -> measure.Cost:
    env = {"HOME": str(home), "CODEX_HOME": str(home), "PATH": os.environ["PATH"]}
    cost = measure.run(argv, cpu=CPU, env=env)
    if cost.status:
        sys.exit(f"{argv[0]} exited with {cost.status}: {cost.stderr[-500:].decode()}")
    return cost


def main() -> None:
    """Parse the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sizes", nargs="*", type=float, default=[0.2, 2, 8], metavar="GB")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--directory", default=tempfile.gettempdir())
    arguments = parser.parse_args()
    print(f"{'':6}{'CPU, ms':>30}{'ratio to wc':>22}{'memory over':>12}")
    print(
        f"{'GB':>6}{'wc -l':>10}{'idle':>10}{'agent':>10}{'whole':>10}{'less idle':>12}{'idle, MB':>12}  tokens"
    )
    for size in arguments.sizes:
        free_bytes = shutil.disk_usage(arguments.directory).free
        if free_bytes < size * 1e9 + (1 << 30):
            sys.exit(f"{arguments.directory} has {free_bytes >> 20} MiB free: name another with --directory")
        with tempfile.TemporaryDirectory(prefix="fleet-bench-", dir=arguments.directory) as root:
            run = Run(Path(root), int(size * 1e9))
            for _ in range(arguments.repeat):
                run.repeat()
            print(run.row(), flush=True)
            run.check()
            cpu_ms, read_bytes = run.ticks()
            print(f"{'':6}a later tick: {cpu_ms:.2f} ms, {read_bytes / 1000:.0f} kB read", flush=True)


if __name__ == "__main__":
    main()
