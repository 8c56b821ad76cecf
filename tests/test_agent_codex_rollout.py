"""fleet_agent.tools.codex.rollout: the fold of a rollout."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from damage import SAMPLES, damaged_rollouts
from fake_codex import sample
from fleet_agent.tail import MAX_LINE_BYTES, Line, LineSplitter
from fleet_agent.tools.codex.lines import Meta, decode_meta
from fleet_agent.tools.codex.rollout import Rollout
from fleet_agent.wire import Plan


def fold(data: bytes, upto: str | None = None) -> Rollout:
    """The facts after all lines, or after the first that holds `upto`."""
    head, *rest = LineSplitter().feed(data)
    rollout = Rollout(decode_meta(head) or Meta())
    for line in rest:
        rollout.feed(line)
        if upto and upto.encode() in line.data:
            break
    return rollout


def line(kind: str, **payload: Any) -> Line:
    outer = {"timestamp": "2026-11-21T02:33:43.423Z", "type": kind, "payload": payload}
    return Line(json.dumps(outer, separators=(",", ":")).encode())


# Every sample was written by a real Codex; what happened in it is known.
@pytest.mark.parametrize(
    ("name", "status", "error", "total_tokens"),
    [
        ("exec_tool", "complete", None, 19916),
        ("exec_bgtool", "complete", None, 30109),
        ("exec_mcp", "complete", None, 20849),
        ("exec_sol_slowtool", "complete", None, 28610),
        ("exec_spawn_v1.child1", "complete", None, 19587),
        ("exec_spawn_v2", "complete", None, 42985),
        ("exec_spawn_v2.child1", "complete", None, 30974),
        ("exec_review.child1", "complete", None, 5490),
        ("sigkill_then_resume", "complete", None, 9909),
        ("exec_fail400", "failed", None, None),
        ("exec_fail429", "failed", "response_too_many_failed_attempts, HTTP 429", None),
        ("exec_failctx", "failed", "context_window_exceeded", None),
        ("exec_failquota", "failed", "usage_limit_exceeded", None),
        ("exec_sigint_midturn", "aborted", None, 9869),
        ("exec_sigterm_midturn", "open", None, 9869),
        ("tui_waiting_approval", "open", None, 23323),
        ("old_0.101.0_tools", "complete", None, 34170),
        ("old_0.116.0_tools", "complete", None, 45866),
        ("old_0.138.0_tools", "complete", None, 48996),
        ("old_0.145.0_tools", "complete", None, 46776),
        ("old_0.145.0_fail400", "failed", None, None),
        ("old_0.150.1_tools", "complete", None, 46628),
        ("old_0.155.1_tools", "complete", None, 41821),
        ("old_0.163.0_tools", "complete", None, 41510),
        ("old_0.21.0_tools", None, None, None),
        ("old_0.36.0_tools", None, None, 7941),
        ("old_0.58.0_concurrent_writers", None, None, 8242),
        ("old_0.77.0_tools", None, None, 36948),
        ("old_0.90.0_tools", None, None, 31308),
    ],
)
def test_every_release_is_understood(
    name: str, status: str | None, error: str | None, total_tokens: int | None
) -> None:
    """How the last turn stands, and the thread's tokens, from what releases 0.21 to 0.169 wrote."""
    rollout = fold(sample(name))
    assert (rollout.turn.status if rollout.turn else None) == status
    assert (rollout.turn.error if rollout.turn else None) == error
    assert (rollout.tokens.total if rollout.tokens else None) == total_tokens
    assert (rollout.bad_lines, rollout.cut_lines, rollout.gapless) == (0, 0, True)


