"""Fleet states built by hand, for the tests of views. All clocks are given, so what is drawn never changes."""

from typing import Any

from fleet import model
from fleet.errors import ErrorKind, HostError, Phase
from fleet.model import Event, Fleet, HostFailed, HostRead, Reading
from fleet.text import clean
from fleet_agent.wire import (
    Child,
    Cost,
    CurrentTool,
    Hello,
    OrphanPort,
    Pane,
    Plan,
    Problem,
    RateLimit,
    Session,
    Snapshot,
    Tokens,
    Vitals,
)

NOW_AT = 1_790_000_000.0  # this machine's wall clock when a view is drawn
NOW_MONO_S = 5_000.0  # and its monotonic clock
HOST_NOW = 1_790_000_000.0  # a host's clock at its snapshot

TIMED_OUT = HostError(
    ErrorKind.TIMEOUT, Phase.CONNECT, "no connection to 10.0.0.1:22 within 5 s", "see whether the machine is on"
)
DENIED = HostError(
    ErrorKind.AUTH,
    Phase.AUTH,
    "permission denied for dev@ci; offered: id_ed25519",
    "put your public key into ~/.ssh/authorized_keys there, or mend `user`; `ssh -v dev@ci` tells more",
)


def session(name: str, state: str, detail: str | None, ago_s: float, **more: Any) -> Session:
    """A session that has been in its state for `ago_s` seconds by its host's clock; `name` is its id."""
    at = HOST_NOW - ago_s
    fields = {
        "tool": "codex",
        "confidence": "fact",
        "evidence": "lifecycle",
        "since_at": at,
        "last_activity_at": at,
    }
    return Session(**{**fields, "id": name, "state": state, "detail": detail, **more})


def read(host: str, *sessions: Session, read_ago_s: float = 0, skew_s: float = 0, **snapshot: Any) -> HostRead:
    """Event: `host` was read, `read_ago_s` seconds before the view is drawn."""
    hello = Hello(
        schema=1,
        agent_version="0.1.0",
        host_id=f"id-of-{host}",
        boot_id="boot-1",
        hostname=host,
        os="Linux 6.1",
        python="3.12.4",
        user="dev",
        now=HOST_NOW,
    )
    frame = Snapshot(seq=1, now=HOST_NOW, sessions=sessions, **snapshot)
    at = HOST_NOW - skew_s
    return HostRead(host, Reading(hello, frame, at, NOW_MONO_S - read_ago_s, elapsed_s=0.25))


def failed(host: str, error: HostError = TIMED_OUT, *, next_retry_at: float | None = None) -> HostFailed:
    """Event: `host` could not be read."""
    return HostFailed(host, error, NOW_AT - 30, next_retry_at)


def fleet(*events: Event, pending: tuple[str, ...] = ()) -> Fleet:
    """The fleet after these events."""
    names = dict.fromkeys([*(event.host for event in events), *pending])
    return model.apply(model.empty(names), *events)


def everything() -> Fleet:
    """Every state and fact, a tree of subagents, a stale host, hosts down for several causes, odd titles."""
    old = session("df3f1f8b-7777-4000-8000-000000000007", "waiting", "auth", 5, title="Log in again")
    events: tuple[Event, ...] = (
        _tree(),
        _laptop(),
        read("old-server", old, read_ago_s=600),
        failed("old-server"),
        *map(_dead, range(2, 5)),
        failed("ci", DENIED),
    )
    return fleet(*events, pending=("slowpoke",))


