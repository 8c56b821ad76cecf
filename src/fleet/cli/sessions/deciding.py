"""`fleet approvals`, `fleet approve`, `fleet deny` and `fleet answer`."""

from typing import Annotated

import typer

from fleet.cli.options import ConfigFile, Excludes, Hosts, Json, NoDaemon, Verbose
from fleet.cli.sessions.saying import Selector
from fleet.cli.sessions.way import Way

_Request = Annotated[
    str | None,
    typer.Option(
        "--request", metavar="ID", help="Which request, if several are open; `fleet approvals` shows."
    ),
]


def approvals(
    host: Hosts = None,
    exclude: Excludes = None,
    json: Json = False,
    config: ConfigFile = None,
    no_daemon: NoDaemon = False,
    verbose: Verbose = False,
) -> None:
    """List every open approval and question, oldest first.

    The number of a line is that very request for `fleet approve`, `fleet deny` and `fleet answer`. Hosts
    without `control = true` are passed over unless named. Exit codes as those of `fleet status`.
    """
    from fleet.cli.sessions.listed import show
    from fleet.cli.sessions.session import on_hosts
    from fleet.control import verbs
    from fleet.control.selectors import Listed
    from fleet.views.controlled import pending_entry
    from fleet.views.pending import NONE, pending_lines

    by, way = verbs.asker(), Way(config, no_daemon, verbose)
    answers = on_hosts(host or [], exclude or [], way, lambda reach, specs: verbs.approvals(reach, specs, by))
    clocks = {answer.host: answer.clock_at for answer in answers}
    entries = [pending_entry(name, pending, clocks[name]) for name, pending in verbs.oldest_first(answers)]
    numbered = [Listed(e.host, e.tool, e.session_id, e.name, e.request_id) for e in entries]
    show("approvals", entries, answers, numbered=numbered, lines=pending_lines, none=NONE, json=json)


def approve(
    session: Selector,
    request: _Request = None,
    whole_session: Annotated[
        bool, typer.Option("--session", help="And all of its kind, for as long as the session lasts.")
    ] = False,
    config: ConfigFile = None,
    no_daemon: NoDaemon = False,
    verbose: Verbose = False,
) -> None:
    """Approve what a session asks for, and print what that was.

    Exit codes as those of `fleet send`; 3 also when somebody else was quicker: it says what became of it.
    """
    from fleet.cli.sessions.answering import decide

    decide(
        session, Way(config, no_daemon, verbose), "accept_for_session" if whole_session else "accept", request
    )


def deny(
    session: Selector,
    request: _Request = None,
    cancel: Annotated[bool, typer.Option("--cancel", help="And end the turn.")] = False,
    config: ConfigFile = None,
    no_daemon: NoDaemon = False,
    verbose: Verbose = False,
) -> None:
    """Deny what a session asks for, and print what that was. Exit codes as those of `fleet approve`."""
    from fleet.cli.sessions.answering import decide

    decide(session, Way(config, no_daemon, verbose), "cancel" if cancel else "decline", request)


def answer(
    session: Selector,
    answers: Annotated[
        list[str],
        typer.Argument(
            metavar="[ID=]ANSWER...",
            help="To each question in turn, or to the one with that ID; - reads one from standard input.",
        ),
    ],
    request: _Request = None,
    config: ConfigFile = None,
    no_daemon: NoDaemon = False,
    verbose: Verbose = False,
) -> None:
    """Answer the questions that a session asks. Exit codes as those of `fleet approve`."""
    from fleet.cli.sessions.answering import answer_questions

    answer_questions(session, Way(config, no_daemon, verbose), answers, request)