def test_settings_and_context_of_a_thread() -> None:
    """Model, approval policy, reviewer, directory and the use of the context window."""
    rollout = fold(sample("tui_waiting_approval"))
    assert (rollout.model, rollout.approvals, rollout.reviewer) == ("gpt-5.5", "on-request", "user")
    assert rollout.cwd == "/home/dev/labs/ws"
    assert (rollout.context_used, rollout.context_window) == (11708, 258400)
    assert rollout.tokens is not None
    assert (rollout.tokens.input, rollout.tokens.cached_input, rollout.tokens.output) == (23223, 11611, 100)
    assert rollout.tokens.reasoning_output == 20


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("exec_tool", (None, "mock", "never", "workspace-write", None)),
        ("exec_spawn_v1.child1", ("medium", "mock", "never", "workspace-write", None)),
        ("appserver_approval_patch", (None, "mock", "on-request", "read-only", None)),
        ("exec_plan", (None, "mock", "never", "workspace-write", Plan(1, 3, "do"))),
        ("old_0.36.0_tools", (None, None, "never", "danger-full-access", None)),  # {"mode": ...}
        ("old_0.130.0_fail400", (None, "mock", "never", "danger-full-access", None)),
        ("old_0.145.0_tools", (None, "mock", "never", "danger-full-access", Plan(1, 3, "do"))),
        ("old_0.21.0_tools", (None, None, None, None, None)),
    ],
)
def test_settings_and_plan_in_every_format(name: str, facts: tuple[Any, ...]) -> None:
    """Effort, provider, approval policy, sandbox and plan, as each release writes them; else not known."""
    rollout = fold(sample(name))
    assert (rollout.effort, rollout.provider, rollout.approvals, rollout.sandbox, rollout.plan) == facts


def test_a_sandbox_without_a_policy_is_its_profile() -> None:
    """Where there is only a permission profile its type names it; a new turn states its effort anew."""
    rollout = Rollout(Meta())
    rollout.feed(line("turn_context", permission_profile={"type": "disabled"}, effort="high"))
    assert (rollout.sandbox, rollout.effort) == ("disabled", "high")
    of_mode = {"settings": {"reasoning_effort": "low"}}
    rollout.feed(line("turn_context", sandbox_policy="read-only", collaboration_mode=of_mode))
    assert (rollout.sandbox, rollout.effort) == ("read-only", "low")
    rollout.feed(line("turn_context", sandbox_policy={"type": 7}))
    assert (rollout.sandbox, rollout.effort) == ("read-only", None)
    settings = {"model_provider_id": "x", "reasoning_effort": "high"}
    rollout.feed(line("event_msg", type="thread_settings_applied", thread_settings=settings))
    assert (rollout.provider, rollout.effort) == ("x", "high")  # a person chose another between two turns
    older = {"collaboration_mode": {"settings": {"reasoning_effort": "low"}}}
    rollout.feed(line("event_msg", type="thread_settings_applied", thread_settings=older))
    assert (rollout.provider, rollout.effort) == ("x", "low")


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("exec_fail400", "other"),
        ("exec_fail401", "http_connection_failed, HTTP 401"),
        ("exec_fail429", "response_too_many_failed_attempts, HTTP 429"),
        ("exec_fail500", "internal_server_error"),
        ("exec_failquota", "usage_limit_exceeded"),
        ("exec_failctx", "context_window_exceeded"),
        ("exec_failmid", "other"),
        ("exec_tool", None),
        ("old_0.145.0_fail400", "other"),
        ("appserver_failures", None),  # five failures, then a turn that succeeded
    ],
)
def test_the_last_error_is_in_codexs_own_word(name: str, error: str | None) -> None:
    """What failed the last turn, never the provider's message; gone once a turn succeeds."""
    assert fold(sample(name)).last_error == error


