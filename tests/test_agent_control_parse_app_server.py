"""parse/app_server: the notifications and requests of real app-servers -> session events."""

from typing import Any

import pytest

from control_samples import events, lines, only, said
from fleet_agent.control.events import (
    DECISIONS,
    ApprovalRequested,
    Asked,
    Event,
    Failure,
    FileChange,
    FilesChanged,
    Message,
    PlanUpdated,
    Prompted,
    Question,
    Reasoning,
    Resolved,
    SessionStarted,
    ToolEnded,
    ToolStarted,
    TurnEnded,
    TurnStarted,
    Unknown,
    Used,
)
from fleet_agent.control.parse.app_server import Notifications, request
from fleet_agent.wire import Tokens

BOTH = ("app_server_legacy_0.90.0", "app_server_v2_0.90.0")
FULL = (*BOTH, "app_server_legacy_0.36.0", "app_server_v2_0.145.0", "app_server_v2_0.169.0")
THREAD = "01a1fdeb-61b6-7783-bca4-ebbd7913bab7"  # of app_server_v2_0.169.0


def told(method: str, **params: Any) -> bytes:
    return said(method=method, params=params)


def turn(what: str, turn_id: str, **more: Any) -> bytes:
    return told(f"turn/{what}", threadId="t", turn={"id": turn_id, **more})


@pytest.mark.parametrize("sample", FULL)
def test_every_release_and_dialect_tells_a_turn_alike(sample: str) -> None:
    """Nothing is missed, nothing is told twice, though releases speak both dialects at once."""
    found = events(Notifications().feed, sample)
    first = found[: [isinstance(event, TurnEnded) for event in found].index(True) + 1]
    assert len(only(TurnStarted, first)) == 1
    assert [event.text for event in only(Reasoning, first) if not event.delta] == ["**Thinking**\n\nthink"]
    assert len([event for event in only(Message, first) if not event.delta]) == 2
    assert only(Message, first)[0] == Message("looking", only(Message, first)[0].item_id, delta=True)
    (started,), (ended,) = only(ToolStarted, first), only(ToolEnded, first)
    assert (started.name, started.cwd, started.call_id) == ("exec_command", "/home/dev/project", ended.call_id)
    assert (ended.output, ended.exit_code, ended.ok) == ("hi\n", 0, True)
    assert [event.ok for event in only(FilesChanged, first)] == [None, True]
    assert [event.changes for event in only(FilesChanged, first)] == [
        (FileChange("/home/dev/project/a.txt", "add"),)
    ] * 2
    assert only(Unknown, first) == []


@pytest.mark.parametrize("sample", FULL)
def test_every_turn_ends_once_with_its_outcome(sample: str) -> None:
    """Completed, failed with the reason, completed after a reconnect; by turn id."""
    found = events(Notifications().feed, sample)
    ends = {end.turn_id: end for end in only(TurnEnded, found)}
    assert len(ends) == len(only(TurnEnded, found)) == len(only(TurnStarted, found))
    failed = [end for end in ends.values() if end.end == "failed"]
    assert [("mock failure 400" in (end.message or "")) for end in failed] == [True]


@pytest.mark.parametrize("sample", BOTH)
def test_the_dialect_of_the_first_message_is_kept(sample: str) -> None:
    """0.90 tells everything in both: what is read of one is not read again of the other."""
    v2 = "v2" in sample
    both = (
        [line for line in lines(sample) if b'"method":"codex/event' not in line],
        [line for line in lines(sample) if b'"method":"codex/event' in line],
    )
    parser = Notifications()
    alone = [event for line in both[0 if v2 else 1] for event in parser.feed(line)]
    assert events(Notifications().feed, sample) == alone


def test_errors_that_are_retried_leave_the_turn_open() -> None:
    """`willRetry` in one dialect, `stream_error` in the other."""
    for sample in BOTH:
        retried, final = (
            [
                event
                for event in only(Failure, events(Notifications().feed, sample))
                if event.retrying is retrying
            ]
            for retrying in (True, False)
        )
        assert [event.message.startswith("Reconnecting... 1/1 (stream disconnected") for event in retried] == [
            True
        ]
        assert len(final) == 1


