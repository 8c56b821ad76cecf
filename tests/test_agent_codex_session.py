"""fleet_agent.tools.codex.session: a thread as a row."""

import pytest

from fleet_agent.processes import Process
from fleet_agent.status import judge
from fleet_agent.tail import Line
from fleet_agent.tools.codex.holders import Holder
from fleet_agent.tools.codex.lines import Meta
from fleet_agent.tools.codex.rollout import Rollout
from fleet_agent.tools.codex.session import Thread, created_at, evidence, session, title

V7 = "01a1fbf3-d4da-78f3-8f80-8b9a0611d5f6"


def process(*arguments: str, tty: str | None = None, started_at: float = 5.0) -> Process:
    return Process(1, 1, started_at, "/x/codex", ("codex", *arguments), 0, tty, "/its/own/cwd")


@pytest.mark.parametrize(
    ("name", "prompt", "cwd", "expected"),
    [
        ("a name", "a prompt", "/x/dir", ("a name", "name")),
        (None, "a prompt\nmore", "/x/dir", ("a prompt", "prompt")),
        (None, None, "/x/dir/", ("dir", "directory")),
        (" \n", None, "/", ("/", "directory")),
        (None, None, None, (None, None)),
        ("use sk-abcdefghijklmnop1234567890", None, None, ("use [redacted]", "name")),
    ],
)
def test_titles(
    name: str | None, prompt: str | None, cwd: str | None, expected: tuple[str | None, str | None]
) -> None:
    """Name, else first prompt, else directory; one line, no secrets."""
    assert title(name, prompt, cwd) == expected


def test_a_thread_that_was_never_asked_anything() -> None:
    """Only its lock is held: it is new, since its id was made, and belongs where its process works."""
    thread = Thread(V7, "/home", holder=Holder([process(tty="pts/3")], "/home"))
    row = session(thread, judge(evidence(thread, 2e9, None)))
    assert (row.state, row.detail, row.title, row.title_source) == ("idle", "new", "cwd", "directory")
    assert (row.cwd, row.tty, row.pids, row.home) == ("/its/own/cwd", "pts/3", (1,), "/home")
    assert row.started_at == row.since_at == pytest.approx(1795228423.386)
    assert (row.root_id, row.tokens, row.model, row.transcript) == (None, None, None, None)


def test_a_daemons_directory_is_not_its_threads() -> None:
    """The daemon keeps the directory of the first TUI; a new thread in it has none that is known."""
    holder = Holder([process("app-server", "--managed-daemon")], "/home")
    assert session(Thread(V7, "/home", holder=holder), judge(evidence(Thread(V7, None), 2e9, None))).cwd is None


def test_the_turn_of_a_killed_process_is_not_the_new_ones() -> None:
    """Evidence carries the start of the earliest writer, and whether it is an exec or a server."""
    thread = Thread(
        V7, None, holder=Holder([process("exec", started_at=9.0), process("exec", started_at=7.0)], "/h")
    )
    found = evidence(thread, 2e9, None)
    assert (found.writer_at, found.one_shot, found.server) == (7.0, True, False)
    server = evidence(Thread(V7, None, holder=Holder([process("app-server")], "/h")), 2e9, None)
    assert (server.one_shot, server.server) == (False, True)


def test_the_directory_of_a_thread_is_where_it_works_now() -> None:
    """A turn may go on in another directory than the session began in."""
    facts = Rollout(Meta(id=V7, root_id=V7, cwd="/began/here", source="exec"))
    facts.feed(Line(b'{"type":"turn_context","payload":{"cwd":"/works/here","model":"m"}}'))
    thread = Thread(V7, "/h", "/h/r.jsonl", facts=facts)
    row = session(thread, judge(evidence(thread, 2e9, None)))
    assert (row.cwd, row.title, row.model, row.root_id, row.transcript) == (
        "/works/here",
        "here",
        "m",
        V7,
        "/h/r.jsonl",
    )
    assert evidence(thread, 2e9, None).one_shot


def test_the_age_of_an_id() -> None:
    """UUIDv7 tells when it was made; the UUIDv4 of old releases does not."""
    assert created_at(V7) == pytest.approx(1795228423.386)
    assert created_at("08f215e0-7476-4cbb-be70-8f84df334b78") is None