def test_an_error_stays_until_a_turn_succeeds() -> None:
    """Another turn that runs, or is interrupted, has not cleared it; read from there on it is the same."""
    rollout, late = Rollout(Meta()), Rollout(Meta())
    message = "unexpected status 503 Service Unavailable: <html>"
    failed = line("event_msg", type="task_complete", turn_id="a", error={"message": message})
    began, aborted = (line("event_msg", type=t, turn_id="b") for t in ("task_started", "turn_aborted"))
    for item in (line("event_msg", type="task_started", turn_id="a"), failed, began):
        rollout.feed(item)
    late.feed(began)
    late.feed_earlier(failed)
    for reader in (rollout, late):
        assert reader.last_error == "other, HTTP 503"
        assert reader.turn is not None
        assert reader.turn.status == "open"
        reader.feed(aborted)
        assert reader.last_error == "other, HTTP 503"
        reader.feed(line("event_msg", type="task_started", turn_id="c"))
        reader.feed(line("event_msg", type="task_complete", turn_id="c", last_agent_message="x"))
        assert reader.last_error is None


def test_a_plan_is_that_of_the_last_turn() -> None:
    """The next turn begins without one; a call that cannot be read leaves the plan as it was."""
    rollout = Rollout(Meta())

    def update(arguments: str) -> Line:
        return line("response_item", type="function_call", name="update_plan", call_id="c", arguments=arguments)

    rollout.feed(update('{"plan":[{"step":"x","status":"completed"}]}'))
    rollout.feed(update("{"))
    assert rollout.plan == Plan(1, 1, None)
    rollout.feed(line("event_msg", type="task_started", turn_id="t"))
    assert rollout.plan is None


def test_rate_limits_are_those_told_last() -> None:
    """Both windows of the last line that has them; a line without them takes nothing back."""
    rollout = fold(sample("exec_tool"))
    assert [(w.limit_id, w.window_minutes, w.used_percent) for w in rollout.limits] == [
        ("codex", 300, 12.5),
        ("codex", 10080, 40.0),
    ]
    rollout.feed(line("event_msg", type="token_count", rate_limits=None))
    assert len(rollout.limits) == 2
    assert [w.resets_at for w in fold(sample("old_0.44.0_tools")).limits] == [None, None]
    assert fold(sample("old_0.36.0_tools")).limits == ()


def test_a_review_ends_under_another_id_than_it_began() -> None:
    """`codex exec review` is over when its turn is, and has not crashed."""
    rollout = fold(sample("exec_review"))
    assert rollout.turn is not None
    assert rollout.turn.status == "complete"
    late = fold(sample("exec_review"), '"task_started"')
    late.feed(line("event_msg", type="task_complete", turn_id="nobody's"))
    assert late.turn is not None
    assert late.turn.status == "open"


def test_a_context_overflow_is_no_use_of_tokens() -> None:
    """After an overflow Codex writes an estimate as total: it fills the context, but nothing was spent."""
    rollout = fold(sample("exec_failctx"))
    assert rollout.tokens is None
    assert rollout.context_used == rollout.context_window == 258400


@pytest.mark.parametrize(
    ("name", "upto", "call", "kind", "escalated"),
    [
        ("tui_waiting_approval", "require_escalated", "exec_command", "shell", True),
        ("exec_sol_slowtool", '"custom_tool_call"', "exec", "script", False),
        ("appserver_request_user_input", '"function_call"', "request_user_input", "question", False),
        ("exec_mcp", '"function_call"', "mcp__mini.echo", "opaque", False),
        ("exec_spawn_v2", '"wait_agent"', "collaboration.wait_agent", "wait", False),
        ("appserver_approval_patch", '"custom_tool_call"', "apply_patch", "patch", False),
        ("old_0.36.0_tools", '"function_call"', "shell", "shell", False),
        ("old_0.21.0_tools", '"function_call"', "shell", "shell", False),
    ],
)
def test_an_open_call_is_told(name: str, upto: str, call: str, kind: str, escalated: bool) -> None:
    """Between its line and its output a call is open; its kind says how to judge it."""
    rollout = fold(sample(name), upto)
    assert [(c.name, c.kind, c.escalated) for c in rollout.calls.values()] == [(call, kind, escalated)]
    assert name.startswith("old_0.21") or all(c.at for c in rollout.calls.values())


