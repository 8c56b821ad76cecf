"""`fleet ps`, `fleet delete` and `fleet prune`: the sessions that fleet has started."""

from typing import Annotated

import typer

from fleet.cli.options import ConfigFile, Excludes, Hosts, Json, NoDaemon, Verbose
from fleet.cli.sessions.spans import seconds_of
from fleet.cli.sessions.way import Way

Selector = Annotated[
    str,
    typer.Argument(metavar="SESSION", help="A run: its number in the last listing, key, name, or beginning."),
]


def ps(
    host: Hosts = None,
    exclude: Excludes = None,
    json: Json = False,
    config: ConfigFile = None,
    no_daemon: NoDaemon = False,
    verbose: Verbose = False,
) -> None:
    """List the sessions that fleet has started, newest first.

    Their numbers mean these sessions in later commands, whatever is started meanwhile. The beginning of a
    prompt is shown where the host's `privacy` allows it. Hosts without `control = true` are passed over unless
    named. Exit codes as those of `fleet status`.
    """
    from fleet.cli.sessions.listed import show
    from fleet.cli.sessions.session import on_hosts
    from fleet.control import verbs
    from fleet.control.selectors import Listed
    from fleet.views.controlled import run_entry
    from fleet.views.runs import NONE, runs_table

    by, way = verbs.asker(), Way(config, no_daemon, verbose)
    answers = on_hosts(host or [], exclude or [], way, lambda reach, specs: verbs.runs(reach, specs, by))
    clocks = {answer.host: answer.clock_at for answer in answers}
    entries = [run_entry(name, run, clocks[name]) for name, run in verbs.newest_first(answers)]
    numbered = [Listed(entry.host, entry.tool, entry.id, entry.name) for entry in entries]
    show("runs", entries, answers, numbered=numbered, lines=runs_table, none=NONE, json=json)


def delete(
    session: Selector,
    stop: Annotated[bool, typer.Option("--stop", help="Stop it first if it runs.")] = False,
    config: ConfigFile = None,
    no_daemon: NoDaemon = False,
    verbose: Verbose = False,
) -> None:
    """Forget a session that fleet has started, and its logs. What its tool itself has kept of it stays."""
    from fleet.cli.sessions.acting import act
    from fleet_agent.control.wire import Delete

    way = Way(config, no_daemon, verbose)
    act(session, way, lambda target, by: Delete(target=target, stop=stop, by=by), "deleted")


def prune(
    host: Hosts = None,
    exclude: Excludes = None,
    older: Annotated[
        str, typer.Option("--older", metavar="AGE", help="Only what ended at least so long ago: 2h, 7d.")
    ] = "0s",
    config: ConfigFile = None,
    no_daemon: NoDaemon = False,
    verbose: Verbose = False,
) -> None:
    """Forget the sessions of `fleet run` that have ended.

    And their logs; prints their keys. Exit codes as those of `fleet status`.
    """
    from fleet.cli.sessions.session import end, on_hosts
    from fleet.cli.terminal import write
    from fleet.control import verbs
    from fleet_agent.control.wire import Prune

    request, way = Prune(older_s=seconds_of(older), by=verbs.asker()), Way(config, no_daemon, verbose)
    answers = on_hosts(host or [], exclude or [], way, lambda reach, specs: verbs.prune(reach, specs, request))
    write("".join(f"{name}:{run.id or run.name}\n" for name, run in verbs.newest_first(answers)))
    end(answers)
