"""Tokens that add up: what the real Codex wrote down, against what the model API served."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator

import pytest

from lab.app_server import AppServer
from lab.codex import CodexHome, codex_path
from lab.mock_responses import MockResponses
from lab.waiting import wait_until

pytestmark = pytest.mark.codex

FORGETFUL = "0.150.0"  # the first with the paginated format, and without records
OLD = "0.145.0"  # the last release without records, and the last to write the legacy format
COMPACT = ("-c", "model_auto_compact_token_limit=3000")
CHILD = "SPAWN {USAGE 5003 702 55 5 TOOL echo b ;; USAGE 5101 727 56 6 SAY child}"
PARENT = (
    f"USAGE 1009 401 51 11 TOOL echo a ;; USAGE 1117 403 52 12 {CHILD} ;; "
    "USAGE 1229 3 4 2 WAITAGENT ;; USAGE 1301 5 6 4 SAY end"
)


@pytest.fixture
def api() -> Iterator[MockResponses]:
    """A model API of this test alone: everything that it serves is counted."""
    with MockResponses() as api:
        yield api


class Account:
    """The sessions of one home as `fleet-agent snapshot` tells them, against what the API served."""

    def __init__(self, home: CodexHome, api: MockResponses) -> None:
        self._home, self._api = home, api

    def balances(self) -> list[dict[str, object]]:
        """Check that the sum over all sessions is the sum over all responses; the sessions, oldest first."""
        argv = [sys.executable, "-m", "fleet_agent", "snapshot"]
        done = subprocess.run(argv, env=self._home.env, capture_output=True, check=True, timeout=60)
        sessions = json.loads(done.stdout.splitlines()[-1])["sessions"]
        ours = sorted((s for s in sessions if s["home"] == str(self._home.home)), key=lambda s: s["id"])
        told: Counter[str] = Counter()
        for session in ours:
            told.update(session.get("tokens") or {})
        assert told == self._served()
        return ours

    def _served(self) -> Counter[str]:
        assert len(self._api.usage) > 1
        served: Counter[str] = Counter()
        for usage in self._api.usage.values():
            served["input"] += usage["input_tokens"]
            served["cached_input"] += usage["input_tokens_details"]["cached_tokens"]
            served["output"] += usage["output_tokens"]
            served["reasoning_output"] += usage["output_tokens_details"]["reasoning_tokens"]
            served["total"] += usage["total_tokens"]
        return served


def run(home: CodexHome, prompt: str, *options: str, ends: int = 0) -> None:
    done = home.exec(prompt, *options)
    assert done.returncode == ends, done.stderr


def answered(server: AppServer, thread: str, prompt: str) -> None:
    """Ask, and wait for the end of this very turn."""
    turn = server.start_turn(thread, prompt)

    def over() -> bool:
        return bool(server.said("turn/completed", thread)["params"]["turn"]["id"] == turn)

    wait_until(over, "the turn ends", timeout_s=30)


def forked(server: AppServer, thread: str, prompt: str) -> str:
    """A fork that has had one turn."""
    fork = str(server.call("thread/fork", threadId=thread)["thread"]["id"])
    answered(server, fork, prompt)
    return fork


def newest(home: CodexHome, before: set[str]) -> str:
    """The one thread that there was not before; of a tree its root, which is the oldest."""
    return min(home.threads() - before)


def test_every_response_counts_once(api: MockResponses) -> None:
    """Resumes, forks of forks, retries, compactions, overflows, subagents v1, v2: nothing lost or doubled."""
    with CodexHome(api.url) as home:
        run(home, "USAGE 1013 407 50 10 TOOL echo hi ;; USAGE 1103 503 60 11 FAIL MIDSTREAM*1 SAY one")
        (first,) = home.threads()
        run(home, "USAGE 2003 907 70 12 SAY two", "resume", first)
        run(home, "USAGE 3001 1009 80 13 SAY three", "fork", first)
        fork = newest(home, {first})
        run(home, "FAIL CONTEXT", "resume", fork, ends=1)
        run(home, "USAGE 3301 1013 81 14 SAY four", "resume", fork)
        run(home, "USAGE 3511 1019 82 15 FAIL MIDSTREAM*1 SAY five", "fork", fork)
        run(home, "USAGE 4001 101 83 16 TOOL echo a ;; USAGE 709 71 7 7 SAY done", *COMPACT)
        for model in ("gpt-5.5", "gpt-6-sol"):
            before = home.threads()
            run(home, PARENT, "-m", model)
            run(home, "USAGE 2221 11 21 1 SAY f", "-m", model, "fork", newest(home, before))
        sessions = Account(home, api).balances()
        assert {s["usage_confidence"] for s in sessions} == {"exact"}
        assert [s["turns"] for s in sessions] == [2, 3, 1, 1, 1, 1, 1, 1, 1, 1]
        assert sum(int(str(s["compactions"])) for s in sessions) == 2
        assert sum(s.get("parent_id") is not None for s in sessions) == 2


def test_what_was_spent_stays_spent_when_a_thread_is_taken_back(api: MockResponses) -> None:
    """It goes on in a file of its own: what it does there is seen, and what was spent before still counts."""
    with CodexHome(api.url) as home, AppServer(home) as server:
        thread = server.start_thread()
        for spent in ("1013 407 50 10", "2003 907 70 12", "3001 1009 80 13"):
            answered(server, thread, f"USAGE {spent} SAY done")
        turns = server.call("thread/turns/list", threadId=thread)["data"]
        oldest, *_, newest = sorted(str(turn["id"]) for turn in turns)
        server.call("thread/revert", threadId=thread, beforeTurnId=newest)
        answered(server, thread, "USAGE 3301 1013 81 14 FAIL MIDSTREAM*1 SAY four")
        server.call("thread/revert", threadId=thread, beforeTurnId=oldest)
        server.start_turn(thread, "USAGE 709 71 7 7 TOOL echo a ;; HOLD gate USAGE 809 81 8 8 SAY five")
        wait_until(lambda: api.holds("gate"), "the model is asked", timeout_s=30)
        (session,) = Account(home, api).balances()
        assert (session["state"], session["detail"], session["confidence"]) == ("working", "thinking", "strong")
        assert (session["usage_confidence"], session["turns"]) == ("exact", 5)
        assert session["transcript"] == str(home.rollouts()[-1])
        api.release("gate")


@pytest.mark.skipif(codex_path(FORGETFUL) is None, reason=f"no Codex {FORGETFUL}: see scripts/setup --test")
def test_a_release_that_begins_at_zero_when_it_resumes_loses_nothing(api: MockResponses) -> None:
    """Its totals go down, or up by more than a response: each time all of the first one is new."""
    with CodexHome(api.url, version=FORGETFUL) as home:
        run(home, "USAGE 1013 407 50 10 TOOL echo hi ;; USAGE 1103 503 60 11 SAY one")
        (first,) = home.threads()
        run(home, "USAGE 709 71 7 7 SAY two", "resume", first)
        run(home, "USAGE 6007 907 91 19 SAY three", "resume", first)
        older, home.codex = home.codex, codex_path() or home.codex
        run(home, "USAGE 4001 101 83 16 SAY four", "resume", first)
        home.codex = older
        run(home, "USAGE 4211 103 85 17 SAY five", "resume", first)
        (session,) = Account(home, api).balances()
        assert (session["usage_confidence"], session["turns"]) == ("exact", 5)


@pytest.mark.skipif(codex_path(OLD) is None, reason=f"no Codex {OLD}: scripts/setup --test installs it")
def test_sessions_of_an_older_release_count_once_too(api: MockResponses) -> None:
    """Totals alone, forks that copy their parent's lines, and one file that two releases wrote in turns."""
    with CodexHome(api.url, version=OLD) as home:
        run(home, "USAGE 1013 407 50 10 TOOL echo hi ;; USAGE 1103 503 60 11 SAY one")
        (first,) = home.threads()
        run(home, "FAIL CONTEXT", "resume", first, ends=1)
        run(home, "USAGE 2003 907 70 12 SAY two", "resume", first, *COMPACT)
        with AppServer(home) as server:
            fork = forked(server, first, "USAGE 3001 1009 80 13 SAY three")
            forked(server, fork, "USAGE 3511 1019 82 15 SAY five")
        older, home.codex = home.codex, codex_path() or home.codex
        run(home, "USAGE 4001 101 83 16 TOOL echo a ;; USAGE 709 71 7 7 SAY six", "resume", fork)
        run(home, "USAGE 4211 103 85 17 SAY seven", "fork", fork)
        home.codex = older
        run(home, "USAGE 6007 107 91 19 TOOL echo a ;; USAGE 6101 77 9 8 SAY eight", "resume", fork)
        sessions = Account(home, api).balances()
        assert {s["usage_confidence"] for s in sessions} == {"exact"}