def test_a_script_that_asks_to_leave_the_sandbox_is_told() -> None:
    """In code mode the wish is inside the script; a command that only mentions the word is none."""
    rollout = Rollout(Meta())
    script = 'await tools.exec_command({cmd: "x", sandbox_permissions: "require_escalated"})'
    rollout.feed(line("response_item", type="custom_tool_call", call_id="a", name="exec", input=script))
    mention = json.dumps({"cmd": "grep require_escalated ."})
    rollout.feed(
        line("response_item", type="function_call", call_id="b", name="exec_command", arguments=mention)
    )
    rollout.feed(
        line("response_item", type="function_call", call_id="c", name="shell", arguments='{"escalated')
    )
    assert [c.escalated for c in rollout.calls.values()] == [True, False, False]


@pytest.mark.parametrize(
    ("script", "several"),
    [
        ('const r = await tools.exec_command({cmd: "make"});\ntext(r.output);', False),
        ('tools.exec_command({cmd: "make"}); await tools.apply_patch("x")', True),
        ("await Promise.all(cmds.map(cmd => tools.exec_command({cmd})))", True),
        ('while (true) await tools["exec_command"]({cmd: "make"})', True),
        (None, True),
    ],
)
def test_a_script_that_calls_several_tools_is_told(script: str | None, several: bool) -> None:
    """While one of them runs, another may wait for a person."""
    rollout = Rollout(Meta())
    rollout.feed(line("response_item", type="custom_tool_call", call_id="a", name="exec", input=script))
    assert [(c.kind, c.several) for c in rollout.calls.values()] == [("script", several)]


def test_what_began_a_turn_is_known_when_it_is_over() -> None:
    """A run of `codex exec`, or a person: both may have gone on with what the other began."""
    rollout = Rollout(Meta())
    rollout.feed(line("event_msg", type="task_started", turn_id="t", turn_attribution={"turn_trigger": "exec"}))
    rollout.feed(line("event_msg", type="turn_aborted", turn_id="t"))
    assert rollout.turn
    assert (rollout.turn.status, rollout.turn.trigger) == ("aborted", "exec")


def test_only_a_threads_own_turns_count() -> None:
    """A subagent's file begins with its parent's turn and its end; neither is the subagent's."""
    rollout = fold(sample("exec_spawn_v2.child1"), upto='"ordinal":16')
    assert rollout.turn is None
    assert not rollout.calls


def test_the_end_of_another_turn_changes_nothing() -> None:
    """Two writers in one file (possible before 0.150), or a turn closed twice: the current turn stays."""
    rollout = Rollout(Meta())
    rollout.feed(line("event_msg", type="task_started", turn_id="mine"))
    rollout.feed(line("event_msg", type="turn_aborted", turn_id="other"))
    assert rollout.turn is not None
    assert rollout.turn.status == "open"
    rollout.feed(line("event_msg", type="task_complete", turn_id="mine", last_agent_message="done"))
    rollout.feed(line("event_msg", type="turn_aborted", turn_id="mine"))
    assert rollout.turn.status == "complete"


def test_an_abort_without_a_turn_id_ends_the_turn() -> None:
    """Some releases abort without saying what."""
    rollout = Rollout(Meta())
    rollout.feed(line("event_msg", type="task_started", turn_id="mine"))
    rollout.feed(line("event_msg", type="turn_aborted", reason="interrupted"))
    assert rollout.turn is not None
    assert rollout.turn.status == "aborted"


def test_a_silent_end_in_an_old_release_is_doubtful() -> None:
    """Before 0.145 a failed turn ends like any other, only without an answer; that is not success."""
    failed, answered = fold(sample("old_0.101.0_fail400")).turn, fold(sample("old_0.101.0_tools")).turn
    assert failed is not None
    assert answered is not None
    assert (failed.status, failed.doubtful) == ("complete", True)
    assert (answered.status, answered.doubtful) == ("complete", False)


