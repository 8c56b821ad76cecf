"""fleet_agent.tools.codex.lines: one line of a rollout."""

import json

import pytest

from fake_codex import sample
from fleet_agent.tail import CUT_BYTES, Line, LineSplitter
from fleet_agent.tools.codex.lines import decode, decode_meta, first_prompt, release, thread_id

ROOT = "01a1fc02-ef99-71b2-8c73-28380fef795c"


def lines_of(name: str) -> list[Line]:
    return list(LineSplitter().feed(sample(name)))


def test_the_first_line_says_who_a_thread_is() -> None:
    """Ids, place, release and origin come from session_meta."""
    meta = decode_meta(lines_of("exec_tool")[0])
    assert meta is not None
    assert meta.id == meta.root_id == "01a1fbf3-d4da-78f3-8f80-8b9a0611d5f6"
    assert (meta.parent_id, meta.forked_from_id) == (None, None)
    assert (meta.cwd, meta.originator, meta.source) == ("/home/dev/labs/ws", "codex_exec", "exec")
    assert (meta.version, meta.provider, meta.branch) == ("0.169.0", "mock", "master")
    assert (meta.nickname, meta.role) == (None, None)
    assert meta.started_at == pytest.approx(1795228423.387, abs=1)


@pytest.mark.parametrize(
    ("name", "root", "own_from_ordinal"),
    [
        ("exec_spawn_v2.child1", ROOT, 16),
        ("exec_spawn_v1.child1", "01a1fc03-a69c-76b2-a6f8-b2ecea3479e0", 0),
        ("exec_review.child1", "01a1fc1c-4092-7633-961e-c50ab04f99b6", 0),
    ],
)
def test_a_subagent_names_its_parent_and_root(name: str, root: str, own_from_ordinal: int) -> None:
    """Subagents of both generations and review threads: parent, root, and where their own lines begin."""
    meta = decode_meta(lines_of(name)[0])
    assert meta is not None
    assert meta.parent_id == meta.root_id == root
    assert meta.source == "subagent"
    assert meta.own_from_ordinal == own_from_ordinal


def test_a_subagent_has_a_nickname_and_perhaps_a_role() -> None:
    """As Codex calls it, from the line's own fields or, as older releases write it, from its source."""
    names = {}
    for name in ("exec_spawn_v1.child1", "exec_spawn_v2.child1"):
        meta = decode_meta(lines_of(name)[0])
        assert meta is not None
        names[name] = (meta.nickname, meta.role)
    assert names == {
        "exec_spawn_v1.child1": ("Faraday", "explorer"),
        "exec_spawn_v2.child1": ("Lagrange", None),
    }
    spawned = {"parent_thread_id": ROOT, "depth": 1, "agent_nickname": "Hume", "agent_role": "worker"}
    line = {"type": "session_meta", "payload": {"source": {"subagent": {"thread_spawn": spawned}}, "git": []}}
    meta = decode_meta(Line(json.dumps(line).encode()))
    assert meta is not None
    assert (meta.nickname, meta.role, meta.branch) == ("Hume", "worker", None)


def test_a_subagent_of_a_release_without_session_id_has_its_parent_as_root_only_at_depth_one() -> None:
    """Before 0.145 the root is known only for direct children; deeper it is unknown, not guessed."""

    def root_at(depth: int) -> str | None:
        spawned = {"subagent": {"thread_spawn": {"parent_thread_id": ROOT, "depth": depth}}}
        line = json.dumps({"type": "session_meta", "payload": {"source": spawned}}).encode()
        meta = decode_meta(Line(line))
        assert meta is not None
        assert meta.parent_id == ROOT
        return meta.root_id

    assert root_at(1) == ROOT
    assert root_at(2) is None