def test_a_failed_turn_without_a_reason_has_that_of_its_error() -> None:
    """An error that is not retried does not itself end the turn; `turn/completed` follows it."""
    parser = Notifications()
    parser.feed(turn("started", "1"))
    failure = told("error", threadId="t", turnId="1", willRetry=False, error={"message": "quota"})
    assert parser.feed(failure) == [Failure("quota")]
    assert parser.feed(turn("completed", "1", status="failed")) == [TurnEnded("failed", "1", "quota")]


def test_interrupt_and_compaction() -> None:
    """An interrupted turn is aborted; a compaction is a turn of its own, in which that happens."""
    found = events(Notifications(THREAD).feed, "app_server_v2_0.169.0")
    assert [end.end for end in only(TurnEnded, found)] == [
        "completed",
        "completed",
        "failed",
        "aborted",
        "completed",
        "completed",
    ]
    assert [event.what for event in only(Unknown, found)] == ["contextCompaction"]
    assert only(SessionStarted, found) == [SessionStarted(THREAD, "gpt-5.5", "0.169.0")]


@pytest.mark.parametrize("status", ["interrupted", "cancelled", "canceled", "aborted"])
def test_every_word_for_an_aborted_turn(status: str) -> None:
    """Releases have had several."""
    assert Notifications().feed(turn("completed", "1", status=status)) == [TurnEnded("aborted", "1")]


def test_other_threads_change_nothing() -> None:
    """Subagents and title threads share the connection: they are passed over before anything else is done."""
    for sample in (*FULL, "app_server_v2_approvals_0.169.0"):
        parser = Notifications("another")
        assert {type(event) for event in events(parser.feed, sample)} <= {Failure}  # warnings, of no thread
        assert parser.patches == {}
    parser = Notifications("t")
    parser.feed(turn("started", "1"))
    parser.feed(told("turn/completed", threadId="other", turn={"id": "1", "status": "failed"}))
    parser.feed(told("thread/status/changed", threadId="other", status={"type": "idle"}))
    assert parser.settle() == []
    assert parser.feed(turn("completed", "1", status="completed")) == [TurnEnded("completed", "1")]


def test_what_a_resume_replays_does_not_touch_the_turn_that_is_started_after_it() -> None:
    """Until it is armed, turns and what is in them are passed over; the thread's usage is not."""
    parser = Notifications("t", armed=False)
    replayed = [line for line in lines("app_server_v2_0.145.0") if b'"method":"thread/started"' not in line]
    parser.thread_id = None
    found = [event for line in replayed for event in parser.feed(line)]
    assert {type(event) for event in found} == {Used}
    parser.armed = True
    assert parser.feed(turn("started", "9")) == [TurnStarted("9")]
    older = Notifications(armed=False)
    assert {type(event) for event in events(older.feed, "app_server_legacy_0.36.0")} == {Used}


def test_a_turns_end_is_told_once_by_its_id() -> None:
    """A second `turn/completed`, or a replayed `turn/started` of an ended turn, says nothing."""
    parser = Notifications()
    assert parser.feed(turn("started", "1")) == [TurnStarted("1")]
    assert parser.feed(turn("started", "1")) == []
    assert parser.feed(turn("completed", "1", status="completed")) == [TurnEnded("completed", "1")]
    assert parser.feed(turn("completed", "1", status="failed")) == []
    assert parser.feed(turn("started", "1")) == []
    assert parser.feed(turn("started", "2")) == [TurnStarted("2")]


def test_a_turn_that_was_joined_in_its_middle_ends() -> None:
    """Who attaches to a running session sees no start of its turn."""
    parser = Notifications()
    parser.feed(
        told("item/completed", threadId="t", turnId="1", item={"type": "agentMessage", "text": "x", "id": "i"})
    )
    assert parser.feed(turn("completed", "1", status="completed")) == [TurnEnded("completed", "1")]


def test_a_final_answer_does_not_end_the_turn() -> None:
    """Its phase says that it is the answer; the turn may still run hooks, and ends when it is said to end."""
    item = {"type": "agentMessage", "id": "m", "text": "done", "phase": "final_answer"}
    parser = Notifications()
    parser.feed(turn("started", "1"))
    assert parser.feed(told("item/completed", threadId="t", turnId="1", item=item)) == [Message("done", "m")]
    assert parser.feed(turn("completed", "1", status="completed")) == [TurnEnded("completed", "1")]