def test_the_head_of_a_huge_line_is_enough_for_its_turn() -> None:
    """A final answer of 5 MB is repeated in task_complete; its turn ends all the same."""
    rollout = Rollout(Meta())
    rollout.feed(line("event_msg", type="task_started", turn_id="t"))
    huge = line("event_msg", type="task_complete", turn_id="t", last_agent_message="x" * (MAX_LINE_BYTES + 9))
    (cut,) = LineSplitter().feed(huge.data + b"\n")
    rollout.feed(cut)
    assert cut.cut
    assert rollout.turn is not None
    assert (rollout.turn.status, rollout.cut_lines) == ("complete", 1)


def test_a_huge_call_without_its_id_leaves_a_gap() -> None:
    """If it cannot be told whether a call is open, the facts of the turn say that something is missing."""
    rollout = Rollout(Meta())
    rollout.feed(line("event_msg", type="task_started", turn_id="t"))
    rollout.feed(
        Line(b'{"type":"response_item","payload":{"type":"function_call","name":"shell","arguments":"xx', True)
    )
    assert not rollout.gapless
    rollout.feed(line("event_msg", type="task_complete", turn_id="t"))
    assert rollout.gapless


@pytest.mark.parametrize("name", SAMPLES)
def test_reading_from_the_last_turn_on_is_enough(name: str) -> None:
    """The state of a thread is the same from its last turn alone as from the whole file."""
    head, *rest = LineSplitter().feed(sample(name))
    starts = [i for i, item in enumerate(rest) if b'"task_started"' in item.data]
    whole, late = fold(sample(name)), Rollout(decode_meta(head) or Meta())
    for item in rest[starts[-1] if starts else 0 :]:
        late.feed(item)
    assert (late.turn, late.calls, late.last_actor, late.resumed_at) == (
        whole.turn,
        whole.calls,
        whole.last_actor,
        whole.resumed_at,
    )
    assert (late.model, late.approvals, late.last_at) == (whole.model, whole.approvals, whole.last_at)
    assert (late.sandbox, late.effort, late.plan) == (whole.sandbox, whole.effort, whole.plan)


@settings(deadline=None, max_examples=300)
@given(damaged_rollouts())
def test_no_damage_can_make_the_fold_fail(raw: bytes) -> None:
    """Whatever bytes are changed, left out or doubled in a rollout, folding it never raises."""
    lines = list(LineSplitter(max_line_bytes=3000).feed(raw + b"\n"))
    rollout = Rollout(decode_meta(lines[0]) or Meta())
    for item in lines[1:]:
        rollout.feed(item)
        rollout.feed_earlier(item)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)
KINDS = ("task_started", "task_complete", "turn_aborted", "token_count", "function_call", "message", "error")
FIELDS = (
    "turn_id", "error", "info", "call_id", "name", "arguments", "input", "role", "usage", "thread_token_usage",
    "thread_settings", "model", "turn_attribution", "namespace", "started_at", "last_agent_message",
)  # fmt: skip


@settings(deadline=None)
@given(
    st.sampled_from(("event_msg", "response_item", "turn_context", "token_usage_record")),
    st.sampled_from(KINDS),
    st.dictionaries(st.sampled_from(FIELDS), json_values),
)
def test_no_value_can_make_the_fold_fail(outer: str, inner: str, fields: dict[str, Any]) -> None:
    """Known fields with absurd values never raise, and never become something of the wrong kind."""
    rollout = Rollout(Meta())
    rollout.feed(line("event_msg", type="task_started", turn_id="t"))
    rollout.feed(line(outer, type=inner, **fields))
    assert rollout.model is None or isinstance(rollout.model, str)
    assert all(isinstance(c.name, str) and isinstance(c.id, str) for c in rollout.calls.values())
    assert rollout.tokens is None or 0 <= rollout.tokens.total <= 1 << 53