def _tree() -> HostRead:
    """A root that waits, with a subagent and one below that; an orphan; a problem; every fact of a host."""
    root, middle = "019c2590-7a10-7000-8000-00000000000a", "019c2590-7a11-7000-8000-00000000000b"
    leaf, orphan = "019c2590-7a12-7000-8000-00000000000c", "019c2591-0000-7000-8000-000000000001"
    sessions = (
        session(
            root,
            "waiting",
            "approval",
            760,
            title="Fix the flaky retry test",
            title_source="thread_name",
            cwd="/home/dev/src/payments/service",
            branch="fix/retry-jitter",
            reason="asks to run `git push`",
            evidence="app_server",
            model="gpt-6",
            tokens=Tokens(1_200_000, 900_000, 34_567, 9, 1_234_567),
            context_used_tokens=100_000,
            context_window_tokens=272_000,
            pids=(4242, 4243),
            tty="/dev/pts/3",
            started_at=HOST_NOW - 90_000,
            **_FACTS,
        ),
        session(
            middle,
            "working",
            "tool",
            185,
            root_id=root,
            parent_id=root,
            title="Run the test suite",
            cwd="/home/dev/src/payments/service",
            reason="runs `pytest -q`",
            tool_call=CurrentTool("exec_command", HOST_NOW - 185),
            tokens=Tokens(5_000, 0, 6_000, 0, 11_000),
            usage_confidence="conservative",
            nickname="Kepler",
            role="worker",
        ),
        session(
            leaf,
            "ended",
            "ok",
            65,
            root_id=root,
            parent_id=middle,
            title="Read the CI log",
            tokens=Tokens(total=999),
            ended_at=HOST_NOW - 65,
        ),
        session(
            orphan,
            "working",
            "thinking",
            3,
            root_id="not here",
            parent_id="nor here",
            title="An orphan: its root is not here",
            confidence="strong",
        ),
    )
    unread = Problem("permission", "cannot read the open files of 3 processes", "/proc/1/fd")
    return read("gpu01", *sessions, problems=(unread,), **_HOST_FACTS)


_FACTS: dict[str, Any] = {
    "transcript": "/home/dev/.codex/sessions/rollout.jsonl",
    "transcript_bytes": 2_000_000_000,
    "grown_bytes": 4096,
    "effort": "high",
    "provider": "openai",
    "approval_policy": "on-request",
    "sandbox": "workspace-write",
    "repository": "/home/dev/src/payments",
    "branch_at_start": "main",
    "commit": "e3a6c1f0",
    "dirty_files": 3,
    "ahead": 2,
    "behind": 1,
    "turns": 7,
    "tool_call": CurrentTool("exec_command", HOST_NOW - 765),
    "plan": Plan(2, 5, "write the tests"),
    "compactions": 1,
    "usage_confidence": "exact",
    "children": (
        Child(4300, "node", (3000, 5173), HOST_NOW - 800, 90_000_000, "call_1"),
        Child(4301, "pytest"),
    ),
    "child_count": 2,
    "cpu_percent": 12.5,
    "rss_bytes": 300_000_000,
    "pane": Pane("tmux", "%3"),
}
_HOST_FACTS: dict[str, Any] = {
    "scan_ms": 9.5,
    "rate_limits": (
        RateLimit("codex", "a1", "codex", 300, 100.0, HOST_NOW - 60, HOST_NOW + 7_300, reached=True),
        RateLimit("codex", "a1", "codex", 10_080, 93.4, HOST_NOW - 60, HOST_NOW + 200_000),
        RateLimit("codex", "a2", "codex_other", 300, 12.0, HOST_NOW - 60),
    ),
    "orphan_ports": (OrphanPort(8080, 777, "node", "an-old-session", HOST_NOW - 9_000), OrphanPort(5173, 778)),
    "vitals": Vitals(8, 51.5, 4.2, 64 << 30, 32 << 30, 500 << 30, 20 << 30),
    "cost": Cost(1.5, 65_536, 30 << 20),
}