@pytest.mark.parametrize(
    ("status", "end"), [("idle", "completed"), ("systemError", "failed"), ("notLoaded", "aborted")]
)
def test_a_turn_whose_end_is_never_told_ends_when_its_thread_rests(status: str, end: str) -> None:
    """The status comes before `turn/completed`: it counts when asked for, or when the next turn starts."""
    parser = Notifications()
    parser.feed(turn("started", "1"))
    assert parser.settle() == []
    assert parser.feed(told("thread/status/changed", threadId="t", status={"type": status})) == []
    assert parser.feed(turn("started", "2")) == [TurnEnded(end, "1"), TurnStarted("2")]
    parser.feed(told("thread/status/changed", threadId="t", status={"type": status}))
    assert parser.settle() == [TurnEnded(end, "2")]
    assert parser.settle() == []


def test_usage_is_the_threads_and_the_last_responses() -> None:
    """Cached input is a part of the input: nothing is added up twice."""
    for sample in BOTH:
        used = only(Used, events(Notifications().feed, sample))[0]
        assert used.total == used.last == Tokens(8391, 4195, 50, 10, 8441)
        assert used.context_window_tokens == 258400


def test_a_resumed_thread_starts_with_its_total() -> None:
    """The first usage after thread/resume is of what was there before."""
    found = events(Notifications(THREAD).feed, "app_server_v2_resumed_0.169.0")
    first, last = only(Used, found)[0], only(Used, found)[-1]
    assert first.total is not None
    assert last.total is not None
    assert 0 < first.total.total < last.total.total
    assert [prompt.text for prompt in only(Prompted, found)] == ["SAY resumed"]


def test_the_plan_of_both_dialects() -> None:
    """The same steps, in the same words."""
    ours, older = (only(PlanUpdated, events(Notifications().feed, sample)) for sample in BOTH)
    assert ours == older
    assert [step.status for step in ours[0].steps] == ["completed", "in_progress", "pending"]


def read(sample: str) -> tuple[list[Event], list[ApprovalRequested | Asked]]:
    """The events of a sample, and what is asked in it, where it is asked."""
    parser, found, asked = Notifications(), [], []
    for line in lines(sample):
        found += parser.feed(line)
        if (one := request(line, parser.patches)) is not None:
            asked.append(one)
    return found, asked


def test_approvals_of_today() -> None:
    """Four commands and a patch: what would be run, where and why; which files, as the item before it said."""
    found, asked = read("app_server_v2_approvals_0.169.0")
    assert [event.request_id for event in only(Resolved, found)] == ["0", "1", "2", "3", "4"]
    commands = [one for one in asked if isinstance(one, ApprovalRequested) and one.kind == "command"]
    assert [one.command for one in commands] == [f"/bin/bash -lc 'touch x{n}'" for n in (1, 2, 3, 4)]
    assert {(one.cwd, one.reason) for one in commands} == {
        ("/home/dev/project", "mock wants to run this outside the sandbox")
    }
    assert {one.decisions for one in commands} == {("accept", "decline", "cancel")}
    assert all(one.turn_id and one.call_id for one in commands)
    (patch,) = (one for one in asked if isinstance(one, ApprovalRequested) and one.kind == "patch")
    assert patch.changes == (FileChange("/home/dev/project/b.txt", "add"),)
    assert patch.decisions == DECISIONS


def test_what_was_decided_shows_in_what_follows() -> None:
    """accept, decline, acceptForSession, decline (a patch), cancel: as the server went on."""
    found, _ = read("app_server_v2_approvals_0.169.0")
    assert [tool.ok for tool in only(ToolEnded, found)] == [True, False, True, False]
    assert [end.end for end in only(TurnEnded, found)] == ["completed"] * 4 + ["aborted"]
    assert only(FilesChanged, found)[-1].ok is False


@pytest.mark.parametrize(("release", "count"), [("0.58.0", 1), ("0.90.0", 4)])
def test_approvals_of_the_older_api(release: str, count: int) -> None:
    """`execCommandApproval` and `applyPatchApproval`, whose files are told in two spellings."""
    _, asked = read(f"app_server_legacy_approvals_{release}")
    assert len(asked) == count
    for one in asked:
        assert isinstance(one, ApprovalRequested)
        assert one.call_id
        if one.kind == "patch":
            assert one.changes == (FileChange("/home/dev/project/b.txt", "add"),)
        else:
            assert (one.command or "").startswith("bash -lc 'touch x")


