"""What one client knows of one thread, from the messages of its server."""

import json
from typing import Any

from fake_app_server import THREAD, approval
from fleet_agent.control.appserver import protocol
from fleet_agent.control.appserver.protocol import Asked, Told
from fleet_agent.control.appserver.thread import Thread
from fleet_agent.control.events import ApprovalRequested, Event, Resolved, TurnEnded, TurnStarted


def tell(thread: Thread, method: str, thread_id: str = THREAD, **params: Any) -> list[Event]:
    message = protocol.read(
        json.dumps({"method": method, "params": {"threadId": thread_id, **params}}).encode()
    )
    assert isinstance(message, Told)
    return thread.told(message)


def ask(thread: Thread, message: object, now_at: float = 1.0) -> list[Event]:
    found = protocol.read(json.dumps(message).encode())
    assert isinstance(found, Asked)
    return thread.asked(found, now_at)


def armed() -> Thread:
    thread = Thread(THREAD)
    thread.arm()
    return thread


def test_what_is_said_of_others_changes_nothing() -> None:
    """A subagent's turn, begun and ended on the same pipe, is not this thread's."""
    thread = armed()
    tell(thread, "turn/started", turn={"id": "t1"})
    assert tell(thread, "turn/started", "another", turn={"id": "t2"}) == []
    assert tell(thread, "turn/completed", "another", turn={"id": "t2", "status": "completed"}) == []
    assert tell(thread, "thread/closed", "another") == []
    assert (thread.running, thread.turn_id, thread.closed) == (True, "t1", False)


def test_a_replayed_history_neither_ends_a_turn_nor_is_told() -> None:
    """Until a turn is asked for, turns and items are of the past."""
    thread = Thread(THREAD)
    item = {"type": "agentMessage", "id": "i", "text": "old"}
    assert tell(thread, "turn/started", turn={"id": "old"}) == []
    assert tell(thread, "item/completed", turnId="old", item=item) == []
    assert tell(thread, "turn/completed", turn={"id": "old", "status": "completed"}) == []
    assert not thread.running
    thread.arm()
    assert tell(thread, "turn/started", turn={"id": "t1"}) == [TurnStarted("t1")]


def test_a_turn_ends_once() -> None:
    """However often and by whatever its end is told."""
    thread = armed()
    tell(thread, "turn/started", turn={"id": "t1"})
    ended = {"id": "t1", "status": "completed"}
    assert tell(thread, "turn/completed", turn=ended) == [TurnEnded("completed", "t1")]
    assert tell(thread, "turn/completed", turn=ended) == []
    assert thread.end_turn("failed") == []
    assert thread.settle() == []


def test_a_turn_whose_end_is_left_out() -> None:
    """The thread rests: then it is over, and how is known from whether we interrupted it."""
    for interrupted, end in ((None, "completed"), ("t1", "aborted")):
        thread = armed()
        tell(thread, "turn/started", turn={"id": "t1"})
        thread.interrupted_id = interrupted
        tell(thread, "thread/status/changed", status={"type": "idle"})
        assert thread.idle
        assert [event.end for event in thread.settle() if isinstance(event, TurnEnded)] == [end]
        assert tell(thread, "turn/completed", turn={"id": "t1", "status": "completed"}) == []


def test_a_request_waits_until_it_is_resolved() -> None:
    """Elsewhere or here; then it is open no more."""
    thread = armed()
    (asked,) = ask(thread, approval(0, startedAtMs=5000))
    assert isinstance(asked, ApprovalRequested)
    assert (asked.request_id, thread.open["0"].since_at) == ("0", 5.0)
    assert tell(thread, "serverRequest/resolved", requestId=0) == [Resolved("0")]
    assert not thread.open
    assert tell(thread, "serverRequest/resolved", requestId=0) == []


def test_what_a_subagent_asks_is_kept_too() -> None:
    """Nobody else may be there to answer it; its resolution is told of the other thread."""
    thread = armed()
    assert ask(thread, approval(3, thread_id="child"))
    assert tell(thread, "serverRequest/resolved", "child", requestId=3) == [Resolved("3")]


def test_a_request_that_is_sent_again_is_told_once() -> None:
    """After a reconnection the same server sends what is open again; what it does not send again is closed."""
    thread = armed()
    ask(thread, approval(0))
    ask(thread, approval(1, item="call_2"))
    assert thread.lost(dead=False) == []
    assert ask(thread, approval(0), now_at=99.0) == []
    assert thread.open["0"].since_at == 1.0
    assert thread.keep_open(thread.sent_again) == [Resolved("1")]
    assert list(thread.open) == ["0"]


def test_another_server_s_request_of_the_same_number_is_another() -> None:
    """Each daemon counts from 0: what the one before asked is closed with it."""
    thread = armed()
    ask(thread, approval(0))
    assert thread.lost(dead=True) == [Resolved("0")]
    assert ask(thread, approval(0, item="call_9")) != []


def test_a_request_that_no_person_can_answer_is_not_kept() -> None:
    """Its sender must be told, by whoever holds the connection."""
    thread = armed()
    assert ask(thread, {"id": 1, "method": "item/tool/call", "params": {"threadId": THREAD}}) == []
    assert not thread.open