def _laptop() -> HostRead:
    """The other states, wide text, a clock that is a day ahead."""
    sessions = (
        session(
            "7f3f1f8b-1111-4000-8000-000000000001",
            "idle",
            "turn_done",
            7_300,
            tool="claude",
            title="修复登录页面的布局错误并添加测试用例以防止回归",
            cwd="/Users/dev/网站/前端",
            branch="修复/登录",
            tokens=Tokens(total=45_600_000),
        ),
        session(
            "8f3f1f8b-2222-4000-8000-000000000002",
            "idle",
            "failed",
            40,
            title="Deploy 🚀 the 👩‍👩‍👧 family page 🇩🇪",
            reason="the model API said: quota exceeded",
            last_error="usage_limit_reached",
            pane=Pane("kitty", "12", "unix:/tmp/kitty"),
            context_used_tokens=9,
            context_window_tokens=10,
        ),
        session(
            "9f3f1f8b-3333-4000-8000-000000000003",
            "waiting",
            "question",
            30,
            title="naïve café: which of the two?",
            reason="a call of request_user_input has had no answer for 30 s, and no process of it is running",
            evidence="mtime",
            confidence="weak",
        ),
        session("af3f1f8b-4444-4000-8000-000000000004", "ended", "crashed", 200, reason="its process is gone"),
        session(
            "bf3f1f8b-5555-4000-8000-000000000005",
            "dreaming",
            "deeply",
            9,
            tool="opencode",
            title="A state from the future",
            evidence="aura",
            confidence="certain",
            tokens=Tokens(total=12),
            usage_confidence="felt",
            pane=Pane("screen", "1"),
            ephemeral=True,
        ),
        session(
            "cf4f1f8b-6666-4000-8000-000000000007",
            "working",
            "stuck",
            1_300,
            title="Wait for a build that hangs",
            branch="main",
            dirty_files=0,
            behind=12,
            reason="its turn is open and nothing has moved for 21 min",
        ),
        session(
            "cf3f1f8b-6666-4000-8000-000000000006",
            "working",
            "compacting",
            0,
            since_at=None,
            last_activity_at=None,
            title="x" * 300,
            cwd="/" + "deep/" * 40,
        ),
    )
    return read("laptop", *sessions, skew_s=86_400)


def _dead(number: int) -> HostFailed:
    """A host that fails as its neighbours do, in its own words."""
    error = HostError(
        ErrorKind.TIMEOUT,
        Phase.CONNECT,
        f"no connection to 10.0.0.{number}:22 within 5 s",
        f"see whether gpu{number:02} is on and no firewall drops packets",
    )
    return failed(f"gpu{number:02}", error, next_retry_at=NOW_AT + 30)


def family() -> Fleet:
    """A root with many subagents: most work or are done, one that waits is two levels down."""
    work = (session(f"1{i:07}", "working", "tool", i, parent_id="0", title=f"Part {i}") for i in range(7))
    done = (session(f"2{i:07}", "ended", "ok", i, parent_id="0", tokens=Tokens(total=1000)) for i in range(6))
    idle = session("30000000", "idle", "turn_done", 60, parent_id="0", root_id="0", title="Ask around")
    waits = session("40000000", "waiting", "question", 50, parent_id=idle.id, root_id="0", title="Which one?")
    crashed = session("50000000", "ended", "crashed", 70, parent_id="0", title="Part 9")
    root = session("0", "idle", "turn_done", 5, title="Split the work", tokens=Tokens(total=9000))
    return fleet(read("web1", *done, root, *work, idle, waits, crashed))


def nothing() -> Fleet:
    """This machine alone, read whole, without a session."""
    return fleet(read("local"))


def all_down() -> Fleet:
    """No host could be read."""
    return fleet(failed("web1"), failed("web2"), failed("db"))


def incomplete() -> Fleet:
    """A host that could not look everywhere, and saw nothing."""
    return fleet(read("shared", complete=False), read("web1"))


def hostile() -> Fleet:
    """What a hostile host may send, after it was cleaned where it came in."""
    sessions = (
        session(
            clean("\x1b[A" + "z" * 100),
            "idle",
            "new",
            1,
            tool="@tool",
            title=clean("\x1b]0;owned\x07\x1b[2J\u202egpj.exe\r\n[bold]$(reboot)`id`<script>&amp;"),
            cwd=clean("/tmp/\x9b31m\u200b"),
            branch='=HYPERLINK("http://evil.example","click")',
            reason=clean("because\nof\tthis"),
            tokens=Tokens(total=2**62),
            context_used_tokens=2**62,
            context_window_tokens=1,
            since_at=1e300,
        ),
        session("\ufffd\ufffd", "idle", "new", -1e9, title="from the future"),
    )
    message = clean("the agent ended: \x1b[31mred\x1b[0m\u2028line")
    return fleet(
        read("evil", *sessions),
        failed("worse", HostError(ErrorKind.AGENT_FAILED, Phase.HELLO, message, "look")),
    )


CASES = {case.__name__: case for case in (everything, family, nothing, all_down, incomplete, hostile)}