def test_the_older_words_for_a_decision_do_what_they_say() -> None:
    """approved, denied, approved, abort: real 0.90 ran, told the model, patched, and ended the turn."""
    found, _ = read("app_server_legacy_approvals_0.90.0")
    assert [tool.ok for tool in only(ToolEnded, found)] == [True, False, False]
    assert [end.end for end in only(TurnEnded, found)] == [
        "completed",
        "completed",
        "completed",
        "aborted",
        "failed",
    ]


def test_a_question() -> None:
    """Its text, and what may be answered."""
    _, asked = read("app_server_v2_question_0.169.0")
    (one,) = asked
    assert isinstance(one, Asked)
    assert one.questions == (Question("q1", "pick one", ("Alpha", "Beta")),)
    assert (one.request_id, one.turn_id is not None) == ("0", True)


@pytest.mark.parametrize(("request_id", "text"), [(0, "0"), (7, "7"), ("0", "0"), ("a-b", "a-b")])
def test_request_ids_are_integers_or_texts(request_id: int | str, text: str) -> None:
    """Both are told as text, and their resolution in the same words."""
    asked = request(said(id=request_id, method="execCommandApproval", params={"command": ["ls", "a b"]}))
    assert isinstance(asked, ApprovalRequested)
    assert (asked.request_id, asked.command) == (text, "ls 'a b'")
    assert Notifications().feed(told("serverRequest/resolved", requestId=request_id)) == [Resolved(text)]


def test_permissions_are_shown_as_they_are_asked_for() -> None:
    """A person sees exactly what would be granted."""
    wanted = {"network": {"enabled": True}}
    params = {
        "threadId": "t",
        "turnId": "1",
        "itemId": "i",
        "cwd": "/p",
        "permissions": wanted,
        "reason": "to build",
    }
    asked = request(said(id=1, method="item/permissions/requestApproval", params=params))
    assert isinstance(asked, ApprovalRequested)
    assert (asked.kind, asked.reason) == ("permissions", 'to build: {"network":{"enabled":true}}')


def test_a_form_of_an_mcp_server_can_only_be_turned_down() -> None:
    """To accept it without filling it in would say nothing."""
    params = {"serverName": "mail", "message": "Which account?", "mode": "url", "url": "https://x"}
    asked = request(said(id=1, method="mcpServer/elicitation/request", params=params))
    assert isinstance(asked, ApprovalRequested)
    assert (asked.reason, asked.decisions) == ("mail: Which account? (https://x)", ("decline", "cancel"))


@pytest.mark.parametrize(
    "line",
    [
        said(id=1, method="item/tool/call", params={}),
        said(id=1, method="currentTime/read", params={}),
        said(id=1, result={}),
        said(method="item/commandExecution/requestApproval", params={}),
        said(id=None, method="execCommandApproval", params={}),
        b"no JSON",
    ],
)
def test_what_no_person_is_asked(line: bytes) -> None:
    """A program's business, a reply, no id to answer to, or no message."""
    assert request(line) is None


def test_warnings_are_no_errors() -> None:
    """Nothing failed: 0.169 warns of an unknown setting and of a deprecated way to resume."""
    for sample in ("app_server_v2_0.169.0", "app_server_v2_resumed_0.169.0"):
        warned = [
            event for event in only(Failure, events(Notifications().feed, sample)) if event.source == "warning"
        ]
        assert len(warned) >= 2


def test_what_has_no_word_is_named_and_what_is_not_of_the_session_is_not() -> None:
    """A new method is passed on by its name; the account's and the machine's business is not."""
    assert Notifications().feed(told("item/hologram/shown", threadId="t")) == [Unknown("item/hologram/shown")]
    assert Notifications().feed(told("account/rateLimits/updated", rateLimits={})) == []
    assert Notifications().feed(said(id=1, method="turn/started", params={})) == []


def test_a_bad_message_is_an_error_event() -> None:
    """And the next one is read."""
    parser = Notifications()
    (failure,) = only(Failure, parser.feed(b'{"method":'))
    assert (failure.source, failure.dropped_bytes) == ("stream", 10)
    assert parser.feed(turn("started", "1")) == [TurnStarted("1")]
