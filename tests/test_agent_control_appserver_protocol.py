"""JSON-RPC messages of an app-server, and the replies that its requests take."""

import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fake_app_server import approval
from fleet_agent.control import events
from fleet_agent.control.appserver import protocol, replies
from fleet_agent.control.appserver.protocol import Asked, Reply, Told, Unreadable
from fleet_agent.control.appserver.rollouts import last_total, total_of
from fleet_agent.control.appserver.servers import home_of, started, words


def asked(message: object) -> Asked:
    found = protocol.read(json.dumps(message).encode())
    assert isinstance(found, Asked)
    return found


@pytest.mark.parametrize("request_id", [0, 7, "7", "a-string", -1])
def test_a_request_id_goes_back_as_it_came(request_id: int | str) -> None:
    """A string id is not the number that it looks like: answered as one, it would approve another request."""
    found = asked(approval(request_id))
    reply = json.loads(protocol.result(found.id, {}))
    assert reply["id"] == request_id
    assert type(reply["id"]) is type(request_id)


def test_messages_are_told_apart() -> None:
    """A notification, a request, an answer, an error; and about which thread and turn they are."""
    told = protocol.read(b'{"method":"turn/started","params":{"threadId":"a","turn":{"id":"t"}}}')
    assert isinstance(told, Told)
    assert (told.thread_id, told.turn_id) == ("a", "t")
    begun = protocol.read(b'{"method":"thread/started","params":{"thread":{"id":"b"}}}')
    older = protocol.read(b'{"method":"codex/event/task_started","params":{"conversationId":"c","msg":{}}}')
    nobody = protocol.read(b'{"method":"account/updated"}')
    assert [one.thread_id for one in (begun, older, nobody) if isinstance(one, Told)] == ["b", "c", None]
    assert isinstance(protocol.read(b'{"id":1,"result":{}}'), Reply)
    failed = protocol.read(b'{"id":1,"error":{"code":-32001,"message":"busy"}}')
    assert isinstance(failed, Reply)
    assert failed.error is not None
    assert (failed.error.code, failed.error.message) == (protocol.OVERLOADED, "busy")


@pytest.mark.parametrize(
    "raw", [b"", b"nonsense", b"[]", b"{}", b"\xff", b'{"id":1.5,"method":"x"}', b"[" * 200_000]
)
def test_what_is_no_message_is_told_and_raises_nothing(raw: bytes) -> None:
    """A bad line is an event for a person, with its size, cut short."""
    found = protocol.read(raw)
    assert isinstance(found, Unreadable)
    assert found.size_bytes == len(raw)
    assert len(found.why) < 1000


@given(st.binary(max_size=200))
def test_reading_never_raises(raw: bytes) -> None:
    """Whatever comes is a message of some kind."""
    assert protocol.read(raw) is not None


def test_an_overloaded_server_is_asked_again_later_and_not_for_ever() -> None:
    """The pauses grow, are spread by chance, and end."""
    pauses = [protocol.overload_pause_s(tries, 1.0) for tries in range(1, protocol.MAX_OVERLOAD_TRIES + 1)]
    assert pauses[-1] is None
    assert pauses[:-1] == sorted(pauses[:-1], key=lambda pause: pause or 0.0)
    spread = {protocol.overload_pause_s(1, chance / 10) for chance in range(11)}
    assert len(spread) == 11


DECISIONS = {
    "item/commandExecution/requestApproval": ["accept", "acceptForSession", "decline", "cancel"],
    "item/fileChange/requestApproval": ["accept", "acceptForSession", "decline", "cancel"],
    "execCommandApproval": ["approved", "approved_for_session", "denied", "abort"],
    "applyPatchApproval": ["approved", "approved_for_session", "denied", "abort"],
}


@pytest.mark.parametrize("method", DECISIONS)
def test_each_request_is_answered_in_its_own_words(method: str) -> None:
    """The older requests have other words; in the wrong ones, an approval would count as a denial."""
    request = asked({"id": 1, "method": method, "params": {}})
    given = [replies.decision(request, word) for word in events.DECISIONS]
    assert given == [{"decision": word} for word in DECISIONS[method]]


def test_permissions_are_granted_as_asked_and_no_further() -> None:
    """What was asked for, without what is not known, and for this turn unless for the session."""
    wanted = {"network": {"enabled": True}, "fileSystem": None, "root": True}
    request = asked({"id": 1, "method": replies.PERMISSIONS, "params": {"permissions": wanted}})
    granted = {"network": {"enabled": True}}
    assert replies.decision(request, "accept") == {"permissions": granted, "scope": "turn"}
    assert replies.decision(request, "accept_for_session") == {"permissions": granted, "scope": "session"}
    assert replies.decision(request, "decline") == {"permissions": {}, "scope": "turn"}


def test_what_cannot_be_answered_well_is_not_answered() -> None:
    """An elicitation needs its content; a question is no approval, and an approval no question."""
    form = asked({"id": 1, "method": replies.ELICITATION, "params": {}})
    question = asked({"id": 1, "method": replies.QUESTION, "params": {}})
    assert replies.decision(form, "accept") is None
    assert replies.decision(form, "decline") == {"action": "decline"}
    assert replies.decision(question, "accept") is None
    assert replies.answers(form, {}) is None
    assert replies.answers(question, {"q": ("a", "b")}) == {"answers": {"q": {"answers": ["a", "b"]}}}


def test_a_daemon_that_was_not_started_is_told_in_its_own_words() -> None:
    """The error that it marks as one, else its last line."""
    said = b'{"timestampMs":1}\nError: managed standalone Codex install not found at /x\n\nBacktrace:\n 0: y\n'
    assert words(said) == "Error: managed standalone Codex install not found at /x"
    assert words(b"one\ntwo\n") == "two"
    assert words(b"") == "it did not say why"
    assert started(b'{"status":"started","pid":1}\n')
    assert started(b'{"status":"alreadyRunning"}')
    assert not started(b'{"status":"stopped"}')
    assert not started(b"")


def test_the_home_is_the_one_that_codex_would_use(tmp_path: Path) -> None:
    """CODEX_HOME, else .codex in the user's home; the real path of either."""
    (tmp_path / "link").symlink_to(tmp_path)
    assert home_of({"CODEX_HOME": f"{tmp_path}/link"}) == str(tmp_path)
    assert home_of({"HOME": str(tmp_path)}) == f"{tmp_path}/.codex"


def test_the_newest_total_of_a_rollout(tmp_path: Path) -> None:
    """Where the server told no tokens, the last count in the rollout is taken, however long other lines are."""

    def line(total: int) -> bytes:
        info = {"total_token_usage": {"input_tokens": total, "output_tokens": 1, "total_tokens": total + 1}}
        return (
            msgspec.json.encode({"type": "event_msg", "payload": {"type": "token_count", "info": info}}) + b"\n"
        )

    rollout = tmp_path / "rollout.jsonl"
    long = b'{"type":"response_item","payload":{"text":"' + b"a" * (2 << 20) + b'"}}\n'
    rollout.write_bytes(line(5) + long + line(7) + long + b'{"type":"event_msg","payload":{}}\n')
    total = last_total(str(rollout))
    assert total is not None
    assert (total.input, total.output) == (7, 1)
    assert last_total(str(tmp_path / "none")) is None
    assert total_of(b"nonsense") is None