def test_the_oldest_release_writes_no_wrapper() -> None:
    """0.21: the first line is bare, and so are the items."""
    first, *rest = lines_of("old_0.21.0_tools")
    meta = decode_meta(first)
    assert meta is not None
    assert meta.id == "08f215e0-7476-4cbb-be70-8f84df334b78"
    kinds = [entry.kind for line in rest if (entry := decode(line))]
    assert ("response_item", "function_call") in kinds
    assert ("response_item", None) in kinds  # {"record_type":"state"}


@pytest.mark.parametrize(
    "data",
    [
        b"[]",
        b"not json",
        b'{"type":"event_msg","payload":[]}',
        b'{"type":"\xff"}',
        b'{"payload":' + b"[" * 200_000 + b"]" * 200_000 + b"}",
        b'{"ordinal":' + b"9" * 5000 + b"}",
        b'{"type":"event_msg","payload":{"type":"task_started"',
        b"",
    ],
)
def test_a_line_that_is_no_entry_is_none(data: bytes) -> None:
    """Hostile lines are passed over, never an exception."""
    assert decode(Line(data)) is None


def test_a_line_of_unexpected_types_is_still_an_entry() -> None:
    """Known names with values of the wrong kind do no harm."""
    entry = decode(Line(b'{"timestamp":7,"ordinal":"x","type":["a"],"payload":{"type":{"b":1},"call_id":3}}'))
    assert entry is not None
    assert entry.kind == (None, None)
    assert entry.ordinal is None


@pytest.mark.parametrize("name", ["exec_sol_slowtool", "exec_sigint_midturn"])
def test_the_head_of_a_line_says_what_it_is(name: str) -> None:
    """Of a line of megabytes only the head is kept; it has the kind, the time, the ordinal and the ids."""
    for line in lines_of(name)[1:]:
        whole, cut = decode(line), decode(Line(line.data[:CUT_BYTES], cut=True))
        assert whole is not None
        assert cut is not None
        assert (cut.kind, cut.at, cut.ordinal) == (whole.kind, whole.at, whole.ordinal)
        if isinstance(whole.payload.call_id, str):
            assert cut.payload.call_id == whole.payload.call_id


def test_the_head_of_a_first_line_says_who_it_is() -> None:
    """A session_meta with instructions of megabytes still names its thread."""
    data = lines_of("exec_tool")[0].data
    meta = decode_meta(Line(data[:CUT_BYTES], cut=True))
    assert meta is not None
    assert (meta.id, meta.cwd, meta.source) == (
        "01a1fbf3-d4da-78f3-8f80-8b9a0611d5f6",
        "/home/dev/labs/ws",
        "exec",
    )


@pytest.mark.parametrize(
    ("name", "prompt"),
    [
        ("exec_tool", "TOOL ls -la ;; SAY listed"),
        ("old_0.21.0_fail400", "FAIL 400"),
        (
            "old_0.36.0_tools",
            "REASON think NOTE looking TOOL echo hi ;; PLAN ;; PATCH old_0.36.0.txt ;; SAY done",
        ),
        ("old_0.145.0_fail400", "FAIL 400"),
    ],
)
def test_the_first_prompt_is_what_the_person_asked(name: str, prompt: str) -> None:
    """In every format the person's first words are told from what Codex puts in front of them."""
    assert first_prompt(lines_of(name)) == prompt


def test_a_subagent_has_no_prompt_of_its_parent() -> None:
    """The copy of a parent's history in a subagent's file is not what the subagent was asked."""
    assert first_prompt(lines_of("exec_spawn_v2.child1"), own_from_ordinal=16) is None


def test_ids_and_releases() -> None:
    """Ids are UUIDs in lower case; a release is its first two numbers."""
    assert thread_id(ROOT.upper()) == ROOT
    assert thread_id("../../etc/passwd") is None
    assert thread_id(7) is None
    assert [release(v) for v in ("0.169.0", "1.2", "0.0.0", "dev", None)] == [
        (0, 169),
        (1, 2),
        None,
        None,
        None,
    ]
